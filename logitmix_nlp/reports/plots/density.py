# SPDX-License-Identifier: Apache-2.0
"""Joint densities of confidence and accuracy as training goes on."""

from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from logitmix_nlp.reports.plots.style import Theme, bottom_legend, picture, wrapped

__all__ = ["DensityMap", "density_maps"]


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
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
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
    with picture(target, file_format, size, title, style) as (figure, theme):
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
