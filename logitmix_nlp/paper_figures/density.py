# SPDX-License-Identifier: Apache-2.0
"""Joint density of confidence and accuracy over the epochs (Thulasidasan et al., 2019, Figure 1)."""

import argparse
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.functional.selective import RowConfidences, row_confidences
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.paper_figures.networks import (
    CLASSES,
    METHOD_HELP,
    PIXELS,
    Digits,
    FigureMethod,
    TrainingPlan,
    load_digits,
    make_network,
    parse_figure_method,
    run_layers,
    train_network,
)
from logitmix_nlp.paper_figures.predictions import EpochPredictions, named_paths, read_epochs
from logitmix_nlp.reports.plots.style import Theme, bottom_legend, plot_file, wrapped

__all__ = [
    "DENSITY",
    "DensityMap",
    "density_maps",
    "density_of_epoch",
    "group_means",
    "joint_density",
    "logits_by_epoch",
]


class DensityMap(NamedTuple):
    """Where groups of rows lie between mean confidence and accuracy.

    Args:
        density (`np.ndarray` of shape `(B, B)`): Share of the groups per cell, summing to 1; first axis accuracy,
            second axis mean confidence. The middles of the cells run from 0 to 1 both ways.
        confidence (`float`): Mean confidence of all rows.
        accuracy (`float`): Accuracy of all rows.
        title (`str`): Heading, such as the epoch.
    """

    density: np.ndarray
    confidence: float
    accuracy: float
    title: str = ""


def density_maps(
    models: dict[str, list[DensityMap]],
    target: str | Path | IO,
    title: str = "",
    *,
    max_columns: int = 3,
    style: str = "light",
    file_format: str | None = None,
) -> None:
    """Draw joint densities of confidence and accuracy, one panel per model, one colour per epoch.

    Density below the diagonal belongs to an over-confident model (Thulasidasan et al., 2019). All panels show the same
    part of the unit square, the smallest one with all their density; each epoch is as strong as any other at its peak.

    Args:
        models (`dict[str, list[DensityMap]]`): Name of each model and its densities, earliest first.
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        max_columns (`int`): Panels in one row; more than that go on in the next row.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no density, or no such style.
    """
    if not models or not all(models.values()):
        raise ValueError("models lack densities: give at least one per model.")
    headings = list(dict.fromkeys(one.title for maps in models.values() for one in maps))
    columns = min(len(models), max_columns)
    rows = -(-len(models) // columns)
    start = _start(models)
    size = (max(3.3 * columns, 5) + 0.5, 3.5 * rows + 0.9)
    with plot_file(target, file_format, size, title, style) as (figure, theme):
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
        colours = {heading: theme.line(place + 1)["color"] for place, heading in enumerate(headings)}
        for place, (axis, (name, maps)) in enumerate(zip(axes, models.items(), strict=False)):
            _panel(axis, maps, start, colours, theme)
            axis.set_title(wrapped(name), fontsize=10)
            below = place + columns >= len(models)
            axis.tick_params(labelbottom=below)
            axis.set_xlabel("mean confidence" if below else "")
            axis.set_ylabel("accuracy" if place % columns == 0 else "")
        for axis in axes[len(models) :]:
            axis.remove()
        bottom_legend(figure, *_legend_entries(colours, theme))


def _start(models: dict[str, list[DensityMap]]) -> float:
    """Lower end of both axes: a multiple of 0.1 below all cells that are not empty to the eye."""
    lowest = 1.0
    for one in (one for maps in models.values() for one in maps):
        visible = np.argwhere(one.density > 0.01 * one.density.max())
        lowest = min(lowest, float(visible.min()) / (len(one.density) - 1))
    return float(np.floor(10 * lowest) / 10)


def _panel(axis: Any, maps: list[DensityMap], start: float, colours: dict[str, str], theme: Theme) -> None:
    from matplotlib.colors import to_rgb

    for one in maps:
        half = 0.5 / (len(one.density) - 1)
        pixels = np.empty((*one.density.shape, 4))
        pixels[..., :3] = to_rgb(colours[one.title])
        pixels[..., 3] = 0.85 * one.density / one.density.max()
        axis.imshow(pixels, origin="lower", extent=(-half, 1 + half, -half, 1 + half), interpolation="bilinear")
    means = np.array([(one.confidence, one.accuracy) for one in maps])
    axis.plot([0, 1], [0, 1], color=theme.ink, linewidth=0.8, linestyle="--")
    axis.plot(*means.T, color=theme.ink, linewidth=0.8, marker="+", markersize=6)
    look = {"transform": axis.transAxes, "fontsize": 8, "color": theme.rows}
    axis.text(0.03, 0.97, "under-confident", va="top", **look)
    axis.text(0.97, 0.03, "over-confident", ha="right", **look)
    axis.set(xlim=(start, 1 + half), ylim=(start, 1 + half), aspect="equal")


def _legend_entries(colours: dict[str, str], theme: Theme) -> tuple[list, list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    patches = [Patch(color=colour, linewidth=0) for colour in colours.values()]
    means = Line2D([], [], color=theme.ink, linewidth=0.8, marker="+", markersize=6)
    diagonal = Line2D([], [], color=theme.ink, linewidth=0.8, linestyle="--")
    return [*patches, means, diagonal], [*colours, "mean of all rows", "perfect"]


STEPS = 100


def group_means(
    rows: RowConfidences, group_size: int, groups: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and accuracy of groups of rows, drawn with replacement.

    One row is right or wrong; a group has an accuracy, and by how much groups differ is what a test set of that size
    would show.

    Args:
        rows (`RowConfidences`): Confidence and correctness of `N` rows.
        group_size (`int`): Rows of a group, at least 1.
        groups (`int`): Number of groups, at least 1.
        generator (`torch.Generator`): Of the draws.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Mean confidence and accuracy, each of shape `(groups,)`, in `[0, 1]`.

    Raises:
        ValueError: If a number is smaller than 1.
    """
    if group_size < 1 or groups < 1:
        raise ValueError(f"group_size and groups must be at least 1, got {group_size} and {groups}.")
    index = torch.randint(len(rows.correct), (groups, group_size), generator=generator)
    return rows.confidence[index].mean(1).numpy(), rows.correct[index].double().mean(1).numpy()


def joint_density(confidence: np.ndarray, accuracy: np.ndarray, smoothing: float = 0.015) -> np.ndarray:
    """Smoothed share of points in each of 101 x 101 cells of the unit square, around 0, 0.01, ..., 1 both ways.

    Args:
        confidence (`np.ndarray` of shape `(G,)`): In `[0, 1]`.
        accuracy (`np.ndarray` of shape `(G,)`): In `[0, 1]`.
        smoothing (`float`): Standard deviation of the Gaussian, reflected at the edges, that the shares are smoothed
            with.

    Returns:
        `np.ndarray` of shape `(101, 101)`: First axis accuracy, second confidence; sums to 1.
    """
    cells = [np.rint(STEPS * values).astype(int) for values in (accuracy, confidence)]
    shares = np.zeros((STEPS + 1, STEPS + 1))
    np.add.at(shares, tuple(cells), 1 / len(confidence))
    return ndimage.gaussian_filter(shares, smoothing * STEPS, mode="reflect")


def density_of_epoch(
    logits: torch.Tensor, labels: torch.Tensor, title: str, *, group_size: int = 100, groups: int = 4000, seed: int = 0
) -> DensityMap:
    """The density of one epoch's logits `(N, C)`; see [`group_means`] for the groups, which `seed` draws."""
    rows = row_confidences(logits, labels, from_logits=True)
    confidence, accuracy = group_means(rows, group_size, groups, torch.Generator().manual_seed(seed))
    means = rows.confidence.mean().item(), rows.correct.double().mean().item()
    return DensityMap(joint_density(confidence, accuracy), *means, title)


def logits_by_epoch(digits: Digits, method: FigureMethod, plan: TrainingPlan, epochs: list[int]) -> torch.Tensor:
    """Train a perceptron on digits and keep the logits of the test rows after some epochs.

    Args:
        digits (`Digits`): Training and test rows.
        method (`FigureMethod`): How to train.
        plan (`TrainingPlan`): Batches, learning rate and seed; its steps are ignored.
        epochs (`list[int]`): Epochs to keep, rising; training ends with the last one.

    Returns:
        `torch.Tensor` of shape `(E, N, 10)`: Logits.
    """
    network = make_network((PIXELS, 128, 128, CLASSES), plan.seed)
    per_epoch = -(-len(digits.train_x) // (plan.batch_size or len(digits.train_x)))
    wanted, kept = {epoch * per_epoch for epoch in epochs}, []

    @torch.no_grad()
    def keep(step: int) -> None:
        if step in wanted:
            kept.append(run_layers(network, digits.test_x))

    plan = plan._replace(steps=epochs[-1] * per_epoch)
    train_network(network, digits.train_x, digits.train_labels, method, plan, keep)
    return torch.stack(kept)


def _density_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="*", metavar="[NAME=]FILE.npz", help="Logits (E, N, C) and labels (N,); none trains on digits."
    )
    parser.add_argument("--methods", nargs="+", default=["vanilla", "mixup", "logitmix"], help=METHOD_HELP)
    parser.add_argument(
        "--epochs",
        type=int,
        nargs="+",
        default=[5, 10, 50, 200],
        help="Epochs to show, of digits; of files, six of them evenly chosen.",
    )
    parser.add_argument(
        "--mix_alpha", type=float, help="α of Beta(α, α) for all methods; each has its own if not given."
    )
    parser.add_argument("--rows", type=int, default=150, help="Digits to train on; the other rows are the test set.")
    parser.add_argument("--group_size", type=int, default=100, help="Rows of the groups whose means are shown.")


def _density(options: argparse.Namespace) -> Figure:
    if options.files:
        runs = {name: read_epochs(path) for name, path in named_paths(options.files).items()}
        title = "Confidence and accuracy by epoch"
    else:
        if sorted(set(options.epochs)) != options.epochs or options.epochs[0] < 1:
            raise ValueError(f"--epochs must rise from at least 1, got {options.epochs}.")
        digits = load_digits(options.rows, options.seed)
        plan = TrainingPlan(1, 32, 3e-3, options.seed, options.mix_alpha)
        runs = {}
        for name in options.methods:
            method = parse_figure_method(name, 2)
            logits = logits_by_epoch(digits, method, plan, options.epochs)
            runs[method.label] = EpochPredictions(logits, digits.test_labels, tuple(map(float, options.epochs)))
        title = f"Confidence and accuracy by epoch, {options.rows} digits to train, {len(digits.test_x)} to test"
    maps, numbers, lines = {}, {}, []
    for name, run in runs.items():
        maps[name], numbers[name] = [], []
        for logits, epoch in zip(run.logits, run.epochs, strict=True):
            one = density_of_epoch(
                logits, run.labels, f"epoch {epoch:g}", group_size=options.group_size, seed=options.seed
            )
            ece = confidence_bins(logits, run.labels, 15, from_logits=True).calibration_error().item()
            maps[name].append(one)
            row = {"epoch": epoch, "confidence": one.confidence, "accuracy": one.accuracy, "ece": ece}
            numbers[name].append(row)
            lines.append((f"{name}, epoch {epoch:g}", [row[key] for key in ("confidence", "accuracy", "ece")]))
    shown = {
        name: [one[k] for k in np.unique(np.linspace(0, len(one) - 1, 6).astype(int))] for name, one in maps.items()
    }
    description = f"{title}. Below the diagonal a model is over-confident. In the end: " + "; ".join(
        f"{name} {rows[-1]['accuracy']:.3f} accurate, {rows[-1]['confidence']:.3f} confident"
        for name, rows in numbers.items()
    )
    table = number_table("density", title, "model", ["mean confidence", "accuracy", "ECE (15 bins)"], lines)
    return Figure(
        title, description, numbers, table, lambda path, style: density_maps(shown, path, title, style=style)
    )


DENSITY = FigureJob("joint density of confidence and accuracy by epoch", _density_flags, _density)
