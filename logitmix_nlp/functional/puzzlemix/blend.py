# SPDX-License-Identifier: Apache-2.0
"""From masks and moved blocks to pixels. Images of any size: blocks then differ by at most one row or column."""

import torch

__all__ = ["blend", "mask_share"]


def mask_share(mask: torch.Tensor, n_labels: int, height: int, width: int) -> torch.Tensor:
    """Mean of block masks over the pixels of an image, λ of PuzzleMix; exact up to 2^24 pixels times labels.

    Args:
        mask (`torch.Tensor` of shape `(B, n, n)`): Labels `k/t` with `t = n_labels - 1`.
        n_labels (`int`): At least 2.
        height (`int`): In pixels.
        width (`int`): In pixels.

    Returns:
        `torch.Tensor` of shape `(B,)`: In `[0, 1]`.
    """
    steps, grid = n_labels - 1, mask.shape[-1]
    block = torch.arange(grid, device=mask.device)
    pixels = _run(block, grid, height)[1][:, None] * _run(block, grid, width)[1]
    return ((mask * steps).round() * pixels).sum((1, 2)) / (steps * height * width)


def blend(
    first: torch.Tensor,
    second: torch.Tensor,
    index: torch.Tensor,
    mask: torch.Tensor,
    shown: tuple[torch.Tensor, torch.Tensor] | None = None,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """Blend each image with its partner by a mask of blocks, with blocks moved first.

    Args:
        first (`torch.Tensor` of shape `(B, C, H, W)`): Own images.
        second (`torch.Tensor` of shape `(B, C, H, W)`): Images the partners are taken from.
        index (`torch.LongTensor` of shape `(B,)`): Partners.
        mask (`torch.Tensor` of shape `(B, n, n)`): Share of the own image per block.
        shown (pair of `torch.LongTensor` of shape `(B, m * m)`, *optional*): Block of the own and of the partner's
            image that each place shows; `m` is a multiple of `n`. Blocks that are one row or column larger or smaller
            than their place are cut, or their last row or column is repeated.
        out (`torch.Tensor`, *optional*): Buffer for the result.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: `mask * first + (1 - mask) * second[index]`, upsampled and moved.
    """
    height, width = first.shape[-2:]
    mask = mask.to(first.dtype)
    pixels = _upsample(_upsample(mask, 1, height), 2, width)[:, None]
    if out is None:
        mixed = second[index].lerp_(first, pixels)
    else:
        torch.index_select(second, 0, index, out=out)
        mixed = torch.lerp(out, first, pixels, out=out)
    if shown is not None:
        own, other = shown
        grid = round(own.shape[1] ** 0.5)
        place = torch.arange(grid * grid, device=own.device)
        image, place = ((own != place) | (other != place)).nonzero(as_tuple=True)
        if len(image):
            (rows, columns), (own_rows, own_columns) = _block_pixels(place, own[image, place], grid, height, width)
            _, (other_rows, other_columns) = _block_pixels(place, other[image, place], grid, height, width)
            image = image[:, None, None]
            mine, theirs = first[image, :, own_rows, own_columns], second[index[image], :, other_rows, other_columns]
            mixed[image, :, rows, columns] = torch.lerp(theirs, mine, pixels[image, 0, rows, columns][..., None])
    return mixed


def _run(number: torch.Tensor, parts: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First position and length of runs, of the `parts` that `pool` divides `size` positions into."""
    start = (number * size + parts - 1) // parts
    return start, ((number + 1) * size + parts - 1) // parts - start


def _upsample(mask: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    return mask.index_select(dim, torch.arange(size, device=mask.device) * mask.shape[dim] // size)


def _block_pixels(
    place: torch.Tensor, source: torch.Tensor, grid: int, height: int, width: int
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Row and column indices of the pixels of places, `(L, h, 1)` and `(L, 1, w)`, and of those they show."""
    here, there = [], []
    for part, size, dim in ((lambda block: block // grid, height, 2), (lambda block: block % grid, width, 1)):
        (start, length), (origin, reach) = _run(part(place), grid, size), _run(part(source), grid, size)
        offset = torch.arange(-(-size // grid), device=place.device).minimum(length[:, None] - 1)
        here.append((start[:, None] + offset).unsqueeze(dim))
        there.append((origin[:, None] + offset.minimum(reach[:, None] - 1)).unsqueeze(dim))
    return tuple(here), tuple(there)
