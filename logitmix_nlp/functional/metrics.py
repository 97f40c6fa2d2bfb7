# SPDX-License-Identifier: Apache-2.0
"""Every metric of a classifier in one table: its value, and its values on resampled rows, from which intervals are."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch

from logitmix_nlp.functional.bootstrap import (
    Interval,
    Resampled,
    check_resamples,
    interval_of,
    levels,
    resampled_aurc,
    resampled_auroc,
    resampled_mean,
    row_counts,
    steps,
    value_of,
)  # fmt: skip
from logitmix_nlp.functional.calibration import GRID, ConfidenceBins, bin_index, confidence_bins
from logitmix_nlp.functional.classwise import class_confidence_bins
from logitmix_nlp.functional.predictions import checked_predictions, classes_of
from logitmix_nlp.functional.scores import ScoreSums, row_scores, score_sums
from logitmix_nlp.functional.selective import RowConfidences, row_confidences

__all__ = ["METRICS", "Metric", "Predictions", "metric_intervals", "metric_values"]


class Predictions:
    """Logits and labels, with what the metrics need of them, each computed once.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Before softmax; NumPy arrays are taken too.
        labels (`torch.Tensor` of shape `(N,)`): True classes; of class probabilities `(N, C)`, NLL and Brier score
            take these, and all others the most probable class.
        n_bins (`int`): Confidence bins of ECE, MCE, OE, adaptive and class-wise ECE.

    Raises:
        ValueError: See [`confidence_bins`].
    """

    def __init__(self, logits: torch.Tensor, labels: torch.Tensor, n_bins: int = 15):
        scores, classes, _ = checked_predictions(logits, classes_of(labels), from_logits=True)
        self.logits, self.labels, self.n_bins = scores.cpu(), classes.cpu(), n_bins
        soft = torch.as_tensor(labels).cpu()
        self.targets = soft if soft.dim() == 2 else self.labels

    @cached_property
    def rows(self) -> RowConfidences:
        """Confidence of each row, and whether it is right."""
        return row_confidences(self.logits, self.labels, from_logits=True)

    @cached_property
    def bins(self) -> ConfidenceBins:
        """The rows by confidence."""
        return confidence_bins(self.logits, self.labels, self.n_bins, from_logits=True)

    @cached_property
    def sums(self) -> ScoreSums:
        """Sums of the proper scores."""
        return score_sums(self.logits, self.targets, from_logits=True)


class Metric(NamedTuple):
    """One metric of a classifier.

    Args:
        title (`str`): What a table calls it.
        best (`str`): `"max"` or `"min"`: which value is better.
        interval (`str`, *optional*): `"percentile"`, or `"basic"` for a metric of which 0 is the least: noise, and so
            drawing rows again, raises it, and a basic interval, cut off at 0, takes that bias off. `None` for MCE,
            which a bin of one row may decide: half of the resamples lack that row.
        resampled (`Callable[[Predictions], Resampled]`, *optional*): Makes what gives its values on resamples.
        value (`Callable[[Predictions], torch.Tensor]`, *optional*): Gives its value, a float64 scalar; `None` takes
            that of the resample that holds each row once.
    """

    title: str
    best: str
    interval: str | None
    resampled: Callable[[Predictions], Resampled] | None
    value: Callable[[Predictions], torch.Tensor] | None = None

    def of(self, predictions: Predictions) -> float:
        """Its value; NaN where it does not exist."""
        if self.value is None:
            return value_of(self.resampled(predictions), len(predictions.labels))
        return float(self.value(predictions))


def metric_intervals(
    logits: torch.Tensor,
    labels: torch.Tensor,
    n_bins: int = 15,
    names: Sequence[str] | None = None,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    groups: torch.Tensor | None = None,
) -> dict[str, Interval]:
    """Metrics with their 95% bootstrap intervals over the rows, or over groups of them.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Before softmax; NumPy arrays are taken too.
        labels (`torch.Tensor` of shape `(N,)`): True classes, or class probabilities `(N, C)`, see [`Predictions`].
        n_bins (`int`): Confidence bins.
        names (`Sequence[str]`, *optional*): Names in `METRICS`; `None` takes all.
        n_resamples (`int`): Resamples of the rows, at least 40; 0 gives no intervals, both ends are NaN.
        seed (`int`): Of the resamples; equal seeds draw equal rows, for any logits.
        groups (`torch.Tensor` of shape `(N,)`, *optional*): Number, from 0, of the group that each row is drawn with:
            tokens of one sentence are not independent, so sentences are drawn, not tokens.

    Returns:
        `dict[str, Interval]`: By name; NaN where a metric, or its interval, does not exist: of MCE, and where a
        metric does not exist for some resample.

    Raises:
        ValueError: See [`confidence_bins`], and if there are too few resamples.
    """
    predictions = Predictions(logits, labels, n_bins)
    values = {name: METRICS[name].of(predictions) for name in (METRICS if names is None else names)}
    intervals = {name: Interval(value, float("nan"), float("nan")) for name, value in values.items()}
    if n_resamples == 0:
        return intervals
    check_resamples(n_resamples)
    scorers = {name: METRICS[name].resampled(predictions) for name in values if METRICS[name].interval}
    n_drawn = len(predictions.labels) if groups is None else int(groups.max()) + 1
    counts_of = row_counts(n_drawn, n_resamples, torch.Generator().manual_seed(seed), len(predictions.labels))
    pieces = [
        torch.stack([scorer(counts if groups is None else counts[groups]) for scorer in scorers.values()])
        for counts in counts_of
    ]
    for name, resampled in zip(scorers, torch.cat(pieces, dim=1) if scorers else (), strict=True):
        one = interval_of(values[name], resampled, METRICS[name].interval)
        if METRICS[name].interval == "basic":
            one = one._replace(low=max(0.0, one.low), high=max(0.0, one.high))
        intervals[name] = one
    return intervals


def metric_values(
    logits: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, names: Sequence[str] | None = None
) -> dict[str, float]:
    """Metrics of a classifier's predictions, by name, without intervals; see [`metric_intervals`]."""
    intervals = metric_intervals(logits, labels, n_bins, names, n_resamples=0)
    return {name: one.value for name, one in intervals.items()}


def _sums(groups: torch.Tensor, n_groups: int, counts: torch.Tensor) -> torch.Tensor:
    """Sums of counts within groups of rows, `(n_groups, B)`."""
    return counts.new_zeros(n_groups, counts.shape[1]).index_add_(0, groups, counts)


def _by_class(score: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable:
    """A metric of the rows of each class, those predicted to be of it, and those that are both, each `(C, B)`."""

    def resampled(predictions: Predictions) -> Resampled:
        labels, n_classes = predictions.labels, predictions.logits.shape[1]
        predicted, right = predictions.logits.argmax(1), predictions.rows.correct[:, None]
        return lambda counts: score(
            *(_sums(groups, n_classes, counts) for groups in (labels, predicted)),
            _sums(labels, n_classes, right * counts),
        )

    return resampled


def _balanced_accuracy(true: torch.Tensor, predicted: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
    return (both / true.clamp(min=1)).sum(0) / (true > 0).sum(0)


def _macro_f1(true: torch.Tensor, predicted: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
    occurs = true + predicted
    return (2 * both / occurs.clamp(min=1)).sum(0) / (occurs > 0).sum(0)


def _matthews(true: torch.Tensor, predicted: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
    n_rows = true.sum(0)
    spread = (n_rows**2 - (true**2).sum(0)) * (n_rows**2 - (predicted**2).sum(0))
    covariance = n_rows * both.sum(0) - (true * predicted).sum(0)
    return torch.where(spread > 0, covariance / spread.sqrt(), 0.0)


def _by_bin(score: Callable[[ConfidenceBins], torch.Tensor]) -> Callable[[Predictions], Resampled]:
    """A metric of [`ConfidenceBins`] of shape `(B, M)`."""

    def resampled(predictions: Predictions) -> Resampled:
        confidence, correct = predictions.rows
        groups = bin_index(confidence, predictions.n_bins)
        sums = (torch.ones_like(confidence), (confidence / GRID).round() * GRID, correct)
        return lambda counts: score(
            ConfidenceBins(*(_sums(groups, predictions.n_bins, values[:, None] * counts).T for values in sums))
        )

    return resampled


def _classwise_ece(predictions: Predictions) -> Resampled:
    probs = predictions.logits.double().softmax(1)
    groups, n_classes = bin_index(probs, predictions.n_bins), probs.shape[1]
    gaps = torch.nn.functional.one_hot(predictions.labels, n_classes) - (probs / GRID).round() * GRID

    def error(counts: torch.Tensor) -> torch.Tensor:
        columns = zip(groups.T, gaps.T, strict=True)
        return sum(_sums(group, predictions.n_bins, gap[:, None] * counts).abs().sum(0) for group, gap in columns) / (
            counts.sum(0) * n_classes
        )

    return error


def _adaptive_ece(predictions: Predictions) -> Resampled:
    (confidence, correct), n_bins = predictions.rows, predictions.n_bins
    order, ends = levels(confidence)
    gaps = (correct.double() - confidence)[order, None]

    def error(counts: torch.Tensor) -> torch.Tensor:
        drawn = counts[order]
        n_rows = drawn.sum(0)
        cuts = (torch.arange(n_bins + 1)[:, None] * n_rows).div(n_bins, rounding_mode="floor")
        upto, gaps_upto = drawn.cumsum(0)[ends], (gaps * drawn).cumsum(0)[ends]
        level = torch.searchsorted(upto.T.contiguous(), cuts.T.contiguous()).T  # the one that the cut goes through
        share = steps(gaps_upto) / steps(upto).clamp(min=1)
        inside = upto.gather(0, level) - cuts
        return (gaps_upto.gather(0, level) - inside * share.gather(0, level)).diff(dim=0).abs().sum(0) / n_rows

    return error


def _row_score(place: int) -> Callable[[Predictions], Resampled]:
    return lambda one: resampled_mean(row_scores(one.logits, one.targets, from_logits=True)[place])


_ece = _by_bin(ConfidenceBins.calibration_errors)
_oe = _by_bin(ConfidenceBins.overconfidence)


def _adaptive_ece_value(predictions: Predictions) -> torch.Tensor:
    return predictions.rows.adaptive_calibration_error(predictions.n_bins)


def _classwise_ece_value(predictions: Predictions) -> torch.Tensor:
    rows = predictions.logits, predictions.labels
    return class_confidence_bins(*rows, predictions.n_bins, from_logits=True).calibration_error()


def _auroc_value(predictions: Predictions) -> torch.Tensor:
    correct = predictions.rows.correct
    both = bool(correct.any()) and not bool(correct.all())
    return predictions.rows.auroc() if both else torch.tensor(float("nan"))


def _aurc_value(predictions: Predictions) -> torch.Tensor:
    return predictions.rows.area_under_risk_coverage()


METRICS = {
    "accuracy": Metric("accuracy", "max", "percentile", lambda one: resampled_mean(one.rows.correct)),
    "balanced_accuracy": Metric("balanced accuracy", "max", "percentile", _by_class(_balanced_accuracy)),
    "macro_f1": Metric("macro F1", "max", "percentile", _by_class(_macro_f1)),
    "matthews_correlation": Metric("Matthews correlation", "max", "percentile", _by_class(_matthews)),
    "ece": Metric("ECE", "min", "basic", _ece, lambda one: one.bins.calibration_error()),
    "mce": Metric("MCE", "min", None, None, lambda one: one.bins.maximum_calibration_error()),
    "adaptive_ece": Metric("adaptive ECE", "min", "basic", _adaptive_ece, _adaptive_ece_value),
    "classwise_ece": Metric("class-wise ECE", "min", "basic", _classwise_ece, _classwise_ece_value),
    "oe": Metric("OE", "min", "basic", _oe, lambda one: one.bins.overconfidence()),
    "nll": Metric("NLL, nats", "min", "percentile", _row_score(0), lambda one: one.sums.negative_log_likelihood()),
    "brier": Metric("Brier score", "min", "percentile", _row_score(1), lambda one: one.sums.brier_score()),
    "auroc": Metric("AUROC of confidence", "max", "percentile", lambda one: resampled_auroc(*one.rows), _auroc_value),
    "aurc": Metric("AURC", "min", "percentile", lambda one: resampled_aurc(*one.rows), _aurc_value),
}
