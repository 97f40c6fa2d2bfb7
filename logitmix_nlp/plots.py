# SPDX-License-Identifier: Apache-2.0
"""Pictures of calibration, training and mixing, in one style; need matplotlib (`pip install logitmix-nlp[plots]`)."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from logitmix_nlp.functional.calibration import ConfidenceBins

__all__ = ["Curve", "CurvePanel", "image_grid", "learning_curves", "reliability_diagrams"]

# Okabe and Ito's palette: told apart by readers of any colour vision, and in print.
ACCURACY, GAP, ROWS = "#0072B2", "#D55E00", "#999999"
LINES = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", ":")  # the n-th round through the colours
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "logitmix-nlp",
}


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


def reliability_diagrams(
    models: dict[str, ConfidenceBins],
    target: str | Path | IO,
    title: str = "",
    *,
    max_columns: int = 4,
    file_format: str | None = None,
) -> None:
    """Draw the reliability diagrams of several models side by side, each above its histogram of confidence.

    Blue bars are the accuracy of a confidence bin; the hatched orange part is its gap to the mean confidence, which is
    marked by a line: above the bar the model is over-confident. ECE and OE (Thulasidasan et al., 2019) stand above.

    Args:
        models (`dict[str, ConfidenceBins]`): Name of each model and its bins from [`functional.confidence_bins`].
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
        max_columns (`int`): Models in one row; more than that go on in the next row.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `models` is empty or `max_columns` is smaller than 1.
    """
    if not models:
        raise ValueError("models is empty: give at least one model's confidence bins.")
    if max_columns < 1:
        raise ValueError(f"max_columns must be at least 1, got {max_columns}.")
    columns = min(len(models), max_columns)
    rows = -(-len(models) // columns)
    size = (max(3.1 * columns, 5.2) + 0.6, 3.9 * rows + 0.5)
    with _picture(target, file_format, size, title) as figure:
        axes = figure.subplots(2 * rows, columns, sharex=True, height_ratios=[3, 1] * rows, squeeze=False)
        figure.get_layout_engine().set(wspace=0.07)
        pairs = axes.reshape(rows, 2, columns).transpose(0, 2, 1).reshape(-1, 2)  # each diagram with its histogram
        tallest = max(float((bins.count / bins.count.sum()).max()) for bins in models.values())
        for place, ((upper, lower), (name, bins)) in enumerate(zip(pairs, models.items(), strict=False)):
            _diagram(upper, bins)
            _histogram(lower, bins)
            lower.set_ylim(0, 1.05 * tallest)
            upper.set_title(f"{_wrapped(name)}\n{_scores(bins)}", fontsize=10)
            upper.tick_params(labelbottom=False, labelleft=place % columns == 0)
            lower.tick_params(labelbottom=True, labelleft=place % columns == 0)
            if place % columns == 0:
                upper.set_ylabel("accuracy")
                lower.set_ylabel("share of rows")
        for axis in pairs[len(models) :].reshape(-1):
            axis.remove()
        _legend(figure, *axes[0, 0].get_legend_handles_labels())


def learning_curves(
    panels: Sequence[CurvePanel],
    target: str | Path | IO,
    title: str = "",
    *,
    names: Sequence[str] | None = None,
    file_format: str | None = None,
) -> None:
    """Draw panels of curves side by side, one line per method, with a band of one standard deviation around it.

    Args:
        panels (`Sequence[CurvePanel]`): The panels, left to right.
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
        names (`Sequence[str]`, *optional*): All methods in the order that decides their colours, so that a method
            looks the same in every picture; `None` takes those of the panels as they come.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no curve, or a curve's name is not among `names`.
    """
    found = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    if not found:
        raise ValueError("panels hold no curve: give at least one.")
    names = found if names is None else list(names)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise ValueError(f"names lacks {', '.join(unknown)}; list every method that has a curve.")
    with _picture(target, file_format, (4.4 * len(panels) + 0.6, 3.4), title) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        handles = {}
        for axis, panel in zip(axes, panels, strict=True):
            for name, curve in panel.curves.items():
                place = names.index(name)
                look = {"color": LINES[place % len(LINES)], "linestyle": DASHES[place // len(LINES) % len(DASHES)]}
                marker = "o" if len(curve.x) <= 30 else ""
                (handles[name],) = axis.plot(curve.x, curve.mean, marker=marker, markersize=3, linewidth=1.4, **look)
                if curve.std is not None:
                    low, high = curve.mean - curve.std, curve.mean + curve.std
                    axis.fill_between(curve.x, low, high, color=look["color"], alpha=0.15, linewidth=0)
            axis.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
            axis.grid(color="#dddddd", linewidth=0.6)
        shown = [name for name in names if name in handles]
        _legend(figure, [handles[name] for name in shown], shown)


def image_grid(
    rows: Mapping[str, tuple[np.ndarray, Sequence[str]]],
    target: str | Path | IO,
    title: str = "",
    *,
    file_format: str | None = None,
) -> None:
    """Draw rows of images, the name of each row on the left and a caption under each image.

    Args:
        rows (`Mapping[str, tuple[np.ndarray, Sequence[str]]]`): Name of each row, its images of shape `(N, H, W, 3)`
            or `(N, H, W)` with values in `[0, 1]`, and their captions.
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no image, rows differ in length, or an image has no caption.
    """
    counts = {len(images) for images, _ in rows.values()} | {len(captions) for _, captions in rows.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"Every row needs as many images and captions as the others, found {sorted(counts)}.")
    (columns,) = counts
    with _picture(target, file_format, (1.15 * columns + 1.5, 1.4 * len(rows) + 0.5), title) as figure:
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, (images, captions)) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(_wrapped(name, 16), rotation=0, ha="right", va="center", fontsize=9)
            for axis, image, caption in zip(line, images, captions, strict=True):
                axis.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                axis.set_xlabel(caption, fontsize=8)
                axis.spines[:].set_visible(False)


@contextlib.contextmanager
def _picture(target: str | Path | IO, file_format: str | None, size: tuple[float, float], title: str) -> Iterator:
    """A figure in the library's style, written to its target at the end; equal content gives equal bytes."""
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install logitmix-nlp[plots]") from error
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        if title:
            figure.suptitle(title, fontsize=11)
        kind = file_format or Path(target).suffix.removeprefix(".").lower()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        figure.savefig(target, dpi=150, format=file_format, metadata=undated)


def _legend(figure, handles: list, labels: list[str]) -> None:
    """Below the picture, in as many columns as fit."""
    room = figure.get_figwidth() * 13  # characters in a line
    columns = max(1, min(len(labels), int(room / (max(map(len, labels)) + 8))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _wrapped(name: str, width: int = 36) -> str:
    """A long name in several lines, broken behind `/` and blanks."""
    lines = [""]
    for part in re.findall(r"[^/ ]*[/ ]?", name):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _diagram(axis, bins: ConfidenceBins) -> None:
    accuracy, confidence, filled = _numpy(bins.accuracy(), bins.mean_confidence(), bins.count > 0)
    width = 1 / len(accuracy)
    centres = (np.arange(len(accuracy)) + 0.5) * width
    centres, accuracy, confidence = centres[filled], accuracy[filled], confidence[filled]
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="perfect")
    axis.bar(centres, accuracy, width, color=ACCURACY, edgecolor="white", linewidth=0.5, label="accuracy")
    low, high = np.minimum(accuracy, confidence), np.maximum(accuracy, confidence)
    axis.bar(centres, high - low, width, low, color="none", edgecolor=GAP, hatch="////", linewidth=0.8, label="gap")
    axis.hlines(confidence, centres - width / 2, centres + width / 2, color=GAP, label="mean confidence")
    axis.set(xlim=(0, 1), ylim=(0, 1.005))


def _histogram(axis, bins: ConfidenceBins) -> None:
    (count,) = _numpy(bins.count)
    width = 1 / len(count)
    axis.bar((np.arange(len(count)) + 0.5) * width, count / count.sum(), width, color=ROWS, edgecolor="white")
    axis.set_xlabel("confidence")


def _scores(bins: ConfidenceBins) -> str:
    return f"ECE {bins.calibration_error():.3f}   OE {bins.overconfidence():.3f}"


def _numpy(*tensors) -> list[np.ndarray]:
    return [tensor.cpu().numpy() for tensor in tensors]
