# SPDX-License-Identifier: Apache-2.0
"""Entropy of the labels that mixup trains on (Thulasidasan et al., 2019: zero without mixing, up to log 2 with it)."""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import torch
from scipy import optimize, special, stats

from logitmix_nlp.functional.mixing import sample_plan
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.reports.plots.style import plot_file

__all__ = [
    "ENTROPY",
    "entropy_panels",
    "entropy_quantile",
    "entropy_shares",
    "label_entropy",
    "mean_label_entropy",
    "sampled_label_entropy",
]


def label_entropy(lam: np.ndarray) -> np.ndarray:
    """Entropy in nats of the label `lam * y_1 + (1 - lam) * y_2` of two different classes, in `[0, log 2]`."""
    return special.entr(lam) + special.entr(1 - np.asarray(lam))


def mean_label_entropy(alpha: np.ndarray | float) -> np.ndarray | float:
    """Mean entropy over λ ~ Beta(α, α), in nats: `psi(2 alpha + 1) - psi(alpha + 1)` with the digamma function ψ.

    From `E[lam log lam] = E[lam] * (psi(alpha + 1) - psi(2 alpha + 1))`, for λ and 1 - λ alike.

    Args:
        alpha (`float` or `np.ndarray`): α, above 0.

    Returns:
        `float` or `np.ndarray`: In `(0, log 2)`: towards 0 for small α, towards log 2 for large.

    Raises:
        ValueError: If an α is not above 0.
    """
    if not np.all(np.asarray(alpha) > 0):
        raise ValueError(f"alpha must be above 0, got {alpha}.")
    return special.digamma(2 * alpha + 1) - special.digamma(alpha + 1)


def entropy_quantile(alpha: float, share: float) -> float:
    """Entropy that this share of the labels does not exceed.

    The entropy does not exceed `h(t)`, `t <= 1/2`, if λ is at most `t` or at least `1 - t`: probability
    `2 I_t(alpha, alpha)`, with the distribution function I of Beta(α, α).

    Args:
        alpha (`float`): α, above 0.
        share (`float`): In `[0, 1]`.
    """
    return float(label_entropy(stats.beta.ppf(share / 2, alpha, alpha)))


def entropy_shares(alpha: float, n_bins: int) -> np.ndarray:
    """Share of the labels in each of equal bins of entropy from 0 to log 2, exactly.

    Args:
        alpha (`float`): α, above 0.
        n_bins (`int`): Number of bins.

    Returns:
        `np.ndarray` of shape `(n_bins,)`: Sums to 1.
    """
    edges = np.linspace(0, math.log(2), n_bins + 1)[1:-1]
    lams = [optimize.brentq(lambda lam, edge=edge: label_entropy(lam) - edge, 0.0, 0.5, xtol=1e-15) for edge in edges]
    return np.diff(2 * special.betainc(alpha, alpha, [0.0, *lams, 0.5]))


def sampled_label_entropy(alpha: float, rows: int, seed: int) -> float:
    """Mean entropy of labels drawn as training draws them, as a check on the exact one.

    Args:
        alpha (`float`): α, above 0.
        rows (`int`): How many λ are drawn.
        seed (`int`): Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    lam = sample_plan(rows, alpha, per_sample=True, generator=generator).lam.double().numpy()
    return float(label_entropy(lam).mean())


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
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        style (`str`): `"light"` or `"dark"`.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `shares` is empty, or there is no such style.
    """
    if not shares:
        raise ValueError("shares is empty: give the distribution for at least one alpha.")
    with plot_file(target, file_format, (9.4, 3.8), title, style) as (figure, theme):
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


def _entropy_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alphas", type=float, nargs="+", default=[0.1, 0.4, 1.0, 3.0], help="α of the distributions."
    )
    parser.add_argument("--rows", type=int, default=100_000, help="Labels drawn per α, to check the exact values.")


def _entropy(options: argparse.Namespace) -> Figure:
    if options.rows < 1:
        raise ValueError(f"--rows must be at least 1, got {options.rows}.")
    means = {alpha: float(mean_label_entropy(alpha)) for alpha in options.alphas}
    grid = np.geomspace(min(0.02, *options.alphas), max(20.0, *options.alphas), 121)
    low, high = (np.array([entropy_quantile(alpha, share) for alpha in grid]) for share in (0.1, 0.9))
    sampled = {alpha: sampled_label_entropy(alpha, options.rows, options.seed) for alpha in options.alphas}
    shares = {alpha: entropy_shares(alpha, 20) for alpha in options.alphas}
    curves = (grid, mean_label_entropy(grid), low, high)
    rows = [(f"{alpha:g}", [means[alpha], sampled[alpha]]) for alpha in options.alphas]
    title = "Entropy of mixup's training labels of two different classes"
    numbers = {
        f"{alpha:g}": {"mean": means[alpha], "sampled_mean": sampled[alpha], "shares": shares[alpha].tolist()}
        for alpha in options.alphas
    }
    description = (
        f"{title}, rising with α. Mean in nats: "
        + ", ".join(f"{mean:.3f} at α = {alpha:g}" for alpha, mean in means.items())
        + "."
    )
    return Figure(
        title,
        description,
        numbers,
        number_table("entropy", f"{title}: mean in nats", "α", ["exact", f"{options.rows} drawn labels"], rows, 5),
        lambda path, style: entropy_panels(*curves, sampled, shares, path, title, style=style),
    )


ENTROPY = FigureJob("entropy of mixup's labels against α", _entropy_flags, _entropy)
