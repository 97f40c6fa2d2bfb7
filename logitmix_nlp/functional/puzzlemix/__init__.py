# SPDX-License-Identifier: Apache-2.0
"""PuzzleMix: masks that keep what is salient in both images, and blocks moved to where the mask shows them."""

from numbers import Integral, Real
from typing import Any

import torch

from logitmix_nlp.functional.checks import check_images, check_out, check_pairs
from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.functional.puzzlemix.adversarial import (
    AdversarialDraw,
    adversarial_noise,
    perturb,
    sample_adversarial,
    start_noise,
)
from logitmix_nlp.functional.puzzlemix.blend import blend, mask_share
from logitmix_nlp.functional.puzzlemix.energy import MaskEnergy, block_saliency, mask_energy, saliency
from logitmix_nlp.functional.puzzlemix.solver import QUALITIES, solve_mask
from logitmix_nlp.functional.puzzlemix.transport import assign_blocks

__all__ = [
    "GRIDS",
    "QUALITIES",
    "AdversarialDraw",
    "MaskEnergy",
    "adversarial_noise",
    "assign_blocks",
    "block_saliency",
    "check_settings",
    "mask_energy",
    "perturb",
    "puzzlemix",
    "saliency",
    "sample_adversarial",
    "sample_grid",
    "solve_mask",
    "start_noise",
]

GRIDS = (2, 4, 8, 16)


def sample_grid(side: int | None = None, *, generator: torch.Generator | None = None) -> int:
    """Draw the blocks per side of a batch, uniform over 2, 4, 8 and 16 as in the authors' code.

    Args:
        side (`int`, *optional*): Shorter side of the images in pixels, at least 2; grids that are finer are left out.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU. Defaults to the global one.

    Returns:
        `int`: For [`puzzlemix`].

    Raises:
        ValueError: If no grid fits.
    """
    grids = [grid for grid in GRIDS if side is None or grid <= side]
    if not grids:
        raise ValueError(f"PuzzleMix needs images of at least {GRIDS[0]} pixels per side, got {side}.")
    return grids[int(torch.randint(len(grids), (1,), generator=generator))]


def puzzlemix(
    images: torch.Tensor,
    plan: MixPlan,
    salient: torch.Tensor,
    *,
    grid: int,
    n_labels: int = 3,
    beta: float = 1.2,
    gamma: float = 0.5,
    eta: float = 0.2,
    neigh_size: int = 4,
    t_eps: float | None = 0.8,
    t_size: int | None = None,
    std: torch.Tensor | None = None,
    quality: str = "fast",
    first: torch.Tensor | None = None,
    second: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, MixPlan]:
    """Mix images block by block so that both stay recognisable ([PuzzleMix](https://arxiv.org/abs/2009.06962)).

    No random numbers are drawn. Gradients, if any, flow through the blend, not through the choice of mask and moves.
    Sides that `grid` does not divide give blocks that differ by one row or column.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): As the model sees them, floating point, not written to.
        plan (`MixPlan`): Pairs, and the wanted share of the own image, one for all rows (the paper) or one per row.
        salient (`torch.Tensor` of shape `(B, H, W)`): From [`saliency`]; images without any count as uniform.
        grid (`int`): Blocks per side `n`, from 2 to `min(H, W)`; see [`sample_grid`].
        n_labels (`int`): Levels of the mask, at least 2: 2 takes whole blocks, 3 also half and half.
        beta (`float`): Weight of smooth masks, at least 0.
        gamma (`float`): Share of `beta` that depends on the jumps between pixels of both images, in `[0, 1]`.
        eta (`float`): Weight of the wanted share, at least 0.
        neigh_size (`int`): Side in pixels of what is averaged before jumps are taken, at most a block.
        t_eps (`float`, *optional*): Cost of moving blocks, above 0. `None` moves none.
        t_size (`int`, *optional*): Side in pixels of moved blocks, rounded to a fraction of a mask block; whole mask
            blocks if not given. The paper's value for CIFAR-100 is 4.
        std (`torch.Tensor` of shape `(C,)`, *optional*): What pixels in `[0, 1]` were divided by to give `images`;
            needed for normalised images. What was subtracted before makes no difference.
        quality (`str`): `"fast"` or `"high"`, see [`solve_mask`].
        first (`torch.Tensor` of shape `(B, C, H, W)`, *optional*): Blended in place of `images`, e.g. perturbed;
            the mask and the moves are those of `images`.
        second (`torch.Tensor` of shape `(B, C, H, W)`, *optional*): The same for the partners, before pairing.
        out (`torch.Tensor`, *optional*): Buffer for the result, as in [`mix`].

    Returns:
        `tuple[torch.Tensor, MixPlan]`: Mixed images, and the plan with λ the mean of the mask of each row, for every
        term of the loss.

    Raises:
        TypeError: If the images are not floating point.
        ValueError: On shapes that do not fit, or settings out of range.
    """
    if plan.own is not None:
        raise ValueError("puzzlemix mixes every row of a batch: pass the rows that take part, with a plan for all.")
    first, second = images if first is None else first, images if second is None else second
    check_images(images)
    check_pairs(images, plan)
    height, width = images.shape[-2:]
    _check_tensors(images, salient, std, first, second)
    wanted = {"grid": grid, "n_labels": n_labels, "beta": beta, "gamma": gamma, "eta": eta, "neigh_size": neigh_size}
    check_settings({**wanted, "t_eps": t_eps, "t_size": t_size, "quality": quality}, min(height, width))
    for source in (images, first, second) if out is not None else ():
        check_out(out, source)
    blocks = block_saliency(salient, grid)
    settings = {"n_labels": n_labels, "beta": beta, "gamma": gamma, "eta": eta, "neigh_size": neigh_size, "std": std}
    energy = mask_energy(images, plan.index, plan.lam, blocks, **settings)
    mask = solve_mask(energy, quality)
    shown = None
    if t_eps is not None:
        finer = 1 if t_size is None else max(1, min(height, width) // grid // t_size)
        fine = mask.repeat_interleave(finer, 1).repeat_interleave(finer, 2)
        blocks = blocks if finer == 1 else block_saliency(salient, grid * finer)
        both = torch.cat([blocks, blocks[plan.index]]), torch.cat([fine > 0, fine < 1])
        shown = assign_blocks(*both, t_eps).chunk(2)
    lam = mask_share(mask, n_labels, height, width).to(plan.lam)
    return blend(first, second, plan.index, mask, shown, out), MixPlan(plan.index, lam)


def _check_tensors(images, salient, std, first, second) -> None:
    rows, channels, height, width = images.shape
    if salient.shape != (rows, height, width) or not salient.is_floating_point():
        raise ValueError(
            f"salient must be floating point of shape {(rows, height, width)} for images of shape "
            f"{tuple(images.shape)}, got {salient.dtype} of shape {tuple(salient.shape)}: see saliency()."
        )
    if std is not None and std.numel() not in (1, channels):
        raise ValueError(f"std must hold 1 or {channels} numbers for {channels} channels, got {std.numel()}.")
    for name, other in (("first", first), ("second", second)):
        if (other.shape, other.dtype, other.device) != (images.shape, images.dtype, images.device):
            raise ValueError(
                f"{name} must be like the images, {images.dtype} of shape {tuple(images.shape)} on {images.device}, "
                f"got {other.dtype} of shape {tuple(other.shape)} on {other.device}."
            )


def check_settings(settings: dict[str, Any], side: int | None = None) -> None:
    """Refuse settings of [`puzzlemix`] that are of another type than it takes, or out of range.

    Args:
        settings (`dict[str, Any]`): Any of `grid`, `n_labels`, `beta`, `gamma`, `eta`, `neigh_size`, `t_eps`, `t_size`
            and `quality`, by name.
        side (`int`, *optional*): Shorter side of the images in pixels, which `grid` must fit.

    Raises:
        ValueError: Naming the first that does not fit, and what is allowed.
    """
    infinity = float("inf")
    most = infinity if side is None else side
    ranges = {
        "grid": (
            Integral,
            lambda n: 2 <= n <= most,
            f"from 2 to the shorter side of the images, {side or 'in pixels'}",
        ),
        "n_labels": (Integral, lambda n: n >= 2, "at least 2"),
        "beta": (Real, lambda x: 0 <= x < infinity, "finite and at least 0"),
        "gamma": (Real, lambda x: 0 <= x <= 1, "in [0, 1]"),
        "eta": (Real, lambda x: 0 <= x < infinity, "finite and at least 0"),
        "neigh_size": (Integral, lambda n: n >= 1, "at least 1"),
        "t_eps": (Real, lambda x: 0 < x < infinity, "finite and above 0, or None to move no blocks"),
        "t_size": (Integral, lambda n: n >= 1, "at least 1, or None for whole blocks of the mask"),
        "quality": (str, lambda word: word in QUALITIES, f"one of {', '.join(QUALITIES)}"),
    }
    for name, value in settings.items():
        kind, fits, allowed = ranges[name]
        if value is None and name in ("t_eps", "t_size"):
            continue
        if not isinstance(value, kind) or not fits(value):
            whole = "a whole number, " if kind is Integral else ""
            raise ValueError(f"{name} must be {whole}{allowed}, got {value!r}.")
