# SPDX-License-Identifier: Apache-2.0
"""Minimise the mask energy of a whole batch at once: relaxation, rounding, exact moves of blocks and of chains.

Tensors hold blocks first and images last, so that every operation runs over contiguous images.
"""

import math
from typing import NamedTuple

import torch

from logitmix_nlp.functional.puzzlemix.chains import sweep_chains
from logitmix_nlp.functional.puzzlemix.energy import MaskEnergy

__all__ = ["QUALITIES", "solve_mask"]

QUALITIES = ("fast", "high")
TINY = 1e-20  # stands for a sum of border weights of 0


@torch.no_grad()
def solve_mask(energy: MaskEnergy, quality: str = "fast") -> torch.Tensor:
    """Find masks of low energy, within 1% of the exact minimum on average, without a loop over images.

    A convex relaxation is solved by over-relaxed sweeps over the two colours of a checkerboard and rounded. From there
    and from the constant masks, every block takes its best label given its neighbours, a few times, and the mask of
    least energy is kept: without the constant starts, the mean of the mask is pulled towards the wanted share.
    `"high"` also gives whole rows and columns of blocks their best labels given the others (dynamic programming),
    which never raises the energy. Two labels, where rounding is weakest, have more starts, and their rows and columns
    are improved in any case.

    Args:
        energy (`MaskEnergy`): Of `B` images on `n x n` blocks, `n >= 2`, with `t + 1` labels.
        quality (`str`): `"fast"` or `"high"`.

    Returns:
        `torch.Tensor` of shape `(B, n, n)`: Labels in `{0, 1/t, ..., 1}`.

    Raises:
        ValueError: If `quality` is unknown.
    """
    if quality not in QUALITIES:
        raise ValueError(f"quality must be one of {', '.join(QUALITIES)}, got {quality!r}.")
    steps, sweeps, grid = energy.prior.shape[1] - 1, int(quality == "high"), energy.own.shape[-1]
    colours = _checkerboard(energy)
    starts = _starts(energy, _relax(colours))
    improved = torch.stack([_merge(_improve(start, colours, 8 if steps == 1 else 2), grid) for start in starts])
    if steps == 1:
        repeated = MaskEnergy(*(field.repeat(len(improved), *[1] * (field.dim() - 1)) for field in energy))
        improved = sweep_chains(improved.flatten(0, 1), repeated, 1).view_as(improved)
        sweeps += 2
    best = torch.stack([energy.total(mask) for mask in improved]).argmin(0)
    mask = improved[best, torch.arange(len(best), device=best.device)]
    return sweep_chains(mask, energy, sweeps) if sweeps else mask


def _starts(energy: MaskEnergy, relaxed: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Masks to improve: the relaxed one rounded, and the constant ones; for two labels also other roundings."""
    steps = energy.prior.shape[1] - 1
    ones = torch.ones_like(energy.own)
    shifts, masks = (0.0,), [level / steps * ones for level in range(steps + 1)]
    if steps == 1:
        cheaper = energy.own + energy.prior[:, 1:, None] < energy.partner + energy.prior[:, :1, None]
        shifts, masks = (-0.3, -0.15, 0.0, 0.15, 0.3), [0.0 * ones, ones, cheaper.to(ones)]
    rounded = [[((mask - shift) * steps).round().clamp(0, steps) / steps for mask in relaxed] for shift in shifts]
    return [*rounded, *(_split(mask.permute(1, 2, 0)) for mask in masks)]


class _Colour(NamedTuple):
    """Half of the blocks, coloured as a checkerboard, so that all neighbours are in the other half.

    Blocks of one colour are kept in rows of `h = n / 2`. The neighbours above and below lie `h` places away in the
    other half, those beside at the same place and one off.

    Args:
        pull (`list` of `(int, torch.Tensor)`): Distance of a neighbour, and its share `(N, B)` in the border weights
            `W` of the block; 0 where there is none. The first distance is 0.
        push (`list` of `t` `torch.Tensor`): `-t (A_k - A_{k-1}) / (2 W) - (k - 1) / t` of the costs `A_k` of label
            `k`, `(N, B)`: plus the pull of the neighbours, how far above `(k - 1) / t` the block would like to be.
    """

    pull: list[tuple[int, torch.Tensor]]
    push: list[torch.Tensor]


def _checkerboard(energy: MaskEnergy) -> list[_Colour]:
    grid, steps = energy.own.shape[-1], energy.prior.shape[1] - 1
    right, down = energy.right.permute(1, 2, 0), energy.down.permute(1, 2, 0)
    column, row = right.new_zeros(grid, 1, right.shape[2]), down.new_zeros(1, grid, down.shape[2])
    borders = [torch.cat(pair, 1) for pair in ((column, right), (right, column))]
    borders += [torch.cat(pair) for pair in ((row, down), (down, row))]
    total = sum(borders).clamp_(min=TINY)
    sides = zip(*(_split(border / total) for border in borders), strict=True)
    tilt = _split((energy.partner - energy.own).permute(1, 2, 0) / (2 * total))
    scale = _split(steps / (2 * total))
    rise = energy.prior.diff(dim=1).T
    half = (grid + 1) // 2
    even = (torch.arange(len(tilt[0]), device=row.device) // half % 2 == 0)[:, None]
    colours = []
    for number, (left, right, up, down) in enumerate(sides):
        first = even if number == 0 else ~even  # rows that begin with this colour
        beside = [(0, torch.where(first, right, left)), (-1, left * first), (1, right * ~first)]
        push = [tilt[number] - rise[k] * scale[number] - k / steps for k in range(steps)]
        colours.append(_Colour([*beside, (-half, up), (half, down)], push))
    return colours


def _split(blocks: torch.Tensor) -> list[torch.Tensor]:
    """Red and black blocks of a grid `(n, n, B)`, each `(N, B)`; an odd grid gets a row and a column of zeros."""
    odd = len(blocks) % 2
    if odd:
        blocks = torch.nn.functional.pad(blocks, (0, 0, 0, odd, 0, odd))
    pairs = blocks.unflatten(0, (-1, 2)).unflatten(2, (-1, 2))
    red, black = (pairs[:, 0, :, 0], pairs[:, 1, :, 1]), (pairs[:, 0, :, 1], pairs[:, 1, :, 0])
    return [torch.stack(colour, 1).flatten(0, 2) for colour in (red, black)]


def _merge(masks: list[torch.Tensor], grid: int) -> torch.Tensor:
    """Put red and black blocks back into grids `(B, n, n)`."""
    half = (grid + 1) // 2
    red, black = (mask.view(half, 2, half, -1) for mask in masks)
    even, odd = torch.stack([red[:, 0], black[:, 0]], 2), torch.stack([black[:, 1], red[:, 1]], 2)
    blocks = torch.stack([even, odd], 1).view(2 * half, 2 * half, -1)
    return blocks[:grid, :grid].permute(2, 0, 1).contiguous()


def _pulled(colour: _Colour, others: torch.Tensor) -> torch.Tensor:
    """Mean of the neighbours of each block, weighted by the borders to them."""
    (_, same), *rest = colour.pull
    total = same * others
    for distance, share in rest:
        if distance > 0:
            total[:-distance].addcmul_(share[:-distance], others[distance:])
        else:
            total[-distance:].addcmul_(share[-distance:], others[:distance])
    return total


def _relax(colours: list[_Colour]) -> list[torch.Tensor]:
    """Minimise the energy over masks in `[0, 1]`, with the unary costs linear between labels."""
    masks = [torch.full_like(colour.push[0], 0.5) for colour in colours]
    step = 1.0 / len(colours[0].push)
    half = math.isqrt(len(masks[0]) // 2)
    overshoot = 2.0 / (1.0 + math.sin(math.pi / (2 * half)))  # best for the Laplacian, which then needs O(n) sweeps
    for _ in range(4 + half):
        for side, colour in enumerate(colours):
            pulled = _pulled(colour, masks[1 - side])
            best = sum((pulled + push).clamp_(0.0, step) for push in colour.push)
            masks[side].lerp_(best, overshoot).clamp_(0.0, 1.0)
    return masks


def _improve(masks: list[torch.Tensor], colours: list[_Colour], sweeps: int) -> list[torch.Tensor]:
    """Give each block its best label given its neighbours, one colour after the other."""
    masks, steps = list(masks), len(colours[0].push)
    for _ in range(sweeps):
        for side, colour in enumerate(colours):
            pulled = _pulled(colour, masks[1 - side])
            masks[side] = sum((pulled + push > 0.5 / steps).to(pulled.dtype) for push in colour.push) / steps
    return masks
