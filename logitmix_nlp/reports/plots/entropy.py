# SPDX-License-Identifier: Apache-2.0
"""Entropy of mixed training labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from logitmix_nlp.reports.plots.style import picture

__all__ = ["entropy_panels"]


def entropy_panels(
    alphas: np.ndarray,
    mean: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sampled: Mapping[float, float],
    shares: Mapping[float, np.ndarray],
    target: str | Path | IO,
    title: str = "",
    *,
    style: str = "light",
    file_format: str | None = None,
) -> None:
    """Draw the mean entropy of training labels against α, and their distribution for some α.

    Args:
        alphas (`np.ndarray` of shape `(T,)`): Values of α, rising.
        mean (`np.ndarray` of shape `(T,)`): Mean entropy in nats.
        low (`np.ndarray` of shape `(T,)`): Entropy that one label in ten stays below.
        high (`np.ndarray` of shape `(T,)`): Entropy that nine labels in ten stay below.
        sampled (`Mapping[float, float]`): α and the mean entropy of drawn labels.
        shares (`Mapping[float, np.ndarray]`): α and the share of labels in each of equal bins of entropy from 0 to
            log 2.
        target (`str`, `Path` or binary file): Where the picture goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole picture.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `shares` is empty, or there is no such style.
    """
    if not shares:
        raise ValueError("shares is empty: give the distribution for at least one alpha.")
    with picture(target, file_format, (9.4, 3.8), title, style) as (figure, theme):
        left, right = figure.subplots(1, 2)
        left.fill_between(
            alphas, low, high, color=theme.accuracy, alpha=0.2, linewidth=0, label="10% to 90% of the labels"
        )
        left.plot(alphas, mean, color=theme.accuracy, linewidth=1.6, label="mean, exact")
        left.plot(
            list(sampled), list(sampled.values()), "o", color=theme.gap, markersize=4, label="mean of drawn labels"
        )
        left.axhline(np.log(2), color=theme.ink, linewidth=0.8, linestyle="--", label="log 2, half and half")
        left.set(xscale="log", xlabel="α of Beta(α, α)", ylabel="entropy of a label (nats)")
        left.set_ylim(0, 0.72)
        for place, (alpha, share) in enumerate(shares.items()):
            edges = np.linspace(0, np.log(2), len(share) + 1)
            right.stairs(share, edges, baseline=None, label=f"α = {alpha:g}", linewidth=1.5, **theme.line(place))
        right.set(xlabel="entropy of a label (nats)", ylabel=f"share of labels ({len(share)} bins)")
        right.set_ylim(bottom=0)
        left.xaxis.set_major_formatter("{x:g}")
        for axis, heading, place in ((left, "mean", "lower right"), (right, "distribution", "upper center")):
            axis.set_title(heading, fontsize=10)
            axis.grid(color=theme.grid, linewidth=0.6)
            axis.set_axisbelow(True)
            axis.legend(loc=place, framealpha=0.9, edgecolor=theme.grid, fontsize=8)
