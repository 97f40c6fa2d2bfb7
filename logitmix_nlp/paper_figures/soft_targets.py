# SPDX-License-Identifier: Apache-2.0
"""Soft targets of LaMix: how large the largest are, and how they move in training (LaMix, Figures 2 and 3)."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from logitmix_nlp.functional.lamix import global_soft_label
from logitmix_nlp.functional.mixing import MixPlan, mix, sample_plan
from logitmix_nlp.mixing.rng import step_generator
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.paper_figures.networks import (
    CLASSES,
    PIXELS,
    Digits,
    TrainingPlan,
    load_digits,
    make_network,
    run_layers,
)
from logitmix_nlp.reports.plots.style import Theme, plot_file

__all__ = ["SOFT_TARGETS", "SoftTargets", "average_top", "soft_target_panels", "train_lamix", "value_shares"]


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


def soft_target_panels(
    averages: Mapping[str, np.ndarray],
    histories: Mapping[str, tuple[np.ndarray, np.ndarray]],
    target: str | Path | IO,
    title: str = "",
    *,
    style: str = "light",
    file_format: str | None = None,
) -> None:
    """Draw the average largest soft targets as bars (LaMix, Figure 2) and their values by epoch as maps (Figure 3).

    Args:
        averages (`Mapping[str, np.ndarray]`): Name of each kind of target and the averages of its largest values,
            largest first, of shape `(k,)`.
        histories (`Mapping[str, tuple]`): Heading of each map, the share of rows per epoch and bin of shape `(E, B)`,
            and the edges of the bins of shape `(B + 1,)`.
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `averages` is empty, or there is no such style.
    """
    if not averages:
        raise ValueError("averages is empty: give the largest targets of at least one kind.")
    with plot_file(target, file_format, (5.4 + 3.1 * len(histories), 3.6), title, style) as (figure, theme):
        panels = figure.subplots(1, 1 + len(histories), squeeze=False, width_ratios=[1.7] + [1] * len(histories))[0]
        _bars(panels[0], averages, theme)
        for place, (axis, (name, history)) in enumerate(zip(panels[1:], histories.items(), strict=True)):
            image = _history(axis, *history, theme)
            axis.set_title(name, fontsize=10)
            axis.set_ylabel("epoch" if place == 0 else "")
            bar = figure.colorbar(image, ax=axis)
            bar.set_label("share of rows" if place == len(histories) - 1 else "")
            bar.outline.set_visible(False)


def _bars(axis: Any, averages: Mapping[str, np.ndarray], theme: Theme) -> None:
    width = 0.8 / len(averages)
    colours = (theme.accuracy, theme.gap, *theme.lines[3:])
    for place, (name, values) in enumerate(averages.items()):
        middles = np.arange(len(values)) + (place - (len(averages) - 1) / 2) * width
        bars = axis.bar(middles, values, width, color=colours[place % len(colours)], edgecolor=theme.paper, label=name)
        axis.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    places = np.arange(max(map(len, averages.values())))
    axis.set_xticks(places, [f"{place + 1}." for place in places])
    axis.set(xlabel="place of the target, largest first", ylabel="average value")
    axis.set_title("largest soft targets", fontsize=10)
    axis.legend(frameon=False, fontsize=9)


def _history(axis: Any, shares: np.ndarray, edges: np.ndarray, theme: Theme) -> Any:
    extent = (edges[0], edges[-1], len(shares) + 0.5, 0.5)  # epochs run from top to bottom
    look = {"cmap": theme.sequential(), "vmin": 0, "interpolation": "nearest", "aspect": "auto"}
    image = axis.imshow(shares, extent=extent, **look)
    axis.set_xlabel("largest value of a row")
    axis.locator_params(axis="x", nbins=4)
    return image


def _soft_targets_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=60, help="Passes over the digits.")
    parser.add_argument("--beta", type=float, default=0.5, help="β of Eq. 10: share of the labels in the targets.")
    parser.add_argument("--rows", type=int, default=1000, help="Digits to train on.")


def _soft_targets(options: argparse.Namespace) -> Figure:
    digits = load_digits(options.rows, options.seed)
    plan = TrainingPlan(1, 128, 2e-3, options.seed)
    training = train_lamix(digits, plan, options.epochs, options.beta)
    targets, mixed = torch.cat(training.targets), torch.cat(training.mixed)
    averages = {
        "unmixed rows": average_top(targets[~mixed]),
        "averages of pairs": average_top(targets[mixed]),
    }
    histories = {}
    for name, values in {"training targets": training.targets, "global soft labels": training.global_labels}.items():
        low, high = (float(end) for end in torch.cat(values).amax(-1).aminmax())
        edges = np.linspace(np.floor(100 * low) / 100, np.ceil(100 * high) / 100, 41)
        histories[name] = (value_shares(values, edges), edges)
    title = f"Soft targets of LaMix on {options.rows} digits, β = {options.beta:g}"
    numbers = {name: values.tolist() for name, values in averages.items()}
    numbers |= {
        "largest_global_label_by_epoch": [values.amax(-1).mean().item() for values in training.global_labels],
        "test_accuracy": training.test_accuracy,
    }
    rows = [(name, values.tolist()) for name, values in averages.items()]
    caption = f"{title}: average targets (test accuracy {training.test_accuracy:.4f})"
    table = number_table("soft_targets", caption, "rows", ["1st", "2nd", "3rd", "4th", "5th"], rows)
    description = f"{title}. Average of the largest targets: " + "; ".join(
        f"{name} {', '.join(f'{value:.2f}' for value in values)}" for name, values in averages.items()
    )
    return Figure(
        title,
        description,
        numbers,
        table,
        lambda path, style: soft_target_panels(averages, histories, path, title, style=style),
    )


SOFT_TARGETS = FigureJob("soft targets of LaMix", _soft_targets_flags, _soft_targets)
