# SPDX-License-Identifier: Apache-2.0
"""The facts of a card for machines: the header of `README.md`, and `.eval_results/*.yaml`."""

import math
import re
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData

from logitmix_nlp.functional.checks import REGRESSION
from logitmix_nlp.publishing.card.facts import CardFacts, DatasetFacts, EvaluationFacts
from logitmix_nlp.publishing.card.figures import Figure

__all__ = ["LOCAL_DATA", "eval_result_entries", "figure_title", "header", "task_name"]

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
