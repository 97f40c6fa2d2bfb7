# SPDX-License-Identifier: Apache-2.0
"""Reliability diagrams."""

from pathlib import Path
from typing import IO, Any

import numpy as np

from logitmix_nlp.functional.calibration import ConfidenceBins
from logitmix_nlp.reports.plots.style import Theme, bottom_legend, plot_file, wrapped

__all__ = ["reliability_diagrams"]


def reliability_diagrams(
    models: dict[str, ConfidenceBins],
    target: str | Path | IO,
    title: str = "",
    *,
    max_columns: int = 4,
    style: str = "light",
    file_format: str | None = None,
) -> None:
    """Draw the reliability diagrams of several models side by side, each above its histogram of confidence.

    Blue bars are the accuracy of a confidence bin; the hatched orange part is its gap to the mean confidence, which is
    marked by a line: above the bar the model is over-confident. ECE and OE (Thulasidasan et al., 2019) stand above.

    Args:
        models (`dict[str, ConfidenceBins]`): Name of each model and its bins from [`functional.confidence_bins`].
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        max_columns (`int`): Models in one row; more than that go on in the next row.
        style (`str`): `"light"` or `"dark"`.
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
    size = (3.1 * columns + 0.9, 3.9 * rows + 0.5)
    with plot_file(target, file_format, size, title, style) as (figure, theme):
        axes = figure.subplots(2 * rows, columns, sharex=True, height_ratios=[3, 1] * rows, squeeze=False)
        figure.get_layout_engine().set(wspace=0.07)
        pairs = axes.reshape(rows, 2, columns).transpose(0, 2, 1).reshape(-1, 2)  # each diagram with its histogram
        tallest = max(float((bins.count / bins.count.sum()).max()) for bins in models.values())
        for place, ((upper, lower), (name, bins)) in enumerate(zip(pairs, models.items(), strict=False)):
            _diagram(upper, bins, theme)
            _histogram(lower, bins, theme)
            lower.set_ylim(0, 1.05 * tallest)
            upper.set_title(f"{wrapped(name)}\n{_scores(bins)}", fontsize=10)
            upper.tick_params(labelbottom=False, labelleft=place % columns == 0)
            lower.tick_params(labelbottom=True, labelleft=place % columns == 0)
            if place % columns == 0:
                upper.set_ylabel("accuracy")
                lower.set_ylabel("share of rows")
        for axis in pairs[len(models) :].reshape(-1):
            axis.remove()
        bottom_legend(figure, *axes[0, 0].get_legend_handles_labels())


def _diagram(axis: Any, bins: ConfidenceBins, theme: Theme) -> None:
    accuracy, confidence, filled = _numpy(bins.accuracy(), bins.mean_confidence(), bins.count > 0)
    width = 1 / len(accuracy)
    centres = (np.arange(len(accuracy)) + 0.5) * width
    centres, accuracy, confidence = centres[filled], accuracy[filled], confidence[filled]
    axis.plot([0, 1], [0, 1], color=theme.ink, linewidth=0.8, linestyle="--", label="perfect")
    axis.bar(centres, accuracy, width, color=theme.accuracy, edgecolor=theme.paper, linewidth=0.5, label="accuracy")
    low, high = np.minimum(accuracy, confidence), np.maximum(accuracy, confidence)
    axis.bar(
        centres, high - low, width, low, color="none", edgecolor=theme.gap, hatch="////", linewidth=0.8, label="gap"
    )
    axis.hlines(confidence, centres - width / 2, centres + width / 2, color=theme.gap, label="mean confidence")
    axis.set(xlim=(0, 1), ylim=(0, 1.005))


def _histogram(axis: Any, bins: ConfidenceBins, theme: Theme) -> None:
    (count,) = _numpy(bins.count)
    width = 1 / len(count)
    axis.bar(
        (np.arange(len(count)) + 0.5) * width, count / count.sum(), width, color=theme.rows, edgecolor=theme.paper
    )
    axis.set_xlabel("confidence")


def _scores(bins: ConfidenceBins) -> str:
    return f"ECE {bins.calibration_error():.3f}   OE {bins.overconfidence():.3f}"


def _numpy(*tensors) -> list[np.ndarray]:
    return [tensor.cpu().numpy() for tensor in tensors]
