# SPDX-License-Identifier: Apache-2.0
"""All figures of a classifier on labelled rows, from one pass over its logits, with intervals."""

import math

import torch

from logitmix_nlp.calibration.metrics import class_scores
from logitmix_nlp.functional.bootstrap import Interval, bootstrap_intervals
from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.functional.classwise import class_confidence_bins
from logitmix_nlp.functional.scores import score_sums
from logitmix_nlp.functional.selective import row_confidences

__all__ = ["FIGURES", "NOISY_FIGURES", "calibration_figures", "figure_intervals"]

# Name -> title and, where it is not lower, what a better value does.
FIGURES = {
    "accuracy": "accuracy ↑",
    "balanced_accuracy": "balanced accuracy ↑",
    "macro_f1": "macro F1 ↑",
    "ece": "ECE ↓",
    "mce": "MCE ↓",
    "adaptive_ece": "adaptive ECE ↓",
    "classwise_ece": "class-wise ECE ↓",
    "oe": "OE ↓",
    "nll": "NLL, nats ↓",
    "brier": "Brier score ↓",
    "auroc": "AUROC of confidence ↑",
    "aurc": "AURC ↓",
}
NOISY_FIGURES = ("ece", "adaptive_ece", "classwise_ece", "oe")  # raised by the noise of a resample


def calibration_figures(logits: torch.Tensor, labels: torch.Tensor, n_bins: int = 15) -> dict[str, torch.Tensor]:
    """Every figure of `FIGURES`.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Logits.
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Confidence bins of ECE, MCE, OE, adaptive and class-wise ECE.

    Returns:
        `dict[str, torch.Tensor]`: Float64 scalars; `auroc` is NaN if all predictions are right, or all wrong.

    Raises:
        ValueError: See [`functional.confidence_bins`].
    """
    bins = confidence_bins(logits, labels, n_bins, from_logits=True)
    ranked = row_confidences(logits, labels, from_logits=True)
    sums = score_sums(logits, labels, from_logits=True)
    by_class = class_scores(logits.cpu().numpy(), labels.cpu().numpy())
    both = ranked.correct.any() and not ranked.correct.all()
    return {
        "accuracy": bins.correct.sum() / bins.count.sum(),
        **{name: torch.tensor(by_class[name], dtype=torch.float64) for name in ("balanced_accuracy", "macro_f1")},
        "ece": bins.calibration_error(),
        "mce": bins.maximum_calibration_error(),
        "adaptive_ece": ranked.adaptive_calibration_error(n_bins),
        "classwise_ece": class_confidence_bins(logits, labels, n_bins, from_logits=True).calibration_error(),
        "oe": bins.overconfidence(),
        "nll": sums.negative_log_likelihood(),
        "brier": sums.brier_score(),
        "auroc": ranked.auroc() if both else torch.tensor(math.nan, dtype=torch.float64),
        "aurc": ranked.area_under_risk_coverage(),
    }


def figure_intervals(
    logits: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, n_resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Every figure with its 95% bootstrap interval over the rows.

    Percentile intervals, but for the figures of `NOISY_FIGURES` basic ones, whose ends are cut off at 0: drawing rows
    anew adds noise, which raises those figures, and basic intervals take that bias off. None for MCE: a bin of one row
    may decide it, and half of the resamples lack that row.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Logits.
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Confidence bins.
        n_resamples (`int`): Resamples of the rows, at least 40; 0 gives no intervals, both ends are NaN.
        seed (`int`): Of the resamples; equal seeds draw equal rows, for any logits.

    Returns:
        `dict[str, Interval]`: By the names of `FIGURES`; NaN where a figure, or its interval, does not exist.

    Raises:
        ValueError: See [`functional.bootstrap_interval`].
    """
    if n_resamples == 0:
        found = calibration_figures(logits, labels, n_bins)
        return {name: Interval(float(value), math.nan, math.nan) for name, value in found.items()}
    found = bootstrap_intervals(
        lambda *rows: calibration_figures(*rows, n_bins),
        logits,
        labels,
        n_resamples=n_resamples,
        methods=dict.fromkeys(NOISY_FIGURES, "basic"),
        generator=torch.Generator().manual_seed(seed),
    )
    cut = {
        name: found[name]._replace(low=max(0.0, found[name].low), high=max(0.0, found[name].high))
        for name in NOISY_FIGURES
    }
    return {**found, **cut, "mce": Interval(found["mce"].value, math.nan, math.nan)}
