# SPDX-License-Identifier: Apache-2.0
"""Exact and naive references for PuzzleMix, one image at a time, and data to compare on."""

import itertools
import math
from functools import cache

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from sklearn.datasets import load_digits
from torch import nn

from logitmix_nlp.functional import MixPlan, saliency, sample_plan
from logitmix_nlp.functional.puzzlemix import QUALITIES, solve_mask
from logitmix_nlp.functional.puzzlemix.energy import MaskEnergy, block_saliency, mask_energy

FAMILIES = ("flat", "random", "heavy", "digits")
PRECISION = 1e7  # integer capacities per unit of energy


def exact_mask(energy: MaskEnergy, image: int) -> torch.Tensor:
    """Minimum cut of Ishikawa's graph: node (k, i) is on the source's side where block i has a label of at least k."""
    own, partner, prior, right, down = (field[image].double().numpy() for field in energy)
    grid, steps = len(own), len(prior) - 1
    blocks, label = grid * grid, np.arange(steps + 1)[:, None]
    weight = np.zeros((grid, grid))
    weight[:, 1:] += right
    weight[:, :-1] += right
    weight[1:] += down
    weight[:-1] += down
    cost = label / steps * own.ravel() + (1 - label / steps) * partner.ravel() + prior[:, None]
    cost = cost + weight.ravel() * (label**2 - steps * label) / steps**2
    source, sink, ids = steps * blocks, steps * blocks + 1, np.arange(blocks)
    edges = []
    for k in range(1, steps + 1):
        rise, nodes = cost[k] - cost[k - 1], (k - 1) * blocks + ids
        edges.append((np.full(blocks, source), nodes, np.maximum(-rise, 0)))
        edges.append((nodes, np.full(blocks, sink), np.maximum(rise, 0)))
        if k < steps:
            edges.append((nodes + blocks, nodes, np.full(blocks, 10.0)))
    square = ids.reshape(grid, grid)
    for first, second, border in ((square[:, :-1], square[:, 1:], right), (square[:-1], square[1:], down)):
        for k, other in itertools.product(range(steps), repeat=2):
            ends = k * blocks + first.ravel(), other * blocks + second.ravel()
            edges += [(*ends, border.ravel() / steps**2), (*ends[::-1], border.ravel() / steps**2)]
    start, end, capacity = (np.concatenate(part) for part in zip(*edges, strict=True))
    capacity = np.round(capacity * PRECISION).astype(np.int32)
    graph = csr_matrix((capacity, (start, end)), shape=(sink + 1, sink + 1))
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.data[residual.data < 0] = 0
    residual.eliminate_zeros()
    reached = np.zeros(sink + 1)
    reached[breadth_first_order(residual, source, return_predecessors=False)] = 1
    return torch.tensor(reached[:source].reshape(steps, grid, grid).sum(0) / steps, dtype=energy.own.dtype)


def exact_masks(energy: MaskEnergy) -> torch.Tensor:
    return torch.stack([exact_mask(energy, image) for image in range(len(energy.own))])


def brute_force(energy: MaskEnergy) -> torch.Tensor:
    """Least energy of each image over all masks."""
    rows, grid, _ = energy.own.shape
    steps = energy.prior.shape[1] - 1
    masks = torch.cartesian_prod(*[torch.arange(steps + 1) / steps] * grid**2).view(-1, grid, grid)
    least = []
    for row in range(rows):
        single = MaskEnergy(*(field[row : row + 1].expand(len(masks), *field.shape[1:]) for field in energy))
        least.append(single.total(masks).min())
    return torch.stack(least)


def distances(grid: int) -> torch.Tensor:
    place = torch.cartesian_prod(torch.arange(grid), torch.arange(grid)).double()
    return (place[:, None] - place).square().sum(-1) / (grid - 1) ** 2


def one_to_one(salient: torch.Tensor, visible: torch.Tensor, t_eps: float) -> list[torch.Tensor]:
    """Deferred acceptance on full tables, `n` rounds as in Sec. 3.3 of the paper: visible value of each image."""
    values = []
    for gain, seen in zip(salient.flatten(1).double(), visible.flatten(1).double(), strict=True):
        grid = math.isqrt(len(gain))
        cost = t_eps * distances(grid) - gain[:, None] * seen
        true_cost, block = cost.clone(), torch.arange(len(gain))
        for _ in range(grid):
            choice = cost.argmin(1)
            asked = torch.full_like(cost, torch.inf)
            asked[block, choice] = cost[block, choice]
            keeps = asked.argmin(0)[choice] == block
            cost[block[~keeps], choice[~keeps]] += 1.0
        shown = keeps & (seen[choice] > 0)
        values.append(true_cost[block, choice][shown].sum())
    return values


def best_assignment(salient: torch.Tensor, visible: torch.Tensor, t_eps: float) -> list[float]:
    values = []
    for gain, seen in zip(salient.flatten(1).double(), visible.flatten(1), strict=True):
        cost = (t_eps * distances(math.isqrt(len(gain))) - gain[:, None])[:, seen].numpy()
        values.append(cost[linear_sum_assignment(cost)].sum())
    return values


def visible_value(shown: torch.Tensor, salient: torch.Tensor, visible: torch.Tensor, t_eps: float) -> torch.Tensor:
    place = torch.arange(shown.shape[1])
    cost = t_eps * distances(salient.shape[-1])[shown, place] - salient.flatten(1).double().gather(1, shown)
    return (cost * visible.flatten(1)).sum(1)


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Digits at 32x32 with input gradients of a small convolutional net after a short training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        data = load_digits()
        images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
        images = nn.functional.interpolate(images[:640], size=32, mode="bilinear")
        labels = torch.tensor(data.target[:640])
        model = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
        )
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for batch in torch.randint(640, (40, 64)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        images.requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(images), labels), images)
    return images.detach(), saliency(gradient)


def example(
    family: str, rows: int, grid: int, share: float | None = None, **settings
) -> tuple[MaskEnergy, torch.Tensor, MixPlan]:
    """Energy, block saliency and plan of a batch; λ is `share`, or runs through 0.1, 0.3, ..., 0.9."""
    index = sample_plan(rows, 1.0).index
    shares = torch.linspace(0.1, 0.9, 5).repeat(-(-rows // 5))[:rows]
    plan = MixPlan(index, shares if share is None else torch.full((rows,), share))
    images, salient = torch.rand(rows, 3, 32, 32), torch.ones(rows, 32, 32)
    if family == "digits":
        chosen = torch.randint(640, (rows,))
        images, salient = (part[chosen] for part in digits())
    if family == "flat digits":  # real images of a model that has learnt nothing yet
        images = digits()[0][torch.randint(640, (rows,))]
    blocks = block_saliency(salient, grid)
    if family in ("random", "heavy"):
        blocks = torch.empty(rows, grid, grid)
        blocks = blocks.exponential_() if family == "random" else blocks.log_normal_(0, 2)
        blocks = blocks / blocks.sum((1, 2), keepdim=True)
    return mask_energy(images, plan.index, plan.lam, blocks, **settings), blocks, plan


def energy_gaps(rows: int) -> dict[str, dict[str, float]]:
    """Gap of masks to the exact minimum, mean and worst image, and bias of their shares, on every kind of data."""
    results = {}
    for family, grid in itertools.product(FAMILIES, (2, 4, 8, 16)):
        energy, _, _ = example(family, rows, grid)
        exact = exact_masks(energy)
        least, row = energy.total(exact), {}
        for quality in QUALITIES:
            mask = solve_mask(energy, quality)
            found = energy.total(mask)
            row[f"{quality}_mean_gap"] = (found.mean() / least.mean() - 1).item()
            row[f"{quality}_worst_gap"] = (found / least - 1).max().item()
            row[f"{quality}_share_bias"] = (mask.mean() - exact.mean()).item()
        results[f"{family} {grid}x{grid}"] = row
    return results
