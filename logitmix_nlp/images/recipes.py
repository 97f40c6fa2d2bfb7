# SPDX-License-Identifier: Apache-2.0
"""Training schedules by the papers that use them, as command line flags."""

from collections.abc import Iterable, Mapping
from typing import Any

from logitmix_nlp.training.methods import get_method

__all__ = ["BY_SIZE", "RECIPES", "milestone_factor", "recipe_flags"]

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
    },
    # Big Transfer (Kolesnikov et al., ECCV 2020, arXiv:1912.11370, Sec. 3.3), BiT-HyperRule, for fine-tuning; see also
    # `_by_size`. The paper's rate falls at 30%, 60% and 90% of training; the authors' code also warms up, over 100 of
    # 500 steps or else 500, and falls at 40%, 60% and 80% of 500.
    "bit": {
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "learning_rate": 0.003,
        "lr_scheduler_type": "constant",
        "lr_milestones": [0.3, 0.6, 0.9],
        "lr_decay": 0.1,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "per_device_train_batch_size": 512,
    },
}
BY_SIZE = ("max_steps", "mix_method", "mix_alpha", "image_size")  # what the data decide in `bit`
SMALL, MEDIUM = 20_000, 500_000  # training rows below which data are small, and medium
SMALL_AREA = 96 * 96  # pixels


# What else of a recipe means nothing once the user set a flag to another value.
REPLACED = {
    "lr_scheduler_type": ("lr_milestones", "lr_decay"),
    "warmup_steps": ("lr_scheduler_type", "lr_milestones", "lr_decay"),
    "warmup_ratio": ("lr_scheduler_type", "lr_milestones", "lr_decay"),
    "optim": ("optim_args", "learning_rate"),
    "num_train_epochs": ("max_steps",),
    "mix_method": ("mix_alpha",),
    "model_name_or_path": ("image_size",),  # a pretrained model sees what its image processor says
}
# The authors of LogitMix cut half of the batches on CIFAR; the others take a plain step.
CUTMIX_PROB = 0.5


def recipe_flags(
    name: str, given: Mapping[str, Any], rows: int | None = None, sides: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Flags that a recipe adds to those the user gave.

    Args:
        name (`str`): One of `RECIPES`.
        given (`Mapping[str, Any]`): The flags that the user set, by name. They win, and what they replace is left
            out: another `lr_scheduler_type` or a warm-up the milestones, another `optim` its arguments and rate.
            `num_train_epochs` the steps, another `mix_method` its α. In `cutmix`, `mix_method` and `mixer` decide on
            `mix_prob`, which is 0.5 where boxes are cut.
        rows (`int`, *optional*): Training rows, which decide on the steps and on mixup in `bit`.
        sides (`tuple[int, int]`, *optional*): Height and width of the images in pixels, which decide on what a model
            from scratch sees in `bit`.

    Returns:
        `dict[str, Any]`: Values by flag name.

    Raises:
        ValueError: If there is no such recipe or method.
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown recipe {name!r}. Available: {', '.join(RECIPES)}.")
    recipe = dict(RECIPES[name])
    own = get_method(given["mix_method"]).mixer if "mix_method" in given else "mixup"
    if name == "bit":
        recipe |= _by_size(rows, sides) if rows is not None and sides is not None else {}
    elif given.get("mixer", own) == "cutmix" and given.get("mix_schedule", "random") == "random":
        recipe["mix_prob"] = CUTMIX_PROB
    left_out = set(given)
    if "image_size" in given.get("config_overrides", ""):
        left_out.add("image_size")
    for flag, others in REPLACED.items():
        if given.get(flag, recipe.get(flag, 0)) != recipe.get(flag, 0):
            left_out.update(others)
    return {flag: value for flag, value in recipe.items() if flag not in left_out}


def _by_size(rows: int, sides: tuple[int, int]) -> dict[str, Any]:
    """Steps, mixup and resolution of BiT-HyperRule: no mixup for small data, α 0.1 for others."""
    mixing = {"mix_method": "vanilla"} if rows < SMALL else {"mix_method": "mixup", "mix_alpha": 0.1}
    steps = 500 if rows < SMALL else 10_000 if rows < MEDIUM else 20_000
    return {"max_steps": steps, **mixing, "image_size": 128 if sides[0] * sides[1] < SMALL_AREA else 384}


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
