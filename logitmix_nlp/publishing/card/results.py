# SPDX-License-Identifier: Apache-2.0
"""The metrics of a model card with their intervals, and how machines read them: header and `.eval_results/*.yaml`."""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData
from transformers import EvalPrediction

from logitmix_nlp.calibration.metrics import tagged_tokens
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.calibration.token_metrics import TokenMetrics
from logitmix_nlp.functional.bootstrap import Interval, bootstrap_intervals
from logitmix_nlp.functional.checks import IGNORED, REGRESSION
from logitmix_nlp.functional.metrics import metric_intervals
from logitmix_nlp.publishing.card.facts import CardFacts, DatasetFacts, EvaluationFacts, Metric

__all__ = [
    "LOCAL_DATA",
    "MIN_ROWS",
    "classification_metrics",
    "eval_result_entries",
    "metric_title",
    "header",
    "number_of_resamples",
    "score_metrics",
    "task_name",
]

MIN_ROWS = 30  # fewer say next to nothing about how far a metric may be off
SEED = 0
BINNED, CALIBRATION = ("ece", "oe"), ("ece", "oe", "nll", "brier")
LOCAL_DATA = "local-data"  # `dataset.type` of rows that are not a dataset on the Hub
_METRIC_IDS = {"pearson": "pearsonr"}  # ours -> the Hub's
_TITLES = {
    "accuracy": "Accuracy",
    "brier": "Brier score",
    "combined_score": "Mean of the task's scores",
    "ece": "ECE",
    "f1": "F1",
    "matthews_correlation": "Matthews correlation",
    "nll": "NLL (nats)",
    "oe": "OE",
    "pearson": "Pearson correlation",
    "precision": "Precision",
    "recall": "Recall",
    "spearmanr": "Spearman correlation",
}


def number_of_resamples(scores: int, rows: int, wanted: int = 1000) -> int:
    """How often rows are drawn again: `wanted` times, 200 for more than a million scores, never for under 30 rows."""
    if rows < MIN_ROWS:
        return 0
    return wanted if scores <= 1_000_000 else min(wanted, 200)


def classification_metrics(
    logits: np.ndarray, labels: np.ndarray, n_bins: int = 15, n_resamples: int = 1000
) -> tuple[Metric, ...]:
    """Accuracy, ECE, OE, NLL and Brier score with 95% bootstrap intervals over rows.

    Of token classification the metrics are those of tagged tokens, and whole rows are drawn again.

    Intervals of ECE and OE are basic ones cut at 0 (drawing rows again raises both, and basic intervals take that
    off), the others are percentile intervals; see [`functional.METRICS`].

    Args:
        logits (`np.ndarray` of shape `(N, C)` or `(N, T, C)`): Logits, before softmax.
        labels (`np.ndarray` of shape `(N,)` or `(N, T)`): True classes; -100 for tokens without a tag.
        n_bins (`int`): Number of confidence bins of ECE and OE.
        n_resamples (`int`): How often rows are drawn again; 0 leaves the intervals out.

    Returns:
        `tuple[Metric, ...]`: Values are bitwise those of [`calibration_metrics`].

    Raises:
        ValueError: See [`functional.confidence_bins`].
    """
    groups = torch.tensor(np.nonzero(labels != IGNORED)[0]) if logits.ndim == 3 else None
    rows = (torch.tensor(np.ascontiguousarray(array)) for array in tagged_tokens(logits, labels))
    options = {"n_resamples": n_resamples, "seed": SEED, "groups": groups}
    intervals = metric_intervals(*rows, n_bins, ("accuracy", *CALIBRATION), **options)
    ends = _ends(intervals)
    return tuple(
        Metric(name, one.value, *ends.get(name, (None, None)), n_bins if name in BINNED else None)
        for name, one in intervals.items()
    )


def score_metrics(
    compute_metrics: Callable[[EvalPrediction], Mapping[str, Any]] | None,
    metrics: Mapping[str, Any],
    predictions: Any,
    labels: Any,
    n_resamples: int = 1000,
) -> tuple[Metric, ...]:
    """Scores of the `compute_metrics` of a `Trainer`, with 95% percentile intervals where it can be called again.

    Args:
        compute_metrics (`Callable`, *optional*): What made the scores; `None` leaves the intervals out.
        metrics (`Mapping[str, Any]`): The scores by name; those that are not a single number are left out.
        predictions (`np.ndarray` of shape `(N, …)`): What the model predicted.
        labels (`np.ndarray` of shape `(N, …)`): What is true.
        n_resamples (`int`): How often rows are drawn again; 0 leaves the intervals out.

    Returns:
        `tuple[Metric, ...]`: One per score. A score that cannot be computed for some resample has no interval.
    """
    scores, ends = {name: float(value) for name, value in metrics.items() if _is_number(value)}, {}

    def of_rows(index):
        metrics = compute_metrics(EvalPrediction(predictions[index.numpy()], labels[index.numpy()]))
        return {name: metrics[name] if _is_number(metrics.get(name)) else math.nan for name in scores}

    arrays = isinstance(predictions, np.ndarray) and isinstance(labels, np.ndarray)
    if arrays and n_resamples and isinstance(compute_metrics, TokenMetrics):  # to call it for each would take minutes
        ends = _ends(compute_metrics.intervals(predictions, labels, n_resamples=n_resamples, seed=SEED))
    elif scores and arrays and n_resamples and compute_metrics is not None:
        # The user's function may warn of single resamples, such as one without a class, or fail on them.
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            draws = torch.Generator().manual_seed(SEED)
            ends = _ends(
                bootstrap_intervals(of_rows, torch.arange(len(labels)), n_resamples=n_resamples, generator=draws)
            )
    return tuple(Metric(name, value, *ends.get(name, (None, None))) for name, value in scores.items())


def _ends(intervals: Mapping[str, Interval]) -> dict[str, tuple[float, float]]:
    """Ends of intervals; none of width 0 (all rows right, say), which would promise what it cannot know."""
    return {
        name: (one.low, one.high)
        for name, one in intervals.items()
        if one.low < one.high and math.isfinite(one.high - one.low)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def metric_title(metric: Metric) -> str:
    """A metric's name for readers."""
    title = _TITLES.get(metric.name, metric.name.replace("_", " "))
    return f"{title} ({metric.n_bins} bins)" if metric.n_bins is not None else title


def task_name(facts: CardFacts) -> str:
    """The task for readers; the Hub has no type of its own for regressions."""
    kind = "regression" if facts.kind == REGRESSION else "classification"
    return f"{facts.task.partition('-')[0].capitalize()} {kind}"


def header(facts: CardFacts) -> dict[str, Any]:
    """Metadata of a card, in the Hub's format.

    Args:
        facts (`CardFacts`): What is known; what is not known is left out, not guessed.

    Returns:
        `dict[str, Any]`: JSON values. Values are floats; infinite ones and NaN are strings, which JSON can hold.
    """
    results = [_eval_result(facts, each, metric) for each in facts.evaluations for metric in each.metrics]
    datasets = [data.hub_id for data in (*facts.training_data, *(e.dataset for e in facts.evaluations))]
    data = ModelCardData(
        language=list(facts.language) or None,
        license=facts.license,
        library_name="peft" if facts.adapter else "transformers",
        pipeline_tag=facts.task,
        base_model=facts.base_model,
        datasets=list(dict.fromkeys(name for name in datasets if name)) or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=list(facts.tags),
        model_name=facts.model_name if results else None,
        eval_results=results or None,
        **({} if facts.temperature is None else {TEMPERATURE_KEY: facts.temperature}),
    )
    return data.to_dict()


def eval_result_entries(facts: CardFacts) -> dict[str, list[EvalResultEntry]]:
    """Contents of `.eval_results/`: the task's score on every whole split of a dataset on the Hub.

    Args:
        facts (`CardFacts`): What is known.

    Returns:
        `dict[str, list[EvalResultEntry]]`: By file name. Results on local data or part of a split are no benchmark's.
    """
    files: dict[str, list[EvalResultEntry]] = {}
    for evaluation in facts.evaluations:
        data, by_name = evaluation.dataset, {metric.name: metric for metric in evaluation.metrics}
        metric = by_name.get(facts.main_metric or "accuracy")
        named = data.hub_id is not None and "/" in data.hub_id  # a benchmark has an owner
        if not named or not data.complete or metric is None or not math.isfinite(metric.value):
            continue
        entry = EvalResultEntry(
            dataset_id=data.hub_id,
            task_id=_task_id(data),
            value=metric.value,
            dataset_revision=data.revision,
            notes=f"{metric_title(metric)}, {evaluation.rows} rows of {data.split or 'the dataset'}",
        )
        name = re.sub(r"[^a-z0-9]+", "-", data.hub_id.lower()).strip("-")
        files.setdefault(f"logitmix-{name}.yaml", []).append(entry)
    return files


def _task_id(data: DatasetFacts) -> str:
    """The configuration, with what tells apart the splits evaluated: `mnli_matched`."""
    part = (data.split or "").partition("_")[2]
    return "_".join(filter(None, (data.config or "default", part)))


def _eval_result(facts: CardFacts, evaluation: EvaluationFacts, metric: Metric) -> EvalResult:
    data = evaluation.dataset
    return EvalResult(
        task_type=facts.task,
        task_name=task_name(facts),
        dataset_type=data.hub_id or LOCAL_DATA,
        dataset_name=data.name,
        dataset_config=data.config,
        dataset_split=data.split,
        dataset_revision=data.revision,
        dataset_args=None if data.complete else {"rows": evaluation.rows},  # so many of the split
        metric_type=_METRIC_IDS.get(metric.name, metric.name),
        metric_name=metric_title(metric),
        metric_value=metric.value if math.isfinite(metric.value) else str(metric.value),
        metric_args=_metric_args(facts, metric) or None,
    )


def _metric_args(facts: CardFacts, metric: Metric) -> dict[str, Any]:
    """What the metric depends on: its bins, and the temperature that the logits were divided by."""
    temperature = {} if facts.temperature is None else {"temperature": facts.temperature}
    return {**({} if metric.n_bins is None else {"n_bins": metric.n_bins}), **temperature}
