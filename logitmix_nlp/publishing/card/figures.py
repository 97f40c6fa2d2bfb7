# SPDX-License-Identifier: Apache-2.0
"""The figures of a model card: scores and calibration of one evaluation, each with how far it may be off."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction

from logitmix_nlp.calibration.metrics import calibration_metrics
from logitmix_nlp.functional.bootstrap import Interval, bootstrap_interval
from logitmix_nlp.functional.calibration import GRID, ConfidenceBins, bin_index
from logitmix_nlp.functional.selective import row_confidences

__all__ = ["MIN_ROWS", "Figure", "classification_figures", "number_of_resamples", "score_figures"]

MIN_ROWS = 30  # fewer say next to nothing about how far a figure may be off
SEED = 0


@dataclass(frozen=True)
class Figure:
    """One figure of one evaluation.

    Args:
        name (`str`): As metrics are named: `accuracy`, `ece`, `matthews_correlation`.
        value (`float`): The figure of all rows.
        low (`float`, *optional*): Lower end of its 95% interval; `None` where there is none.
        high (`float`, *optional*): Upper end; above `low`.
        n_bins (`int`, *optional*): Confidence bins of `ece` and `oe`.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n_bins: int | None = None


def number_of_resamples(scores: int, rows: int, wanted: int = 1000) -> int:
    """How often rows are drawn again: `wanted` times, 200 for more than a million scores, never for under 30 rows."""
    if rows < MIN_ROWS:
        return 0
    return wanted if scores <= 1_000_000 else min(wanted, 200)


def classification_figures(
    logits: np.ndarray, labels: np.ndarray, n_bins: int = 15, n_resamples: int = 1000
) -> tuple[Figure, ...]:
    """Accuracy, ECE, OE, NLL and Brier score with 95% bootstrap intervals over rows.

    Intervals of ECE and OE are basic ones cut at 0 (drawing rows again raises both, and basic intervals take that
    off), the others are percentile intervals; see [`functional.bootstrap_interval`].

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Logits, before softmax.
        labels (`np.ndarray` of shape `(N,)`): True classes.
        n_bins (`int`): Number of confidence bins of ECE and OE.
        n_resamples (`int`): How often rows are drawn again; 0 leaves the intervals out.

    Returns:
        `tuple[Figure, ...]`: Values are bitwise those of [`calibration_metrics`].

    Raises:
        ValueError: See [`functional.confidence_bins`].
    """
    values = calibration_metrics(logits, labels, n_bins)
    logits, labels = torch.tensor(np.ascontiguousarray(logits)), torch.tensor(np.ascontiguousarray(labels)).long()
    confidence, correct = row_confidences(logits, labels, from_logits=True)
    values = {"accuracy": correct.double().mean().item(), **values}
    if not n_resamples:
        return tuple(_figure(name, Interval(value, None, None), n_bins) for name, value in values.items())
    log_probs = logits.double().log_softmax(1)
    true = log_probs.gather(1, labels[:, None])[:, 0]
    brier = log_probs.exp().square().sum(1) - 2 * true.exp() + 1
    binned = (bin_index(confidence, n_bins), (confidence / GRID).round() * GRID, correct.double())
    intervals = {
        "accuracy": _interval(torch.mean, correct.double(), n_resamples=n_resamples),
        "ece": _interval(_ece, *binned, n_resamples=n_resamples, method="basic", n_bins=n_bins),
        "oe": _interval(_oe, *binned, n_resamples=n_resamples, method="basic", n_bins=n_bins),
        "nll": _interval(torch.mean, -true, n_resamples=n_resamples),
        "brier": _interval(torch.mean, brier, n_resamples=n_resamples),
    }
    intervals |= {name: intervals[name]._replace(low=max(intervals[name].low, 0.0)) for name in ("ece", "oe")}
    return tuple(_figure(name, intervals[name]._replace(value=value), n_bins) for name, value in values.items())


def score_figures(
    compute_metrics: Callable[[EvalPrediction], Mapping[str, Any]] | None,
    metrics: Mapping[str, Any],
    predictions: Any,
    labels: Any,
    n_resamples: int = 1000,
) -> tuple[Figure, ...]:
    """Scores of the `compute_metrics` of a `Trainer`, with 95% percentile intervals where it can be called again.

    Args:
        compute_metrics (`Callable`, *optional*): What made the scores; `None` leaves the intervals out.
        metrics (`Mapping[str, Any]`): The scores by name; what is no single number is left out.
        predictions (`np.ndarray` of shape `(N, …)`): What the model predicted.
        labels (`np.ndarray` of shape `(N, …)`): What is true.
        n_resamples (`int`): How often rows are drawn again; 0 leaves the intervals out.

    Returns:
        `tuple[Figure, ...]`: One per score. A score that cannot be computed for some resample has no interval.
    """
    scores = {name: float(value) for name, value in metrics.items() if _is_number(value)}
    arrays = isinstance(predictions, np.ndarray) and isinstance(labels, np.ndarray)
    if compute_metrics is None or not n_resamples or not arrays:
        return tuple(Figure(name, value) for name, value in scores.items())
    seen: list[Mapping[str, Any]] = []  # scores of each draw, the same draws for every score

    def score(index: torch.Tensor, calls: Any, name: str) -> torch.Tensor:
        draw = next(calls)
        if draw == len(seen):
            rows = index.numpy()
            seen.append(compute_metrics(EvalPrediction(predictions[rows], labels[rows])))
        return torch.tensor(float(seen[draw][name]), dtype=torch.float64)

    return tuple(
        Figure(name, value, *_ends(score, len(labels), n_resamples, calls=iter(range(n_resamples + 1)), name=name))
        for name, value in scores.items()
    )


def _ends_that_differ(interval: Interval) -> tuple[float | None, float | None]:
    """No interval rather than one of width 0 (all rows right, say), which would promise what it cannot know."""
    finite = bool(np.isfinite([interval.low, interval.high]).all())
    return (interval.low, interval.high) if finite and interval.low < interval.high else (None, None)


def _ends(score: Callable, rows: int, n_resamples: int, **options: Any) -> tuple[float | None, float | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about single resamples, such as one without a class
            found = _interval(score, torch.arange(rows), n_resamples=n_resamples, **options)
    except Exception:  # whatever the user's function cannot do with a resample
        return None, None
    return _ends_that_differ(found)


def _interval(figure: Callable, *rows: torch.Tensor, **options: Any) -> Interval:
    return bootstrap_interval(figure, *rows, generator=torch.Generator().manual_seed(SEED), **options)


def _bins(place: torch.Tensor, confidence: torch.Tensor, correct: torch.Tensor, n_bins: int) -> ConfidenceBins:
    sums = (torch.bincount(place, weights, n_bins) for weights in (torch.ones_like(correct), confidence, correct))
    return ConfidenceBins(*sums)


def _ece(*rows: torch.Tensor, n_bins: int) -> torch.Tensor:
    return _bins(*rows, n_bins).calibration_error()


def _oe(*rows: torch.Tensor, n_bins: int) -> torch.Tensor:
    return _bins(*rows, n_bins).overconfidence()


def _figure(name: str, interval: Interval, n_bins: int) -> Figure:
    ends = (None, None) if interval.low is None else _ends_that_differ(interval)
    return Figure(name, interval.value, *ends, n_bins if name in ("ece", "oe") else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
