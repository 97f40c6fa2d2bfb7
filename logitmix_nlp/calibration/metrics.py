# SPDX-License-Identifier: Apache-2.0
"""Metrics of `functional` for NumPy arrays, in the form `Trainer` reports them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn import metrics as sk
from transformers import EvalPrediction

from logitmix_nlp.functional.calibration import ConfidenceBins, confidence_bins
from logitmix_nlp.functional.checks import IGNORED, are_probabilities, check_bins
from logitmix_nlp.functional.classwise import class_confidence_bins
from logitmix_nlp.functional.metrics import metric_values
from logitmix_nlp.functional.multilabel import label_confidence_bins, label_score_sums
from logitmix_nlp.functional.scores import ScoreSums, score_sums

__all__ = [
    "LOWER_IS_BETTER",
    "ClassificationMetrics",
    "calibration_metrics",
    "class_scores",
    "compute_metrics_for",
    "first_output",
    "per_class_metrics",
    "as_tensor",
    "scored_rows",
    "tagged_tokens",
]

LOWER_IS_BETTER = ("ece", "oe", "nll", "brier")  # fmt: skip


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
    logits, labels = as_tensor(logits), as_tensor(labels)
    bins = confidence_bins(logits, labels, n_bins, from_logits=from_logits)
    return _metrics(bins, score_sums(logits, labels, from_logits=from_logits))


def class_scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores in which rare classes count as much as frequent ones.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Logits or probabilities.
        labels (`np.ndarray` of shape `(N,)`): True classes, integers in `[0, C)`.

    Returns:
        `dict[str, float]`: `macro_f1`, the mean F1 score over the classes that occur in labels or predictions, and
        `balanced_accuracy`, the mean accuracy over the classes that occur in the labels; both in `[0, 1]`.
    """
    return metric_values(as_tensor(logits), as_tensor(labels), names=("macro_f1", "balanced_accuracy"))


def per_class_metrics(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str], n_bins: int = 15
) -> dict[str, dict[str, float | int | None]]:
    """Accuracy, F1 score and ECE of each class, or of each label of a multi-label classifier.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Before softmax, or sigmoid.
        labels (`np.ndarray` of shape `(N,)` or `(N, C)`): True classes, or 1 where a row has a label and 0 where not.
        names (`Sequence[str]`): Names of the classes by id.
        n_bins (`int`): Number of equal bins of each class's probability.

    Returns:
        `dict[str, dict]`: By name: `rows` of the class; `accuracy`, the share of them that is predicted rightly
        (multi-label: of all rows), `None` without rows; `f1`; and `ece`, the gap between the probability of the class
        and how often rows are of it (Kull et al., 2019), whose mean over the classes is the class-wise ECE.
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    ids = range(len(names))
    if labels.ndim == 2:
        bins, truth, predicted = label_confidence_bins(logits, labels, n_bins), labels.bool(), logits > 0
        right = (truth == predicted).double().mean(0).tolist()
    else:
        bins, truth, predicted = (
            class_confidence_bins(logits, labels, n_bins, from_logits=True),
            labels,
            logits.argmax(-1),
        )
        right = None
    _, recall, f1, rows = sk.precision_recall_fscore_support(
        truth.cpu().numpy(), predicted.cpu().numpy(), labels=list(ids), zero_division=0
    )
    errors = bins.calibration_errors().tolist()
    accuracy = right or [float(recall[k]) if rows[k] else None for k in ids]
    return {
        str(names[k]): {"rows": int(rows[k]), "accuracy": accuracy[k], "f1": float(f1[k]), "ece": errors[k]}
        for k in ids
    }


class ClassificationMetrics:
    """Accuracy, ECE, OE, NLL and Brier score of a `Trainer`'s evaluation, at once or batch by batch.

    Of token classification, logits `(N, T, C)` and labels `(N, T)`, every tagged token counts as a row.

    Labels of shape `(N, C)` are those of a multi-label classifier, whose metrics are `micro_f1` and `macro_f1` at
    probability 0.5, `subset_accuracy` (all labels of a row right), and `ece`, `nll` and `brier` as means over labels.
    If they are class probabilities (soft labels), `accuracy`, `ece` and `oe` go by the most probable class, `nll` and
    `brier` by the probabilities.

    With `batch_eval_metrics=True` only sums are kept, not the logits: memory does not grow with the data. Accuracy,
    ECE and OE are bitwise those of the whole, NLL and Brier score within the rounding of float64.

    Args:
        n_bins (`int`): Number of equal confidence bins `(a, b]` of ECE and OE.
        from_logits (`bool`, *optional*): Whether predictions are logits, as those of Transformers' classifiers are;
            `False` for probabilities (of one label per row).
        soft_labels (`bool`, *optional*): Whether labels `(N, C)` are class probabilities; `None` takes for them what
            sums to 1 in each row and is not all 0 and 1. Say it for `batch_eval_metrics`, where a batch may be.
    """

    def __init__(self, n_bins: int = 15, from_logits: bool = True, soft_labels: bool | None = None):
        check_bins(n_bins)
        self.n_bins, self.from_logits, self.soft_labels = n_bins, from_logits, soft_labels
        self._sums: tuple[Any, ...] | None = None

    def __call__(self, prediction: EvalPrediction, compute_result: bool | None = None) -> dict[str, float]:
        """Score an evaluation, or add one batch to it.

        Args:
            prediction (`EvalPrediction`): `predictions` of shape `(N, C)`, or a tuple that begins with them, and
                `label_ids` of shape `(N,)` or `(N, C)`; arrays or tensors, or lists of those of batches.
            compute_result (`bool`, *optional*): `None` scores these rows alone. As `Trainer` calls it batch by batch:
                `False` adds them, `True` adds them, scores all rows added and forgets them.

        Returns:
            `dict[str, float]`: `accuracy`, `ece`, `oe`, `nll`, `brier`; empty for `compute_result=False`.

        Raises:
            ValueError: If predictions are classes, not logits; and see [`functional.confidence_bins`].
        """
        logits, labels = map(as_tensor, scored_rows(prediction))
        multi_label = labels.ndim == 2 and not self._are_soft(labels)
        if multi_label and not self.from_logits:
            raise ValueError("from_logits=False is for one label per row; multi-label predictions must be logits.")
        before = None if compute_result is None else self._sums
        sums = before
        if len(labels) or (before is None and compute_result is not False):  # a batch of tokens may have no tags
            sums = self._label_sums(logits, labels) if multi_label else self._class_sums(logits, labels)
            if before is not None:
                sums = tuple(mine + theirs for mine, theirs in zip(before, sums, strict=True))
        if compute_result is None:
            return self._result(*sums)
        self._sums = None if compute_result else sums
        return self._result(*sums) if compute_result else {}

    def reset(self) -> None:
        """Forget the batches added, after an evaluation that was broken off."""
        self._sums = None

    def _are_soft(self, labels: torch.Tensor) -> bool:
        if self.soft_labels is not None or not labels.is_floating_point():
            return bool(self.soft_labels)
        return bool(are_probabilities(labels).all() and ((labels > 0) & (labels < 1)).any())

    def _class_sums(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[ConfidenceBins, ScoreSums]:
        bins = confidence_bins(logits, labels, self.n_bins, from_logits=self.from_logits)
        return bins, score_sums(logits, labels, from_logits=self.from_logits)

    def _label_sums(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[Any, ...]:
        bins, scores = label_confidence_bins(logits, labels, self.n_bins), label_score_sums(logits, labels)
        truth, predicted = labels.bool().cpu().numpy(), (logits > 0).cpu().numpy()
        exact = np.array([(truth == predicted).all(1).sum(), len(truth)])
        return bins, scores, sk.multilabel_confusion_matrix(truth, predicted), exact

    def _result(self, bins: ConfidenceBins, scores: ScoreSums, *counts: np.ndarray) -> dict[str, float]:
        if not counts:
            return {"accuracy": (bins.correct.sum() / bins.count.sum()).item(), **_metrics(bins, scores)}
        confusion, (exact, rows) = counts
        f1 = {"micro_f1": _f1(confusion.sum(0)), "macro_f1": np.mean([_f1(one) for one in confusion]).item()}
        return {**f1, "subset_accuracy": float(exact / rows), **_metrics(bins, scores)}


def compute_metrics_for(
    n_bins: int = 15, from_logits: bool = True, soft_labels: bool | None = None
) -> ClassificationMetrics:
    """What to pass as `compute_metrics` to any `Trainer` that fine-tunes a classifier, multi-label ones included.

    Then `metric_for_best_model="eval_ece"` (with `greater_is_better=False` for the stock arguments) and early stopping
    on any of the metrics work.

    Args:
        n_bins (`int`): Number of equal confidence bins `(a, b]` of ECE and OE.
        from_logits (`bool`): Whether the model returns logits; `False` for probabilities.
        soft_labels (`bool`, *optional*): Whether labels `(N, C)` are class probabilities, see
            [`ClassificationMetrics`].

    Returns:
        `ClassificationMetrics`: Takes an `EvalPrediction`, and `compute_result` for `batch_eval_metrics=True`.
    """
    return ClassificationMetrics(n_bins, from_logits, soft_labels)


def _metrics(bins: ConfidenceBins, scores: ScoreSums) -> dict[str, float]:
    oe = {"oe": bins.overconfidence().item()} if bins.count.dim() == 1 else {}  # not of labels that are bins each
    return {
        "ece": bins.calibration_error().item(),
        **oe,
        "nll": scores.negative_log_likelihood().item(),
        "brier": scores.brier_score().item(),
    }


def first_output(outputs: Any) -> Any:
    """The logits, or labels, out of what a `Trainer` predicts: an array, the first of a tuple, or those of batches."""
    if isinstance(outputs, list):  # eval_do_concat_batches=False
        batches = [first_output(batch) for batch in outputs]
        if len({batch.shape[1:] for batch in batches}) > 1:  # of tokens, padded batch by batch
            width = max(batch.shape[1] for batch in batches)
            batches = [_padded(np.asarray(batch), width) for batch in batches]
        return torch.cat(batches) if isinstance(batches[0], torch.Tensor) else np.concatenate(batches)
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _padded(batch: np.ndarray, width: int) -> np.ndarray:
    """Logits or labels of tokens, padded on the right as a `Trainer` does."""
    more = [(0, 0), (0, width - batch.shape[1]), *[(0, 0)] * (batch.ndim - 2)]
    return np.pad(batch, more, constant_values=IGNORED)


def tagged_tokens(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Logits `(M, C)` and labels `(M,)` of the tokens that have a tag, row after row; what is of rows stays.

    Args:
        logits (`np.ndarray` or `torch.Tensor`): `(N, T, C)` of tokens, or of any other shape.
        labels (`np.ndarray` or `torch.Tensor`): `(N, T)` with -100 for tokens without a tag, or of rows.
    """
    if logits.ndim != 3:
        return logits, labels
    tagged = labels != IGNORED
    return logits[tagged], labels[tagged]


def scored_rows(prediction: EvalPrediction, *, is_regression: bool = False) -> tuple[Any, Any]:
    """Logits `(N, C)` and labels `(N,)` or `(N, C)` of an evaluation, whatever form a `Trainer` gives them.

    Of token classification, `N` counts the tagged tokens, see [`tagged_tokens`].

    Args:
        prediction (`EvalPrediction`): Arrays or tensors, tuples that begin with them, or lists of those of batches.
        is_regression (`bool`): Whether one number per row is right.

    Raises:
        ValueError: If there are no labels, or predictions are classes, not logits.
    """
    logits, labels = first_output(prediction.predictions), first_output(prediction.label_ids)
    if labels is None:
        raise ValueError("The evaluation has no labels: label_names of the arguments must name their column.")
    if logits.ndim == 1 and not is_regression:
        raise ValueError(
            "Predictions are one number per row, not logits of shape (N, C), which calibration is computed from: "
            "let preprocess_logits_for_metrics return the logits, or leave it out."
        )
    return tagged_tokens(logits, labels)


def _f1(confusion: np.ndarray) -> float:
    """F1 score of one label from its rows `[[tn, fp], [fn, tp]]`; 0 if it is neither predicted nor present."""
    (_, fp), (fn, tp) = confusion.tolist()
    return 2 * tp / max(2 * tp + fp + fn, 1)


def as_tensor(array: Any) -> torch.Tensor:
    """Tensors as they are; of arrays a copy, so that read-only and reversed ones are taken too."""
    return array if isinstance(array, torch.Tensor) else torch.tensor(np.ascontiguousarray(array))
