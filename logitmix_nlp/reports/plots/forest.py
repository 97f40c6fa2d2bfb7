# SPDX-License-Identifier: Apache-2.0
"""Differences with their intervals, one line each, several figures side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from logitmix_nlp.reports.plots.style import plot_file, wrapped

__all__ = ["ForestPanel", "forest_plot"]


class ForestPanel(NamedTuple):
    """One figure of all lines.

    Args:
        title (`str`): Heading.
        x_label (`str`): Label of its axis.
        points (`Sequence` of triples): Value, lower and upper end of each line; `None` draws nothing there.
        found (`Sequence[bool]`): Which points are filled; the others are hollow.
    """

    title: str
    x_label: str
    points: Sequence[tuple[float, float, float] | None]
    found: Sequence[bool]


def forest_plot(
    lines: Sequence[str],
    panels: Sequence[ForestPanel],
    target: str | Path | IO,
    title: str = "",
    *,
    file_format: str | None = None,
    style: str = "light",
) -> None:
    """Draw a forest plot: a point and its interval for each line, beside a line at 0, one panel for each figure.

    Args:
        lines (`Sequence[str]`): Names of the lines, from top to bottom.
        panels (`Sequence[ForestPanel]`): Figures, from left to right.
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.
        style (`str`): `"light"` or `"dark"`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there are no lines or panels, a panel has more or fewer points, or there is no such style.
    """
    if not lines or not panels or any({len(panel.points), len(panel.found)} != {len(lines)} for panel in panels):
        raise ValueError("Give at least one line and one panel, and of each panel one point and mark for each line.")
    names = [wrapped(line, 44) for line in lines]
    size = (2.1 * len(panels) + 3.3, 0.34 * sum(1 + name.count("\n") * 0.5 for name in names) + 1.1)
    with plot_file(target, file_format, size, title, style) as (figure, theme):
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            axis.axvline(0, color=theme.ink, linewidth=0.8)
            axis.grid(axis="y", color=theme.grid, linewidth=0.6)
            axis.set_axisbelow(True)
            for place, (point, found) in enumerate(zip(panel.points, panel.found, strict=True)):
                if point is not None:
                    value, low, high = point
                    axis.plot([low, high], [place, place], color=theme.accuracy, linewidth=1.4)
                    axis.plot(
                        [value], [place], "o", markersize=5, color=theme.accuracy,
                        markerfacecolor=theme.accuracy if found else theme.paper,
                    )  # fmt: skip
            axis.set_title(panel.title, fontsize=10)
            axis.set_xlabel(panel.x_label)
            axis.tick_params(axis="x", labelsize=8)
            axis.locator_params(axis="x", nbins=4)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
