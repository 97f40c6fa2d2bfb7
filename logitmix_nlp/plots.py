# SPDX-License-Identifier: Apache-2.0
"""Pictures of calibration, in one style. Needs matplotlib (`pip install logitmix-nlp[plots]`)."""

from pathlib import Path

import numpy as np

from logitmix_nlp.functional.calibration import ConfidenceBins

__all__ = ["reliability_diagrams"]

# Okabe and Ito's palette: told apart by readers of any colour vision, and in print.
ACCURACY, GAP, ROWS = "#0072B2", "#D55E00", "#999999"


def reliability_diagrams(models: dict[str, ConfidenceBins], path: str | Path, title: str = "") -> None:
    """Draw the reliability diagrams of several models side by side, each above its histogram of confidence.

    Blue bars are the accuracy of a confidence bin; the hatched orange part is its gap to the mean confidence, which is
    marked by a line: above the bar the model is over-confident. ECE and OE (Thulasidasan et al., 2019) stand above.

    Args:
        models (`dict[str, ConfidenceBins]`): Name of each model and its bins from [`functional.confidence_bins`].
        path (`str` or `Path`): File to write; the suffix decides the format.
        title (`str`): Heading of the whole picture.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `models` is empty.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install logitmix-nlp[plots]") from error
    if not models:
        raise ValueError("models is empty: give at least one model's confidence bins.")
    figure = Figure(figsize=(3.1 * len(models) + 0.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(models), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False)
    for column, (name, bins) in enumerate(models.items()):
        _diagram(axes[0, column], bins)
        _histogram(axes[1, column], bins)
        axes[0, column].set_title(f"{name}\n{_scores(bins)}", fontsize=10)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("share of rows")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=150)


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
