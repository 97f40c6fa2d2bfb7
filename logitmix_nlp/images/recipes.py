# SPDX-License-Identifier: Apache-2.0
"""Training schedules by the papers that use them, as command line flags."""

from collections.abc import Iterable, Mapping
from typing import Any

from logitmix_nlp.training.methods import get_method

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


# What else of a recipe means nothing once the user set a flag to another value.
REPLACED = {
    "lr_scheduler_type": ("lr_milestones", "lr_decay"),
    "warmup_steps": ("lr_scheduler_type", "lr_milestones", "lr_decay"),
    "warmup_ratio": ("lr_scheduler_type", "lr_milestones", "lr_decay"),
    "optim": ("optim_args", "learning_rate"),
}
# The authors of LogitMix cut half of the batches on CIFAR; the others take a plain step.
CUTMIX_PROB = 0.5


def recipe_flags(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that a recipe adds to those the user gave.

    Args:
        name (`str`): One of `RECIPES`.
        given (`Mapping[str, Any]`): The flags that the user set, by name. They win, and what they replace is left
            out: another `lr_scheduler_type` or a warm-up the milestones, another `optim` its arguments and rate.
            `mix_method` and `mixer` decide on `mix_prob`, which is 0.5 where boxes are cut.

    Returns:
        `dict[str, Any]`: Values by flag name.

    Raises:
        ValueError: If there is no such recipe or method.
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown recipe {name!r}. Available: {', '.join(RECIPES)}.")
    recipe = dict(RECIPES[name])
    own = get_method(given["mix_method"]).mixer if "mix_method" in given else "mixup"
    if given.get("mixer", own) == "cutmix" and given.get("mix_schedule", "random") == "random":
        recipe["mix_prob"] = CUTMIX_PROB
    left_out = set(given)
    for flag, others in REPLACED.items():
        if given.get(flag, recipe.get(flag, 0)) != recipe.get(flag, 0):
            left_out.update(others)
    return {flag: value for flag, value in recipe.items() if flag not in left_out}


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
