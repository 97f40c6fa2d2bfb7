# SPDX-License-Identifier: Apache-2.0
"""The two-class spiral and what training methods make of it (LogitMix, Sec. 4.1 and Figure 1)."""

import argparse
import math
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from logitmix_nlp.functional.calibration import expected_calibration_error
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.paper_figures.networks import (
    METHOD_HELP,
    FigureMethod,
    TrainingPlan,
    make_network,
    parse_figure_method,
    run_layers,
    train_network,
)
from logitmix_nlp.reports.plots.style import Theme, bottom_legend, plot_file
from logitmix_nlp.reports.tables import estimate

__all__ = [
    "REACH",
    "SPIRAL",
    "DecisionMap",
    "SpiralNumbers",
    "decision_maps",
    "make_spiral",
    "map_probability",
    "measure",
    "train_on_spiral",
    "zone_share",
]

REACH = 1.2  # the map is the square [-1.2, 1.2]^2; the arms end at radius 1
WIDTHS = (2, 64, 64, 64, 2)
TEST_ROWS = 1000


class SpiralNumbers(NamedTuple):
    """Figures of one trained network, all between 0 and 1.

    Args:
        train_accuracy (`float`): Share of training points on the right side.
        train_confidence (`float`): Mean probability of the predicted class on the training points.
        zone_share (`float`): Share of the map with a probability of 0.3 to 0.7, the transition between the classes.
        train_zone_share (`float`): Share of the training points in that zone.
        test_accuracy (`float`): Accuracy on fresh points of the same spiral.
        test_ece (`float`): Their ECE, 15 bins.
    """

    train_accuracy: float
    train_confidence: float
    zone_share: float
    train_zone_share: float
    test_accuracy: float
    test_ece: float


def make_spiral(
    rows_per_class: int, turns: float, noise: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two arms wound around the origin, half a turn apart.

    Args:
        rows_per_class (`int`): Points on each arm, at least 1; evenly spread over its area rather than its angle.
        turns (`float`): How often an arm winds around the origin on its way from the centre to radius 1.
        noise (`float`): Standard deviation of the Gaussian noise on both coordinates.
        generator (`torch.Generator`): Of the noise.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Points of shape `(2 * rows_per_class, 2)` and classes 0 and 1.

    Raises:
        ValueError: If there are no points, no turns, or the noise is negative.
    """
    if rows_per_class < 1 or not turns > 0 or not noise >= 0:
        raise ValueError(
            f"A spiral needs rows_per_class >= 1, turns > 0 and noise >= 0, got {rows_per_class}, {turns}, {noise}."
        )
    radius = (0.1 + 0.9 * torch.linspace(0, 1, rows_per_class).sqrt()).repeat(2)
    labels = torch.arange(2).repeat_interleave(rows_per_class)
    angle = 2 * math.pi * turns * radius + math.pi * labels
    points = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return points + noise * torch.randn(points.shape, generator=generator), labels


def train_on_spiral(
    points: torch.Tensor, labels: torch.Tensor, method: FigureMethod, plan: TrainingPlan
) -> nn.ModuleList:
    """Train a perceptron with three hidden layers of 64 units; see [`train_network`] for the arguments."""
    network = make_network(WIDTHS, plan.seed)
    train_network(network, points, labels, method, plan)
    return network


@torch.no_grad()
def map_probability(network: nn.ModuleList, resolution: int = 200) -> torch.Tensor:
    """Probability of class 1 at the points of a grid over the map.

    Returns:
        `torch.Tensor` of shape `(resolution, resolution)`: Rows run upwards, columns to the right.
    """
    ticks = torch.linspace(-REACH, REACH, resolution)
    height, width = torch.meshgrid(ticks, ticks, indexing="ij")
    grid = torch.stack([width, height], dim=-1).reshape(-1, 2)
    return run_layers(network, grid).softmax(-1)[:, 1].reshape(resolution, resolution)


def zone_share(probability: torch.Tensor, low: float = 0.3, high: float = 0.7) -> float:
    """Share of the probabilities in `[low, high]`; of a map, the area of the transition between the classes."""
    return ((probability >= low) & (probability <= high)).double().mean().item()


@torch.no_grad()
def measure(
    network: nn.ModuleList,
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    probability: torch.Tensor,
) -> SpiralNumbers:
    """Figures of a trained network.

    Args:
        network (`nn.ModuleList`): The network.
        train (`tuple`): Training points and classes.
        test (`tuple`): Other points of the same spiral and their classes.
        probability (`torch.Tensor`): From [`map_probability`].
    """
    probs = run_layers(network, train[0]).softmax(-1)
    logits = run_layers(network, test[0])
    return SpiralNumbers(
        (probs.argmax(-1) == train[1]).double().mean().item(),
        probs.amax(-1).double().mean().item(),
        zone_share(probability),
        zone_share(probs[:, 1]),
        (logits.argmax(-1) == test[1]).double().mean().item(),
        expected_calibration_error(logits, test[1], 15, from_logits=True).item(),
    )


class DecisionMap(NamedTuple):
    """Predictions of one model on a square of the plane, and the points it was trained on.

    Args:
        probability (`np.ndarray` of shape `(R, R)`): Probability of class 1; the first row is the lowest.
        reach (`float`): The square is `[-reach, reach]` both ways.
        points (`np.ndarray` of shape `(N, 2)`): Training points.
        labels (`np.ndarray` of shape `(N,)`): Their classes, 0 or 1.
        note (`str`): A line below the name of the model.
    """

    probability: np.ndarray
    reach: float
    points: np.ndarray
    labels: np.ndarray
    note: str = ""


def decision_maps(
    maps: dict[str, DecisionMap],
    target: str | Path | IO,
    title: str = "",
    *,
    zone: tuple[float, float] = (0.3, 0.7),
    max_columns: int = 3,
    style: str = "light",
    file_format: str | None = None,
) -> None:
    """Draw the predicted probability of several models as maps side by side (layout of LogitMix, Figure 1).

    Args:
        maps (`dict[str, DecisionMap]`): Name of each model and its map.
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        zone (`tuple[float, float]`): Probabilities between which the transition lies; outlined.
        max_columns (`int`): Maps in one row; more than that go on in the next row.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `maps` is empty, the zone is no interval in `(0, 1)`, or there is no such style.
    """
    if not maps:
        raise ValueError("maps is empty: give at least one model's map.")
    if not 0.0 < zone[0] < zone[1] < 1.0:
        raise ValueError(f"zone must be two probabilities with 0 < low < high < 1, got {zone}.")
    columns = min(len(maps), max_columns)
    rows = -(-len(maps) // columns)
    size = (max(3.1 * columns, 5) + 0.8, 3.3 * rows + 0.8)
    with plot_file(target, file_format, size, title, style) as (figure, theme):
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).reshape(-1)
        for place, (axis, (name, one)) in enumerate(zip(axes, maps.items(), strict=False)):
            image = _map(axis, one, zone, theme)
            axis.set_title(f"{name}\n{one.note}" if one.note else name, fontsize=9)
            below = place + columns >= len(maps)
            axis.tick_params(labelbottom=below, labelleft=place % columns == 0)
            axis.set_xlabel("$x_1$" if below else "", parse_math=True)
            axis.set_ylabel("$x_2$" if place % columns == 0 else "", parse_math=True)
        for axis in axes[len(maps) :]:
            axis.remove()
        bar = figure.colorbar(image, ax=axes[: len(maps)].tolist(), ticks=[0, zone[0], 0.5, zone[1], 1], shrink=0.8)
        bar.set_label("probability of class 1")
        bar.outline.set_visible(False)
        bottom_legend(figure, *_legend_entries(theme, zone))


def _map(axis: Any, one: DecisionMap, zone: tuple[float, float], theme: Theme) -> Any:
    square = (-one.reach, one.reach, -one.reach, one.reach)
    look = {"cmap": theme.diverging(), "vmin": 0, "vmax": 1, "interpolation": "bilinear"}
    image = axis.imshow(one.probability, origin="lower", extent=square, **look)
    ticks = np.linspace(-one.reach, one.reach, len(one.probability))
    levels = [level for level in (zone[0], 0.5, zone[1]) if one.probability.min() < level < one.probability.max()]
    if levels:  # else the model is sure of one class, or undecided, everywhere
        widths = [1.4 if level == 0.5 else 0.6 for level in levels]
        axis.contour(ticks, ticks, one.probability, levels=levels, colors=theme.ink, linewidths=widths, linestyles="-")
    for label, look in enumerate(_markers(theme)):
        points = one.points[one.labels == label]
        axis.plot(points[:, 0], points[:, 1], linestyle="", **look)
    axis.set(xlim=square[:2], ylim=square[2:], aspect="equal")
    return image


def _markers(theme: Theme) -> tuple[dict[str, Any], dict[str, Any]]:
    look = {"markersize": 2.6, "markeredgecolor": theme.paper, "markeredgewidth": 0.3}
    inks = ("#003B5C", "#7A2E00") if theme.name == "light" else ("#CDE9FA", "#FFE1CF")
    return {"marker": "o", "color": inks[0], **look}, {"marker": "^", "color": inks[1], **look}


def _legend_entries(theme: Theme, zone: tuple[float, float]) -> tuple[list, list[str]]:
    from matplotlib.lines import Line2D

    points = [Line2D([], [], linestyle="", **{**look, "markersize": 6}) for look in _markers(theme)]
    lines = [Line2D([], [], color=theme.ink, linewidth=width) for width in (1.4, 0.6)]
    names = ["class 0", "class 1", "probability 0.5", f"probability {zone[0]:g} and {zone[1]:g}"]
    return [*points, *lines], names


SPIRAL_METHODS = ("vanilla", "mixup", "manifold_mixup", "mixup@1", "logitmix", "logitmix@1")


def _spiral_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", nargs="+", default=list(SPIRAL_METHODS), help=METHOD_HELP)
    parser.add_argument("--seeds", type=int, default=1, help="Trainings per method; the first is drawn. Default: 1.")
    parser.add_argument("--steps", type=int, default=1500, help="Steps of Adam over all points.")
    parser.add_argument("--learning_rate", type=float, default=5e-3, help="Highest learning rate.")
    parser.add_argument(
        "--mix_alpha", type=float, help="α of Beta(α, α) for all methods; each has its own if not given."
    )
    parser.add_argument("--rows", type=int, default=200, help="Training points per class.")
    parser.add_argument("--turns", type=float, default=1.0, help="How often an arm winds around the origin.")
    parser.add_argument(
        "--noise", type=float, default=0.02, help="Standard deviation of the noise; arms end at radius 1."
    )


def _spiral(options: argparse.Namespace) -> Figure:
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}.")
    generator = torch.Generator().manual_seed(options.seed)
    train = make_spiral(options.rows, options.turns, options.noise, generator)
    test = make_spiral(TEST_ROWS, options.turns, options.noise, generator)
    maps, numbers, lines = {}, {}, []
    for name in options.methods:
        method = parse_figure_method(name, len(WIDTHS) - 2)
        measured = []
        for seed in range(options.seed, options.seed + options.seeds):
            plan = TrainingPlan(options.steps, None, options.learning_rate, seed, options.mix_alpha)
            network = train_on_spiral(*train, method, plan)
            probability = map_probability(network)
            measured.append(measure(network, train, test, probability))
            if len(measured) == 1:
                first = measured[0]
                note = f"training confidence {first.train_confidence:.2f}, zone {100 * first.zone_share:.1f}%"
                arrays = (probability.numpy(), REACH, train[0].numpy(), train[1].numpy())
                maps[method.label] = DecisionMap(*arrays, note)
        numbers[name] = {
            key: list(values) for key, values in zip(measured[0]._fields, zip(*measured, strict=True), strict=True)
        }
        lines.append((method.label, [estimate(values) for values in numbers[name].values()]))
    title = "Two-class spiral: predicted probability, and the zone between 0.3 and 0.7"
    description = f"{title}, of networks trained by {', '.join(maps)}. " + ". ".join(
        f"{name}: {one.note}" for name, one in maps.items()
    )
    columns = [name.replace("_", " ") for name in SpiralNumbers._fields]
    caption = f"Two-class spiral, seeds {options.seed} to {options.seed + options.seeds - 1}"
    table = number_table("spiral", caption, "method", columns, lines, 3)
    return Figure(
        title, description, numbers, table, lambda path, style: decision_maps(maps, path, title, style=style)
    )


SPIRAL = FigureJob("decision maps of methods on the two-class spiral", _spiral_flags, _spiral)
