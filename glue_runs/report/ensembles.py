# SPDX-License-Identifier: Apache-2.0
"""The seeds of each method averaged to one prediction, which a report shows as one more method."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import EvalPrediction

from glue_runs.report.differences import aligned_predictions
from glue_runs.report.grid import ResultGrid, ScoreColumn
from glue_runs.runs.results import RunResult
from glue_runs.tasks.scores import make_compute_metrics
from logitmix_nlp.functional import ensemble_scores

__all__ = ["with_ensembles"]


def with_ensembles(grid: ResultGrid, n_bins: int) -> ResultGrid:
    """The grid with a method behind each one that has several seeds: the mean probabilities of its runs.

    Of a regression, the mean of the predicted scores. Tasks of which a method has one seed are left out.

    Args:
        grid (`ResultGrid`): The runs, with the predictions that they kept.
        n_bins (`int`): Confidence bins of ECE and OE.

    Returns:
        `ResultGrid`: Its `ensembles` names the methods that were added; each has one run per task.

    Raises:
        FileNotFoundError: If a run kept no predictions.
        ValueError: If no method has two seeds, or its runs were evaluated on different rows.
    """
    methods, labels, runs = [], dict(grid.labels), dict(grid.runs)
    for method in grid.methods:
        name, counts = f"{method}, seeds averaged", set()
        for task in grid.tasks:
            members = list(grid.of(task, method).values())
            if len(members) > 1:
                columns = [column for column in grid.columns if column.task == task]
                metrics = {
                    key: value for column in columns for key, value in _metrics(members, column, n_bins).items()
                }
                runs[task.name, name, 0] = RunResult(task.name, name, 0, metrics, {}, [], {}, 0.0)
                counts.add(len(members))
        methods.append(method)
        if counts:
            methods.append(name)
            seeds = "–".join(map(str, sorted({min(counts), max(counts)})))
            labels[name] = f"{labels[method]}, {seeds} seeds averaged"
    added = tuple(name for name in methods if name not in grid.methods)
    if not added:
        raise ValueError(f"--ensemble averages the seeds of a method, but {grid.root} has one seed of each.")
    return replace(grid, methods=tuple(methods), labels=labels, runs=runs, ensembles=added)


def _metrics(runs: Sequence[RunResult], column: ScoreColumn, n_bins: int) -> dict[str, float]:
    """What the averaged prediction of one evaluation split scores."""
    kept = aligned_predictions(runs, column.prefix)
    lacking = sorted({run.folder for run in runs} - {run.folder for run, *_ in kept})
    if lacking:
        raise FileNotFoundError(
            f"{lacking[0] / column.prefix}_predictions.parquet is not there, and --ensemble averages what it holds: "
            "repeat the run with --save_predictions true."
        )
    logits, regression = np.stack([one for *_, one in kept]), column.task.label_names is None
    mean = logits.mean(0) if regression else ensemble_scores(torch.from_numpy(logits)).log_probs.numpy()
    compute_metrics = make_compute_metrics(column.task.metrics, regression, n_bins)
    scores = compute_metrics(EvalPrediction(mean, kept[0][1]))
    return {f"{column.prefix}_{name}": value for name, value in scores.items()}
