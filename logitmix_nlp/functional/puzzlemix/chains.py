# SPDX-License-Identifier: Apache-2.0
"""Exact moves of whole rows and columns of a mask: the best labels of a chain of blocks, given all other blocks."""

import torch

from logitmix_nlp.functional.puzzlemix.energy import MaskEnergy

__all__ = ["sweep_chains"]


def sweep_chains(mask: torch.Tensor, energy: MaskEnergy, sweeps: int) -> torch.Tensor:
    """Give every second row, the rows between, every second column and those between their best labels in turn.

    Args:
        mask (`torch.Tensor` of shape `(B, n, n)`): Labels `k/t`; not written to.
        energy (`MaskEnergy`): What is minimised.
        sweeps (`int`): How often.

    Returns:
        `torch.Tensor` of shape `(B, n, n)`: Masks of the same or lower energy.
    """
    steps = energy.prior.shape[1] - 1
    levels = torch.arange(steps + 1, device=mask.device, dtype=mask.dtype).view(-1, 1, 1, 1) / steps
    own, partner, right, down = (field.permute(1, 2, 0) for field in (energy.own, energy.partner, *energy[3:]))
    unary = levels * own + (1.0 - levels) * partner + energy.prior.T[:, None, None]
    mask = mask.permute(1, 2, 0).contiguous()
    for _ in range(sweeps):
        _solve_rows(mask, unary, levels, right, down)
        _solve_rows(mask.transpose(0, 1), unary.transpose(1, 2), levels, down.transpose(0, 1), right.transpose(0, 1))
    return mask.permute(2, 0, 1).contiguous()


def _solve_rows(
    mask: torch.Tensor, unary: torch.Tensor, levels: torch.Tensor, along: torch.Tensor, across: torch.Tensor
) -> None:
    """Viterbi's algorithm over the even rows of all images at once, then over the odd ones; `mask` is updated."""
    grid, steps = len(mask), len(levels) - 1
    jump = (levels[:, None] - levels).square()[..., 0]
    edge = across.new_zeros(1, *across.shape[1:])
    above, below = torch.cat([edge, across]), torch.cat([across, edge])
    for parity in (0, 1):
        rows = slice(parity, None, 2)
        framed = torch.cat([mask[:1], mask, mask[-1:]])
        pull = above[rows] * framed[:-2][rows] + below[rows] * framed[2:][rows]
        cost = unary[:, rows] + levels * (levels * (above[rows] + below[rows]) - 2 * pull)
        best, origins = cost[:, :, 0], []
        for place in range(1, grid):
            best, origin = (best + jump * along[rows, place - 1]).min(1)
            best = best + cost[:, :, place]
            origins.append(origin)
        label = best.argmin(0)
        mask[rows, -1] = label.to(mask.dtype) / steps
        for place in range(grid - 2, -1, -1):
            label = origins[place].gather(0, label[None])[0]
            mask[rows, place] = label.to(mask.dtype) / steps
