# SPDX-License-Identifier: Apache-2.0
"""Soft training targets: their largest values, and how they move in training."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from logitmix_nlp.reports.plots.style import Theme, picture

__all__ = ["soft_target_panels"]


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
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `averages` is empty, or there is no such style.
    """
    if not averages:
        raise ValueError("averages is empty: give the largest targets of at least one kind.")
    with picture(target, file_format, (5.4 + 3.1 * len(histories), 3.6), title, style) as (figure, theme):
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
