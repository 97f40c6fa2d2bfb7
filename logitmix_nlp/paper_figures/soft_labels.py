# SPDX-License-Identifier: Apache-2.0
"""Soft targets of LaMix: how large the largest are, and how they move in training (LaMix, Figures 2 and 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from logitmix_nlp.functional.lamix import global_soft_label
from logitmix_nlp.functional.mixing import MixPlan, mix, sample_plan
from logitmix_nlp.mixing.rng import step_generator
from logitmix_nlp.paper_figures.digits import CLASSES, PIXELS, Digits
from logitmix_nlp.paper_figures.networks import TrainingPlan, make_network, run_layers

__all__ = ["SoftTargets", "average_top", "train_lamix", "value_shares"]


class SoftTargets(NamedTuple):
    """Training targets of all rows, one tensor per epoch.

    Args:
        targets (`list[torch.Tensor]` of shapes `(N, C)`): `beta * y + (1 - beta) * p` (LaMix, Eq. 10).
        global_labels (`list[torch.Tensor]` of shapes `(N, C)`): `p`, the global soft labels.
        mixed (`list[torch.Tensor]` of shapes `(N,)`): Whether the row was mixed.
        test_accuracy (`float`): Of the network in the end.
    """

    targets: list[torch.Tensor]
    global_labels: list[torch.Tensor]
    mixed: list[torch.Tensor]
    test_accuracy: float


def average_top(targets: torch.Tensor, count: int = 5) -> np.ndarray:
    """Average of the largest target of each row, of the second largest, and so on.

    Args:
        targets (`torch.Tensor` of shape `(N, C)`): Targets.
        count (`int`): How many, from 1 to C.

    Returns:
        `np.ndarray` of shape `(count,)`: Falling.

    Raises:
        ValueError: If there are not that many classes.
    """
    if not 1 <= count <= targets.shape[-1]:
        raise ValueError(f"count must be from 1 to the {targets.shape[-1]} classes, got {count}.")
    return targets.double().topk(count, dim=-1).values.mean(0).numpy()


def value_shares(epochs: Sequence[torch.Tensor], edges: np.ndarray) -> np.ndarray:
    """Share of the rows whose largest value lies in each bin, epoch by epoch.

    Args:
        epochs (`Sequence[torch.Tensor]` of shapes `(N, C)`): Targets of each epoch.
        edges (`np.ndarray` of shape `(B + 1,)`): Edges of the bins, rising.

    Returns:
        `np.ndarray` of shape `(E, B)`: Rows sum to 1 if the bins hold all values.
    """
    largest = [values.amax(-1).double().numpy() for values in epochs]
    return np.stack([np.histogram(values, edges)[0] / len(values) for values in largest])


def train_lamix(digits: Digits, plan: TrainingPlan, epochs: int, beta: float = 0.5) -> SoftTargets:
    """Train a perceptron on digits as LaMix does and keep its targets.

    Steps on the rows and on averages of pairs (Eq. 4) take turns, λ ~ U(0, 1) enters the labels only (Sec. 3.1), and
    the gradient of the cross-entropy runs through the global soft labels too, or `W_t` would not learn.

    Args:
        digits (`Digits`): Training and test rows.
        plan (`TrainingPlan`): Batches, learning rate and seed; its steps and α are ignored.
        epochs (`int`): Passes over the data; every row is seen once unmixed and once mixed in each.
        beta (`float`): β of Eq. 10, in `(0, 1]`.

    Raises:
        ValueError: If `epochs` or `beta` is out of range.
    """
    if epochs < 1 or not 0.0 < beta <= 1.0:
        raise ValueError(f"epochs must be at least 1 and beta in (0, 1], got {epochs} and {beta}.")
    network = make_network((PIXELS, 128, 128, CLASSES), plan.seed)
    soft_head = make_network((128, CLASSES), plan.seed + 1)
    optimizer = torch.optim.Adam([*network.parameters(), *soft_head.parameters()], lr=plan.learning_rate)
    one_hot = F.one_hot(digits.train_labels, CLASSES).float()
    kept: dict[str, list[torch.Tensor]] = {"targets": [], "global_labels": [], "mixed": []}
    for epoch in range(epochs):
        generator = step_generator(plan.seed, epoch, 0)
        seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        order = torch.randperm(len(one_hot), generator=generator)
        for rows in order.split(plan.batch_size or len(order)):
            for mixed in (False, True):
                pairs = sample_plan(len(rows), 1.0, per_sample=True, generator=generator)
                half = MixPlan(pairs.index, torch.full_like(pairs.lam, 0.5))
                x = mix(digits.train_x[rows], half) if mixed else digits.train_x[rows]
                local = mix(one_hot[rows], pairs) if mixed else one_hot[rows]
                seen.append((*_step(network, soft_head, x, local, beta, optimizer), torch.full((len(rows),), mixed)))
        for name, parts in zip(kept, zip(*seen, strict=True), strict=True):
            kept[name].append(torch.cat(parts))
    with torch.no_grad():
        right = run_layers(network, digits.test_x).argmax(-1) == digits.test_labels
    return SoftTargets(**kept, test_accuracy=right.double().mean().item())


def _step(
    network: nn.ModuleList,
    soft_head: nn.ModuleList,
    x: torch.Tensor,
    local: torch.Tensor,
    beta: float,
    optimizer: torch.optim.Optimizer,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step on `-sum y log q` (Eq. 11); returns targets and global soft labels."""
    features = run_layers(network, x, 0, -1)
    soft = global_soft_label(run_layers(soft_head, features))
    targets = beta * local + (1 - beta) * soft
    logq = F.log_softmax(run_layers(network, features, len(network) - 1), dim=-1)
    optimizer.zero_grad()
    (-(targets * logq).sum(-1).mean()).backward()
    optimizer.step()
    return targets.detach(), soft.detach()
