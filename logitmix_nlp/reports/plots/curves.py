# SPDX-License-Identifier: Apache-2.0
"""Panels of curves over steps or epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from logitmix_nlp.reports.plots.style import bottom_legend, plot_file

__all__ = ["MAX_POINTS", "Curve", "CurvePanel", "learning_curves", "mean_curve"]

MAX_POINTS = 200


class Curve(NamedTuple):
    """One line and its band.

    Args:
        x (`np.ndarray` of shape `(T,)`): Steps or epochs.
        mean (`np.ndarray` of shape `(T,)`): The line.
        std (`np.ndarray` of shape `(T,)`, *optional*): Half of the band's height; `None` draws no band.
    """

    x: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None = None


class CurvePanel(NamedTuple):
    """One panel of curves.

    Args:
        title (`str`): Its heading.
        x_label (`str`): What is on the horizontal axis.
        y_label (`str`): What is on the vertical axis.
        curves (`dict[str, Curve]`): Name of each method and its curve.
    """

    title: str
    x_label: str
    y_label: str
    curves: dict[str, Curve]


def mean_curve(series: Sequence[Mapping[float, float]]) -> Curve | None:
    """Mean and sample standard deviation over seeds at the places that every seed has.

    Args:
        series (`Sequence` of mappings): Value by step or epoch, one mapping per seed. Of many places, equal numbers of
            neighbours are averaged, so that at most 200 are left.

    Returns:
        `Curve`: `None` with fewer than two common places; without a band for one seed.
    """
    places = sorted(set.intersection(*map(set, series))) if series else []
    if len(places) < 2:
        return None
    values = np.array([[*places], *([line[place] for place in places] for line in series)], dtype=np.float64)
    pieces = np.array_split(values, min(len(places), MAX_POINTS), axis=1)
    x, *lines = np.stack([piece.mean(axis=1) for piece in pieces], axis=1)
    std = np.std(lines, axis=0, ddof=1) if len(lines) > 1 else None
    return Curve(x, np.mean(lines, axis=0), std)


def learning_curves(
    panels: Sequence[CurvePanel],
    target: str | Path | IO,
    title: str = "",
    *,
    names: Sequence[str] | None = None,
    max_columns: int = 4,
    style: str = "light",
    file_format: str | None = None,
) -> None:
    """Draw panels of curves side by side, one line per method, with a band of one standard deviation around it.

    Args:
        panels (`Sequence[CurvePanel]`): The panels, left to right.
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        names (`Sequence[str]`, *optional*): All methods in the order that decides their colours, so that a method
            looks the same in every plot; `None` takes those of the panels as they come.
        max_columns (`int`): Panels in one row; more than that go on in the next row.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no curve, or a curve's name is not among `names`.
    """
    drawn = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    if not drawn:
        raise ValueError("panels hold no curve: give at least one.")
    names = drawn if names is None else list(names)
    unknown = [name for name in drawn if name not in names]
    if unknown:
        raise ValueError(f"names lacks {', '.join(unknown)}; list every method that has a curve.")
    columns = min(len(panels), max_columns)
    rows = -(-len(panels) // columns)
    with plot_file(target, file_format, (4.4 * columns + 0.6, 2.9 * rows + 0.5), title, style) as (figure, theme):
        axes = figure.subplots(rows, columns, squeeze=False).reshape(-1)
        handles = {}
        for axis, panel in zip(axes, panels, strict=False):
            for name, curve in panel.curves.items():
                look = theme.line(names.index(name))
                marker = "o" if len(curve.x) <= 30 else ""
                (handles[name],) = axis.plot(curve.x, curve.mean, marker=marker, markersize=3, linewidth=1.4, **look)
                if curve.std is not None:
                    low, high = curve.mean - curve.std, curve.mean + curve.std
                    axis.fill_between(curve.x, low, high, color=look["color"], alpha=0.15, linewidth=0)
            axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
            axis.grid(color=theme.grid, linewidth=0.6)
        for axis in axes[len(panels) :]:
            axis.remove()
        shown = [name for name in names if name in handles]
        bottom_legend(figure, [handles[name] for name in shown], shown)
