# SPDX-License-Identifier: Apache-2.0
"""The figures of a model card with their intervals, and how machines read them: header and `.eval_results/*.yaml`."""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData
from transformers import EvalPrediction

from logitmix_nlp.calibration.metrics import calibration_metrics
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.functional.bootstrap import Interval, bootstrap_interval
from logitmix_nlp.functional.calibration import GRID, ConfidenceBins, bin_index
from logitmix_nlp.functional.checks import REGRESSION
from logitmix_nlp.functional.selective import row_confidences
from logitmix_nlp.publishing.card.facts import CardFacts, DatasetFacts, EvaluationFacts, Figure

__all__ = [
    "LOCAL_DATA",
    "MIN_ROWS",
    "classification_figures",
    "eval_result_entries",
    "figure_title",
    "header",
    "number_of_resamples",
    "score_figures",
    "task_name",
]

MIN_ROWS = 30  # fewer say next to nothing about how far a figure may be off
SEED = 0
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
    "spearmanr": "Spearman correlation",
}


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


def figure_title(figure: Figure) -> str:
    """A figure's name for readers."""
    title = _TITLES.get(figure.name, figure.name.replace("_", " "))
    return f"{title} ({figure.n_bins} bins)" if figure.n_bins is not None else title


def task_name(facts: CardFacts) -> str:
    """The task for readers; the Hub has no type of its own for regressions."""
    kind = "regression" if facts.kind == REGRESSION else "classification"
    return f"{facts.task.partition('-')[0].capitalize()} {kind}"


def header(facts: CardFacts) -> dict[str, Any]:
    """Metadata of a card, in the Hub's format.

    Args:
        facts (`CardFacts`): What is known; what is not known is left out, not guessed.

    Returns:
        `dict[str, Any]`: JSON values. Figures are floats; infinite ones and NaN are strings, which JSON can hold.
    """
    results = [_eval_result(facts, evaluation, figure) for evaluation, figure in _figures(facts)]
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
        data, figure = evaluation.dataset, _main_figure(facts, evaluation)
        named = data.hub_id is not None and "/" in data.hub_id  # a benchmark has an owner
        if not named or not data.complete or figure is None or not math.isfinite(figure.value):
            continue
        entry = EvalResultEntry(
            dataset_id=data.hub_id,
            task_id=_task_id(data),
            value=figure.value,
            dataset_revision=data.revision,
            notes=f"{figure_title(figure)}, {evaluation.rows} rows of {data.split or 'the dataset'}",
        )
        name = re.sub(r"[^a-z0-9]+", "-", data.hub_id.lower()).strip("-")
        files.setdefault(f"logitmix-{name}.yaml", []).append(entry)
    return files


def _task_id(data: DatasetFacts) -> str:
    """The configuration, with what tells apart the splits evaluated: `mnli_matched`."""
    part = (data.split or "").partition("_")[2]
    return "_".join(filter(None, (data.config or "default", part)))


def _main_figure(facts: CardFacts, evaluation: EvaluationFacts) -> Figure | None:
    figures = {figure.name: figure for figure in evaluation.figures}
    return figures.get(facts.main_metric or "accuracy")


def _figures(facts: CardFacts) -> list[tuple[EvaluationFacts, Figure]]:
    return [(evaluation, figure) for evaluation in facts.evaluations for figure in evaluation.figures]


def _eval_result(facts: CardFacts, evaluation: EvaluationFacts, figure: Figure) -> EvalResult:
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
        metric_type=_METRIC_IDS.get(figure.name, figure.name),
        metric_name=figure_title(figure),
        metric_value=figure.value if math.isfinite(figure.value) else str(figure.value),
        metric_args=_metric_args(facts, figure) or None,
    )


def _metric_args(facts: CardFacts, figure: Figure) -> dict[str, Any]:
    """What the figure depends on: its bins, and the temperature that the logits were divided by."""
    temperature = {} if facts.temperature is None else {"temperature": facts.temperature}
    return {**({} if figure.n_bins is None else {"n_bins": figure.n_bins}), **temperature}
