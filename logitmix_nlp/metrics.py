# SPDX-License-Identifier: Apache-2.0
"""Figures of `functional.calibration` for NumPy arrays, in the form `Trainer` reports them."""

from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction

from logitmix_nlp.functional.calibration import ConfidenceBins, confidence_bins
from logitmix_nlp.functional.scores import ScoreSums, score_sums

__all__ = ["ClassificationMetrics", "calibration_metrics", "compute_metrics_for"]


def calibration_metrics(
    logits: np.ndarray, labels: np.ndarray, n_bins: int = 15, *, from_logits: bool | None = True
) -> dict[str, float]:
    """ECE, OE, NLL and Brier score of a classifier's predictions.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Logits, before softmax, or probabilities.
        labels (`np.ndarray` of shape `(N,)`): True classes, integers in `[0, C)`.
        n_bins (`int`): Number of equal confidence bins `(a, b]`.
        from_logits (`bool`, *optional*): Whether the scores are logits, as those of a `Trainer` are; `False` for
            probabilities, `None` to have them recognised.

    Returns:
        `dict[str, float]`: `ece` and `oe` in `[0, 1]` (Thulasidasan et al., 2019), `nll` in nats,
        `brier` in `[0, 2]`.

    Raises:
        ValueError: See [`functional.confidence_bins`].
    """
    logits, labels = _tensor(logits), _tensor(labels)
    bins = confidence_bins(logits, labels, n_bins, from_logits=from_logits)
    return _figures(bins, score_sums(logits, labels, from_logits=from_logits))


class ClassificationMetrics:
    """Accuracy, ECE, OE, NLL and Brier score of a `Trainer`'s evaluation, at once or batch by batch.

    With `batch_eval_metrics=True` only sums are kept, not the logits: memory does not grow with the data. Accuracy,
    ECE and OE are bitwise those of the whole, NLL and Brier score within the rounding of float64.

    Args:
        n_bins (`int`): Number of equal confidence bins `(a, b]` of ECE and OE.
        from_logits (`bool`, *optional*): Whether predictions are logits, as those of Transformers' classifiers are;
            `False` for probabilities.
    """

    def __init__(self, n_bins: int = 15, from_logits: bool = True):
        if n_bins < 1:
            raise ValueError(f"n_bins must be at least 1, got {n_bins}.")
        self.n_bins, self.from_logits = n_bins, from_logits
        self._sums: tuple[ConfidenceBins, ScoreSums] | None = None

    def __call__(self, prediction: EvalPrediction, compute_result: bool | None = None) -> dict[str, float]:
        """Score an evaluation, or add one batch to it.

        Args:
            prediction (`EvalPrediction`): `predictions` of shape `(N, C)`, or a tuple that begins with them, and
                `label_ids` of shape `(N,)`; arrays or tensors.
            compute_result (`bool`, *optional*): `None` scores these rows alone. As `Trainer` calls it batch by batch:
                `False` adds them, `True` adds them, scores all rows added and forgets them.

        Returns:
            `dict[str, float]`: `accuracy`, `ece`, `oe`, `nll`, `brier`; empty for `compute_result=False`.

        Raises:
            ValueError: See [`functional.confidence_bins`].
        """
        parts = prediction.predictions, prediction.label_ids
        logits, labels = (_tensor(part[0] if isinstance(part, tuple) else part) for part in parts)
        bins = confidence_bins(logits, labels, self.n_bins, from_logits=self.from_logits)
        sums = bins, score_sums(logits, labels, from_logits=self.from_logits)
        if compute_result is None:
            return self._result(*sums)
        if self._sums is not None:
            sums = self._sums[0] + sums[0], self._sums[1] + sums[1]
        self._sums = None if compute_result else sums
        return self._result(*sums) if compute_result else {}

    def reset(self) -> None:
        """Forget the batches added, after an evaluation that was broken off."""
        self._sums = None

    def _result(self, bins: ConfidenceBins, scores: ScoreSums) -> dict[str, float]:
        return {"accuracy": (bins.correct.sum() / bins.count.sum()).item(), **_figures(bins, scores)}


def compute_metrics_for(n_bins: int = 15, from_logits: bool = True) -> ClassificationMetrics:
    """What to pass as `compute_metrics` to any `Trainer` that fine-tunes a single-label classifier.

    Then `metric_for_best_model="eval_ece"` (with `greater_is_better=False` for the stock arguments) and early stopping
    on any of the figures work.

    Args:
        n_bins (`int`): Number of equal confidence bins `(a, b]` of ECE and OE.
        from_logits (`bool`): Whether the model returns logits; `False` for probabilities.

    Returns:
        `ClassificationMetrics`: Takes an `EvalPrediction`, and `compute_result` for `batch_eval_metrics=True`.
    """
    return ClassificationMetrics(n_bins, from_logits)


def _figures(bins: ConfidenceBins, scores: ScoreSums) -> dict[str, float]:
    return {
        "ece": bins.calibration_error().item(),
        "oe": bins.overconfidence().item(),
        "nll": scores.negative_log_likelihood().item(),
        "brier": scores.brier_score().item(),
    }


def _tensor(array: Any) -> torch.Tensor:
    """Tensors as they are; of arrays a copy, so that read-only and reversed ones are taken too."""
    return array if isinstance(array, torch.Tensor) else torch.tensor(np.ascontiguousarray(array))
