# SPDX-License-Identifier: Apache-2.0
"""Move salient blocks that the mask hides to places where it shows them, batched and only where something moves."""

import torch

__all__ = ["assign_blocks"]

COSTS_AT_ONCE = 2**22  # looked at together, which bounds memory


@torch.no_grad()
def assign_blocks(salient: torch.Tensor, visible: torch.Tensor, t_eps: float) -> torch.Tensor:
    """Choose the block of the image that each visible place shows (PuzzleMix).

    Showing block `i` at place `j` costs `t_eps * |p_i - p_j|^2 / (n - 1)^2 - salient_i`; a block is shown at most
    once. The stable assignment is found, in which no block and place would both do better with each other: a place
    shows its own block unless a hidden block, or one driven away by such, is cheaper there. This is what the authors'
    deferred acceptance finds, but it runs over the few blocks that could move, until none would, and leaves no visible
    place empty.

    Args:
        salient (`torch.Tensor` of shape `(R, n, n)`): Saliency of the blocks, at least 0, `n >= 2`.
        visible (`torch.BoolTensor` of shape `(R, n, n)`): Where the mask shows the image, fully or in part.
        t_eps (`float`): Cost of distance, above 0.

    Returns:
        `torch.LongTensor` of shape `(R, n * n)`: Block shown at each place; hidden places keep their own.
    """
    rows, grid = salient.shape[:2]
    scale = t_eps / (grid - 1) ** 2
    blocks = grid * grid
    gain = salient.flatten(1)
    # What a place costs as it is. Hidden ones take nothing: no cost lies below minus infinity.
    held = torch.where(visible.flatten(1), -gain, -torch.inf)
    block = torch.arange(blocks, device=salient.device)
    shown = block.repeat(rows, 1)
    offers = torch.where(visible, salient, torch.inf)
    could_move = ~visible & (salient > _cheapest_within(offers, scale))
    image, mover = could_move.flatten(1).nonzero(as_tuple=True)
    place = torch.stack([block // grid, block % grid]).to(salient.dtype)
    while len(mover):
        cost, target = _best_places(image, mover, gain, held, place, scale)
        wants = cost < torch.inf
        image, mover, cost, target = image[wants], mover[wants], cost[wants], target[wants]
        seat = image * blocks + target
        least = held.new_full((rows * blocks,), torch.inf).scatter_reduce_(0, seat, cost, "amin")
        cheapest = cost == least[seat]
        first = block.new_full((rows * blocks,), blocks).scatter_reduce_(0, seat[cheapest], mover[cheapest], "amin")
        wins = cheapest & (mover == first[seat])
        driven_out = shown.view(-1)[seat[wins]]
        held.view(-1)[seat[wins]] = cost[wins]
        shown.view(-1)[seat[wins]] = mover[wins]
        mover = torch.cat([mover[~wins], driven_out])
        image = torch.cat([image[~wins], image[wins]])
    return shown


def _cheapest_within(offers: torch.Tensor, scale: float) -> torch.Tensor:
    """For each block, the least of `offers_j + scale * |p_i - p_j|^2` over all places `j`; separable."""
    for dim in (1, 2):
        best = offers.clone()
        for distance in range(1, offers.shape[dim]):
            rest = offers.shape[dim] - distance
            extra = scale * distance**2
            near, far = best.narrow(dim, 0, rest), best.narrow(dim, distance, rest)
            torch.minimum(near, offers.narrow(dim, distance, rest) + extra, out=near)
            torch.minimum(far, offers.narrow(dim, 0, rest) + extra, out=far)
        offers = best
    return offers


def _best_places(
    image: torch.Tensor, mover: torch.Tensor, gain: torch.Tensor, held: torch.Tensor, place: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cheapest place that would take each mover, and its cost; infinite where none would."""
    best = []
    size = max(1, COSTS_AT_ONCE // held.shape[1])
    for images, movers in zip(image.split(size), mover.split(size), strict=True):
        distance = (place[:, movers, None] - place[:, None]).square_().sum(0)
        cost = distance.mul_(scale).sub_(gain[images, movers][:, None])
        best.append(cost.masked_fill_(cost >= held[images], torch.inf).min(1))
    costs, places = zip(*best, strict=True)
    return torch.cat(costs), torch.cat(places)
