# SPDX-License-Identifier: Apache-2.0
"""Training schedules by the papers that use them, as command line flags."""

from collections.abc import Iterable
from typing import Any

__all__ = ["RECIPES", "milestone_factor", "recipe_flags"]

# CutMix (Yun et al., ICCV 2019, arXiv:1905.04899), for CIFAR: the authors' code and its defaults; LogitMix (Sec. 5)
# trains its CNNs "by SGD optimization with momentum of 0.9" with "the same training schedule as CutMix".
RECIPES: dict[str, dict[str, Any]] = {
    "cutmix": {
        "optim": "sgd",
        "optim_args": "momentum=0.9,nesterov=true",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "lr_milestones": [0.5, 0.75],
        "lr_decay": 0.1,
        "weight_decay": 1e-4,
        "max_grad_norm": 0.0,
        "per_device_train_batch_size": 128,
        "num_train_epochs": 300,
    }
}


def recipe_flags(name: str, given: Iterable[str]) -> dict[str, Any]:
    """Flags that a recipe adds to those the user gave.

    Args:
        name (`str`): One of `RECIPES`.
        given (`Iterable[str]`): Names of the flags that the user set; they win.

    Returns:
        `dict[str, Any]`: Values by flag name.

    Raises:
        ValueError: If there is no such recipe.
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown recipe {name!r}. Available: {', '.join(RECIPES)}.")
    given = set(given)
    return {flag: value for flag, value in RECIPES[name].items() if flag not in given}


def milestone_factor(step: int, total: int, milestones: Iterable[float], decay: float) -> float:
    """What the learning rate is multiplied by at a step: `decay` for each milestone that is reached.

    Args:
        step (`int`): Optimizer steps done.
        total (`int`): Steps of the whole training.
        milestones (`Iterable[float]`): Shares of training, in `(0, 1)`.
        decay (`float`): Factor at each of them.

    Returns:
        `float`: `decay ** (number of milestones reached)`.
    """
    return decay ** sum(step >= milestone * total for milestone in milestones)
