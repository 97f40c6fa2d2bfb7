# SPDX-License-Identifier: Apache-2.0
"""How rows are mixed: a plan, a way to apply it to pixels or hidden states, and what that needs to know."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from logitmix_nlp.functional.cutmix import cutmix, sample_boxes
from logitmix_nlp.functional.mixing import MixPlan, mix
from logitmix_nlp.functional.puzzlemix import puzzlemix, saliency, sample_grid
from logitmix_nlp.sites import main_input

__all__ = [
    "MIXERS",
    "PUZZLE_OPTIONS",
    "Blend",
    "Guide",
    "Mixture",
    "check_mixer",
    "make_mixture",
    "mix_rows",
    "pixel_std",
]

MIXERS = ("mixup", "cutmix", "puzzlemix")
PUZZLE_OPTIONS = ("grid", "n_labels", "beta", "gamma", "eta", "neigh_size", "t_eps", "t_size", "quality")
Blend = Callable[[torch.Tensor, MixPlan, torch.Tensor | None], tuple[torch.Tensor, MixPlan]]
Guide = Callable[[torch.Tensor], torch.Tensor]


def mix_rows(x: torch.Tensor, plan: MixPlan, gradient: torch.Tensor | None = None) -> tuple[torch.Tensor, MixPlan]:
    """Mixup of rows of any shape, as a [`Blend`]: the mixed rows, and the plan, whose λ is true as it is."""
    return mix(x, plan), plan


class Mixture(NamedTuple):
    """All that is drawn for one batch.

    Args:
        plan (`MixPlan`): Pairs, and the shares that are aimed at.
        blend (`Blend`): Takes rows, the plan and the gradient of `guide` by the rows; returns the mixed rows and the
            plan with the true share of each row, which every term of the loss must use.
        guide (`Guide`, *optional*): Clean loss as a function of the clean logits, if `blend` needs its gradient.
    """

    plan: MixPlan
    blend: Blend = mix_rows
    guide: Guide | None = None


def make_mixture(
    name: str,
    plan: MixPlan,
    generator: torch.Generator,
    clean_loss: Guide,
    *,
    per_sample: bool,
    puzzle_options: dict[str, Any],
    std: list[float] | None,
) -> Mixture:
    """Draw what a mixer needs besides the plan.

    Args:
        name (`str`): One of `MIXERS`.
        plan (`MixPlan`): Pairs and shares.
        generator (`torch.Generator`): Source of the boxes and grids, on the CPU.
        clean_loss (`Guide`): Loss of clean logits, summed over the rows.
        per_sample (`bool`): Whether each row has a λ of its own, and so a box of its own.
        puzzle_options (`dict[str, Any]`): Arguments of [`functional.puzzlemix`] out of `PUZZLE_OPTIONS`; a grid that
            is not given is drawn for each batch.
        std (`list[float]`, *optional*): What pixels in `[0, 1]` were divided by, see [`pixel_std`].

    Returns:
        `Mixture`: For one batch.
    """
    if name == "cutmix":
        return Mixture(plan, partial(_cut, generator=generator, per_sample=per_sample))
    if name == "puzzlemix":
        return Mixture(plan, partial(_puzzle, generator=generator, options=puzzle_options, std=std), clean_loss)
    return Mixture(plan)


def check_mixer(name: str, model: nn.Module, *, sharded: bool) -> None:
    """Refuse mixers of pixels for models that take none, and gradients within the forward pass of sharded parameters.

    Raises:
        ValueError: Saying which methods such a model can use.
    """
    if name == "puzzlemix" and sharded:
        raise ValueError(
            "mixer='puzzlemix' takes a gradient inside the forward pass, which FSDP and DeepSpeed do not allow: use "
            "plain DDP (torchrun), or choose mixer='cutmix' or 'mixup'."
        )
    if name != "mixup" and main_input(model) != "pixel_values":
        raise ValueError(
            f"mixer={name!r} mixes pixels, but {type(model).__name__} takes {main_input(model)}: choose "
            "mix_method='mixup', 'manifold_mixup' or 'logitmix', which mix hidden states of any model."
        )


def pixel_std(processor: Any) -> list[float] | None:
    """Read from an image processor what it divides pixels in `[0, 1]` by; `None` if it does not, or for tokenizers."""
    return getattr(processor, "image_std", None) if getattr(processor, "do_normalize", False) else None


def _cut(
    images: torch.Tensor, plan: MixPlan, gradient: None, *, generator: torch.Generator, per_sample: bool
) -> tuple[torch.Tensor, MixPlan]:
    shares, device = (plan.lam, images.device) if per_sample else (plan.lam[:1], "cpu")
    return cutmix(images, plan, sample_boxes(shares, *images.shape[-2:], generator=generator, device=device))


def _puzzle(
    images: torch.Tensor,
    plan: MixPlan,
    gradient: torch.Tensor,
    *,
    generator: torch.Generator,
    options: dict[str, Any],
    std: list[float] | None,
) -> tuple[torch.Tensor, MixPlan]:
    if "grid" not in options:
        options = {**options, "grid": sample_grid(min(images.shape[-2:]), generator=generator)}
    divisors = None if std is None else images.new_tensor(std)
    return puzzlemix(images, plan, saliency(gradient), std=divisors, **options)
