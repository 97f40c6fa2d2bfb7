# SPDX-License-Identifier: Apache-2.0
"""The official GLUE scores, computed without a network, and the calibration metrics beside them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy import stats
from sklearn import metrics as sk
from transformers import EvalPrediction, Trainer

from logitmix_nlp.calibration import metrics
from logitmix_nlp.mixing.outputs import Diverged

__all__ = [
    "SCORES",
    "accuracy",
    "check_best_metric",
    "f1",
    "first_output",
    "make_compute_metrics",
    "matthews_correlation",
    "pearson",
    "predicted",
    "score_rows",
    "spearmanr",
]


def accuracy(predictions: np.ndarray, labels: np.ndarray, positive_label: int = 1) -> float:
    """Share of rows that are predicted rightly."""
    return float(np.mean(predictions == labels))


def f1(predictions: np.ndarray, labels: np.ndarray, positive_label: int = 1) -> float:
    """F1 score of one class; 0.0 if it is neither predicted nor present.

    Args:
        predictions (`np.ndarray` of shape `(N,)`): Predicted class ids.
        labels (`np.ndarray` of shape `(N,)`): True class ids.
        positive_label (`int`): The class, 1 in GLUE's own label order.

    Returns:
        `float`: In `[0, 1]`.
    """
    return float(sk.f1_score(labels == positive_label, predictions == positive_label, zero_division=0.0))


def matthews_correlation(predictions: np.ndarray, labels: np.ndarray, positive_label: int = 1) -> float:
    """Matthews correlation, in `[-1, 1]`; 0.0 if predictions or labels are constant."""
    if _is_constant(predictions) or _is_constant(labels):
        return 0.0
    return float(sk.matthews_corrcoef(labels, predictions))


def pearson(predictions: np.ndarray, labels: np.ndarray, positive_label: int = 1) -> float:
    """Pearson correlation, in `[-1, 1]`; 0.0 if predictions or labels are constant, as those of a single row are."""
    return _correlation(stats.pearsonr, predictions, labels)


def spearmanr(predictions: np.ndarray, labels: np.ndarray, positive_label: int = 1) -> float:
    """Spearman rank correlation, in `[-1, 1]`; 0.0 if predictions or labels are constant."""
    return _correlation(stats.spearmanr, predictions, labels)


SCORES: Mapping[str, Callable[[np.ndarray, np.ndarray, int], float]] = MappingProxyType(
    {score.__name__: score for score in (accuracy, f1, matthews_correlation, pearson, spearmanr)}
)


def _is_constant(values: np.ndarray) -> bool:
    return bool(np.all(values == values[0]))


def _correlation(correlate: Callable, predictions: np.ndarray, labels: np.ndarray) -> float:
    if _is_constant(predictions) or _is_constant(labels):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        value = correlate(predictions.astype(np.float64), labels.astype(np.float64)).statistic
    return float(np.nan_to_num(value, nan=0.0))


def first_output(outputs: np.ndarray | tuple) -> np.ndarray:
    """The logits out of what a `Trainer` predicts, as one array; see [`calibration.metrics.first_output`]."""
    return np.asarray(metrics.first_output(outputs))


def predicted(outputs: np.ndarray | tuple, is_regression: bool) -> np.ndarray:
    """Predicted class ids, or scores.

    Args:
        outputs (`np.ndarray` of shape `(N, C)` or `tuple`): What a `Trainer` predicts; `C` is 1 for a regression.
        is_regression (`bool`): Whether the model gives one number per row.

    Returns:
        `np.ndarray` of shape `(N,)`: Integers in `[0, C)`, or floats.

    Raises:
        Diverged: If an output is NaN or infinite.
    """
    logits = first_output(outputs)
    broken = np.flatnonzero(~np.isfinite(logits.reshape(len(logits), -1)).all(axis=1))
    if len(broken):
        raise Diverged(
            f"The model's output is NaN or infinite in {len(broken)} of {len(logits)} rows, first in row "
            f"{broken[0] + 1}: training has diverged; lower the learning rate."
        )
    return logits.reshape(-1) if is_regression else logits.argmax(axis=-1)


def score_rows(
    predictions: np.ndarray,
    labels: np.ndarray,
    task_metrics: Sequence[str],
    num_classes: int | None = None,
    positive_label: int = 1,
) -> dict[str, float]:
    """Official scores of predicted classes, or of the scores of a regression.

    Args:
        predictions (`np.ndarray` of shape `(N,)`): Class ids in `[0, num_classes)`, or finite numbers.
        labels (`np.ndarray` of shape `(N,)`): What is true, in the same form.
        task_metrics (`Sequence[str]`): Names of `SCORES`; two or more also give `combined_score`, their mean.
        num_classes (`int`, *optional*): Number of classes; `None` for a regression.
        positive_label (`int`): Class id that F1 counts as positive.

    Returns:
        `dict[str, float]`: One entry per name, and `combined_score`.

    Raises:
        ValueError: If a label is NaN, infinite or no class.
    """
    _check_labels(labels, num_classes)
    scores = {name: SCORES[name](predictions, labels, positive_label) for name in task_metrics}
    if len(scores) > 1:
        scores["combined_score"] = float(np.mean(list(scores.values())))
    return scores


def make_compute_metrics(
    task_metrics: Sequence[str],
    is_regression: bool,
    n_bins: int = 15,
    positive_label: int = 1,
    *,
    by_class: bool = False,
    multi_label: bool = False,
    soft_labels: bool = False,
) -> Callable[[EvalPrediction], dict[str, float]]:
    """The function that a `Trainer` calls with all logits and labels of an evaluation.

    Args:
        task_metrics (`Sequence[str]`): Names of `SCORES`; two or more also give `combined_score`, their mean.
        is_regression (`bool`): Whether the model gives one number per row. If not, `ece`, `oe`, `nll` and `brier` are
            added.
        n_bins (`int`): Number of confidence bins of `ece` and `oe`.
        positive_label (`int`): Class id that F1 counts as positive.
        by_class (`bool`): Whether `macro_f1` and `balanced_accuracy` are added, for data that has no score of its own.
        multi_label (`bool`): Whether a row may have several classes; then the metrics are those of
            [`logitmix_nlp.calibration.metrics.ClassificationMetrics`].
        soft_labels (`bool`): Whether labels are class probabilities `(N, C)`; NLL and Brier score go by these, all
            other scores by the most probable class.

    Returns:
        `Callable`: From `EvalPrediction` to scores. It raises a `ValueError` for NaN or infinite predictions, for
        labels outside the model's classes and for an empty evaluation.
    """
    if multi_label:
        return metrics.compute_metrics_for(n_bins)
    unknown = [name for name in task_metrics if name not in SCORES]
    if unknown:
        raise ValueError(f"Unknown metrics {', '.join(unknown)}; choose from: {', '.join(SCORES)}.")

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = map(np.asarray, metrics.scored_rows(prediction, is_regression=is_regression))
        classes = labels.argmax(axis=-1) if soft_labels else labels.reshape(-1)
        labels = labels if soft_labels else classes
        if len(logits) == 0 or len(logits) != len(labels):
            raise ValueError(f"Found {len(logits)} predictions and {len(labels)} labels; need one each, at least one.")
        num_classes = None if is_regression else logits.shape[-1]
        scores = score_rows(predicted(logits, is_regression), classes, task_metrics, num_classes, positive_label)
        if is_regression:
            return scores
        more = metrics.class_scores(logits, classes) if by_class else {}
        return {**scores, **more, **metrics.calibration_metrics(logits, labels, n_bins=n_bins)}

    return compute_metrics


def check_best_metric(
    trainer: Trainer, *, is_regression: bool, multi_label: bool = False, tokens: bool = False
) -> None:
    """Refuse a `metric_for_best_model` that no evaluation of the training will give, by scoring two made-up rows.

    Args:
        trainer (`Trainer`): With the function of [`make_compute_metrics`], and the rows to evaluate.
        is_regression (`bool`): As for that function.
        multi_label (`bool`): As for that function.
        tokens (`bool`): Whether labels are those of tokens; then the two are of one row.

    Raises:
        ValueError: Naming the metrics there will be.
    """
    args, rows = trainer.args, np.eye(2)
    if args.metric_for_best_model is None or args.eval_strategy == "no":
        return
    labels = rows if multi_label else np.arange(2)
    made_up = EvalPrediction(rows[:, :1] if is_regression else rows, labels)
    made_up = EvalPrediction(rows[None], labels[None]) if tokens else made_up
    metrics = () if args.prediction_loss_only else trainer.compute_metrics(made_up)
    sets = trainer.eval_dataset
    prefixes = [f"{name}_" for name in sets] if isinstance(sets, dict) else [""]
    names = [f"{prefix}{name}" for prefix in prefixes for name in ("loss", *metrics)]
    times = [
        f"{prefix}{name}" for prefix in prefixes for name in ("runtime", "samples_per_second", "steps_per_second")
    ]
    if args.metric_for_best_model.removeprefix("eval_") not in (*names, *times):
        raise ValueError(
            f"metric_for_best_model={args.metric_for_best_model!r} is none of the metrics of an evaluation, which "
            f"are: {', '.join(names)}."
        )


def _check_labels(labels: np.ndarray, num_classes: int | None) -> None:
    if not np.isfinite(labels).all():
        raise ValueError("The labels hold NaN or infinite values; every row needs a label.")
    if num_classes is not None and not np.isin(labels, np.arange(num_classes)).all():
        outside = sorted(set(labels.tolist()) - set(range(num_classes)))
        raise ValueError(f"Found labels {outside}, the model has the classes 0 to {num_classes - 1}.")
