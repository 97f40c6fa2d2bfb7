# SPDX-License-Identifier: Apache-2.0
"""Decision maps of two-class problems in the plane."""

from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from logitmix_nlp.reports.plots.style import Theme, bottom_legend, picture

__all__ = ["DecisionMap", "decision_maps"]


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
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
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
    with picture(target, file_format, size, title, style) as (figure, theme):
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
