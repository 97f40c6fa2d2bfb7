# SPDX-License-Identifier: Apache-2.0
"""The energy of a PuzzleMix mask: what each block loses, and what each border between two blocks costs."""

import math
from typing import NamedTuple

import torch

__all__ = ["MaskEnergy", "block_saliency", "mask_energy", "pool", "saliency"]

LEAST_LAM = 1e-4  # the prior is flat there, and would not be convex far below


class MaskEnergy(NamedTuple):
    """Energy of the masks of `B` images on `n x n` blocks, at labels `k/t`, `k = 0..t` (label 1 keeps the own image).

    `E(z) = sum_i [z_i * own_i + (1 - z_i) * partner_i + prior(z_i)] + sum_edges w * (z_i - z_j)^2`, convex in the
    sense of L-natural functions, since no weight is negative.

    Args:
        own (`torch.Tensor` of shape `(B, n, n)`): Cost of keeping the own image: what its partner's block loses.
        partner (`torch.Tensor` of shape `(B, n, n)`): Cost of taking the partner's.
        prior (`torch.Tensor` of shape `(B, t + 1)`): Cost of each label, the same for every block of an image.
        right (`torch.Tensor` of shape `(B, n, n - 1)`): Weight of the border to the block on the right.
        down (`torch.Tensor` of shape `(B, n - 1, n)`): Weight of the border to the block below.
    """

    own: torch.Tensor
    partner: torch.Tensor
    prior: torch.Tensor
    right: torch.Tensor
    down: torch.Tensor

    def total(self, mask: torch.Tensor) -> torch.Tensor:
        """Energy of masks of shape `(B, n, n)` with values `k/t`: shape `(B,)`."""
        steps = self.prior.shape[1] - 1
        label = (mask * steps).round().long()
        blocks = mask * self.own + (1.0 - mask) * self.partner
        blocks = blocks + self.prior.gather(1, label.flatten(1)).view_as(mask)
        borders = (self.right * mask.diff(dim=2).square()).sum((1, 2)) + (self.down * mask.diff(dim=1).square()).sum(
            (1, 2)
        )
        return blocks.sum((1, 2)) + borders


@torch.no_grad()
def saliency(gradient: torch.Tensor) -> torch.Tensor:
    """How much each pixel matters to the loss: root mean square over channels of its input gradient (PuzzleMix).

    Only ratios within an image count, so loss scales and means over the batch cancel.

    Args:
        gradient (`torch.Tensor` of shape `(B, C, H, W)`): Gradient of the clean loss by the images.

    Returns:
        `torch.Tensor` of shape `(B, H, W)`: In float32, relative to the largest entry of the gradient of each image.
        Not a number where that is zero or infinite, which [`block_saliency`] takes as uniform.
    """
    rows, channels, height, width = gradient.shape
    largest = torch.maximum(gradient.amax((1, 2, 3)), -gradient.amin((1, 2, 3))).float()[:, None, None]
    squares = gradient.new_zeros(rows, height, width, dtype=torch.float32)
    scaled = torch.empty_like(squares)
    for channel in gradient.unbind(1):
        torch.div(channel, largest, out=scaled)
        squares.addcmul_(scaled, scaled)
    return squares.div_(channels).sqrt_()


def block_saliency(saliency: torch.Tensor, grid: int) -> torch.Tensor:
    """Mean saliency of each block, scaled to a sum of 1 per image.

    Args:
        saliency (`torch.Tensor` of shape `(B, H, W)`): At least 0. An image that has none, or whose sum is infinite or
            not a number (a saturated loss, an overflown gradient), counts as equally salient everywhere.
        grid (`int`): Blocks per side `n`, at most `min(H, W)`.

    Returns:
        `torch.Tensor` of shape `(B, n, n)`: In float32 at least.
    """
    blocks = pool(pool(saliency, -2, grid), -1, grid)
    total = blocks.sum((1, 2), keepdim=True)
    usable = (total > 0) & torch.isfinite(total)
    return torch.where(usable, blocks / total, 1.0 / grid**2)


@torch.no_grad()
def mask_energy(
    images: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    salient: torch.Tensor,
    *,
    n_labels: int = 3,
    beta: float = 1.2,
    gamma: float = 0.5,
    eta: float = 0.2,
    neigh_size: int = 4,
    std: torch.Tensor | None = None,
) -> MaskEnergy:
    """Energy of the mask of each pair (PuzzleMix; quadratic in the labels, as the authors' code).

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): As the model sees them.
        index (`torch.LongTensor` of shape `(B,)`): Partners.
        lam (`torch.Tensor` of shape `(B,)`): Prior share of the own image.
        salient (`torch.Tensor` of shape `(B, n, n)`): From [`block_saliency`].
        n_labels (`int`): As in [`puzzlemix`], and so are the following.
        beta (`float`): Weight of smooth masks.
        gamma (`float`): Share of `beta` that depends on jumps between pixels.
        eta (`float`): Weight of the wanted share.
        neigh_size (`int`): Side in pixels of what is averaged before jumps are taken.
        std (`torch.Tensor` of shape `(C,)`, *optional*): Scale of the pixels.

    Returns:
        `MaskEnergy`: In float32 at least. Border weights are kept at or above `beta * (1 - gamma) / (16 n)`, which is
        no change for pixels in `[0, 1]`.
    """
    grid, steps = salient.shape[-1], n_labels - 1
    cells = [max(1, size // grid // neigh_size) for size in images.shape[-2:]]
    pixels = pool(pool(images, -2, grid * cells[0]), -1, grid * cells[1])
    if std is not None:
        pixels = pixels * std.to(pixels).view(-1, 1, 1)
    smooth = beta / (16 * grid)
    half = smooth * gamma / 2
    across = _borders(pixels, index, cells[1], grid)
    along = [border.mT for border in _borders(pixels.mT, index, cells[0], grid)]
    own, partner = salient[index].clone(), salient.clone()
    weights = []
    for dim, (d11, d10, d01, d00) in ((2, across), (1, along)):
        own.narrow(dim, 0, grid - 1).add_(d10 + d11, alpha=half)
        own.narrow(dim, 1, grid - 1).add_(d01 + d11, alpha=half)
        partner.narrow(dim, 0, grid - 1).add_(d01 + d00, alpha=half)
        partner.narrow(dim, 1, grid - 1).add_(d10 + d00, alpha=half)
        weights.append((smooth + half * (d10 + d01 - d11 - d00)).clamp(min=smooth * (1.0 - gamma)))
    share = lam.to(own).clamp(LEAST_LAM, 1.0 - LEAST_LAM)[:, None]
    taken = torch.arange(n_labels, device=share.device)
    ways = share.new_tensor([math.comb(steps, k) for k in range(n_labels)])
    chance = ways.log() + taken * share.log() + (steps - taken) * (1.0 - share).log()
    return MaskEnergy(own, partner, -eta / grid**2 * chance, *weights)


def _borders(pixels: torch.Tensor, index: torch.Tensor, cells: int, grid: int) -> tuple[torch.Tensor, ...]:
    """Jumps `|x_a - x_b|` over each border between columns of blocks, `a` left and `b` right of it.

    Returns `d11, d10, d01, d00`, each `(B, n, n - 1)`; 1 stands for the own image, 0 for the partner's.
    """
    left, right = pixels[..., cells - 1 : -1 : cells], pixels[..., cells::cells]
    pairs = ((left, right), (left, right[index]), (left[index], right))
    d11, d10, d01 = (pool((a - b).abs().mean(1), -2, grid) for a, b in pairs)
    return d11, d10, d01, d11[index]


def pool(x: torch.Tensor, dim: int, parts: int) -> torch.Tensor:
    """Mean over each of `parts` runs along dimension -2 or -1, in float32 at least. Runs differ by at most one entry.

    Position `p` of `size` belongs to run `floor(p * parts / size)`.
    """
    size, dtype = x.shape[dim], torch.promote_types(x.dtype, torch.float32)
    if size == parts:
        return x.to(dtype)
    if size % parts == 0:
        dim = x.dim() + dim
        return x.unflatten(dim, (parts, size // parts)).mean(dim + 1, dtype=dtype)
    run = torch.arange(size, device=x.device) * parts // size
    member = (run == torch.arange(parts, device=x.device)[:, None]).to(dtype)
    member /= member.sum(1, keepdim=True)
    return member @ x.to(dtype) if dim == -2 else x.to(dtype) @ member.T
