# SPDX-License-Identifier: Apache-2.0
"""Tables of differences between methods, with intervals from the predictions that the runs kept."""

from collections.abc import Iterable, Sequence

import numpy as np

from glue_runs.report.grid import ResultGrid, ScoreColumn
from glue_runs.report.statistics import bootstrap_scores, difference_interval, paired_difference, resampled
from glue_runs.runs.results import RunResult
from logitmix_nlp.functional.bootstrap import value_of
from logitmix_nlp.reports.tables import Column, Estimate, Table

__all__ = ["EXPLANATION", "REFERENCES", "aligned_predictions", "difference_tables", "kept_predictions"]

REFERENCES = ("vanilla", "mixup")
EXPLANATION = (
    "Runs of the same seed are compared on the same development rows. Intervals are 95% percentile intervals of {} "
    "resamples of seeds and rows together, the same rows for both methods. From n seeds the bootstrap sees (n − "
    "1)/n of the variance between seeds; from one seed, none of it. Resampling raises ECE and OE, most of all where "
    "they are small and rows are few, so that an interval may lie nearer to 0 than its difference. Nothing is "
    "corrected for the number of intervals."
)
TOLERANCE = 0.005  # how far a metric may be off the one that the kept predictions give
Pair = tuple[str, str]


def difference_tables(grid: ResultGrid, n_bootstrap: int, n_bins: int) -> list[Table]:
    """Differences of methods to `vanilla` and to `mixup`, seed by seed, with bootstrap intervals: score, ECE and OE.

    Args:
        grid (`ResultGrid`): The runs.
        n_bootstrap (`int`): Number of resamples.
        n_bins (`int`): Number of confidence bins of ECE and OE.

    Returns:
        `list[Table]`: Empty if there is nothing to compare with.

    Raises:
        ValueError: If predictions do not give the run's metrics, or runs of a task were evaluated on other rows.
    """
    pairs = [
        (method, reference)
        for reference in REFERENCES
        for method in grid.methods
        if reference in grid.methods and method != reference and (method, reference) != REFERENCES
    ]
    differences = {column: _differences(grid, column, pairs, n_bootstrap, n_bins) for column in grid.columns}
    calibrated = [column for column in grid.columns if column.task.label_names is not None]
    wanted = [("score", "Differences of scores, in percent points", grid.columns, 100.0, 2)]
    wanted += [(name, f"Differences of {name.upper()} ({n_bins} bins)", calibrated, 1.0, 3) for name in ("ece", "oe")]
    tables = []
    for name, title, columns, scale, decimals in wanted:
        style = {"scale": scale, "decimals": decimals, "signed": True, "interval": True}
        rows = [
            (
                " − ".join(grid.labels[method] for method in pair),
                tuple(differences[column].get((name, pair)) for column in columns),
            )
            for pair in pairs
        ]
        cells = [cell for _, row in rows for cell in row if cell is not None]
        if cells:
            heads = tuple(Column(column.title, **style) for column in columns)
            tables.append(Table(f"difference_{name}", title, "difference", heads, tuple(rows), _notes(cells)))
    return tables


def kept_predictions(run: RunResult, prefix: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Ids, labels and logits of a run, ordered by id; `None` if it kept none; a `ValueError` if they are broken."""
    try:
        ids, labels, logits = run.predictions(prefix)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise ValueError(f"{run.folder}: {prefix}_predictions.parquet is broken ({error}); repeat the run.") from error
    order = np.argsort(ids, kind="stable")
    return ids[order], labels[order], logits[order]


def aligned_predictions(runs: Iterable[RunResult], prefix: str) -> list[tuple[RunResult, np.ndarray, np.ndarray]]:
    """Labels and logits of the runs that kept them, row by row the same; a `ValueError` if their rows differ."""
    kept = [(run, predictions) for run in runs if (predictions := kept_predictions(run, prefix)) is not None]
    for run, (ids, labels, _) in kept:
        first, (first_ids, first_labels, _) = kept[0]
        if not (np.array_equal(ids, first_ids) and np.array_equal(labels, first_labels)):
            raise ValueError(
                f"{first.folder} and {run.folder} were evaluated on different rows or labels; differences need the "
                "same ones, and so do averages: repeat one of them, or report them apart."
            )
    return [(run, labels, logits) for run, (_, labels, logits) in kept]


def _differences(
    grid: ResultGrid, column: ScoreColumn, pairs: Sequence[Pair], n_bootstrap: int, n_bins: int
) -> dict[tuple[str, Pair], Estimate]:
    """Difference of each metric and pair of methods on one evaluation split."""
    names = {"score": column.score}
    if column.task.label_names is not None:
        names |= {"ece": "ece", "oe": "oe"}
    methods = list(dict.fromkeys(method for pair in pairs for method in pair))
    values = {
        (name, method): grid.values(column, method, metric) for name, metric in names.items() for method in methods
    }
    scores_of = _resampled(grid, column, values, names, n_bootstrap, n_bins)
    differences = {}
    for name in names:
        for pair in pairs:
            difference = paired_difference(*(values[name, method] for method in pair))
            if difference is None:
                continue
            seeds = sorted(set(values[name, pair[0]]) & set(values[name, pair[1]]))
            if all((name, method, seed) in scores_of for method in pair for seed in seeds):
                scores = [np.stack([scores_of[name, method, seed] for seed in seeds], axis=1) for method in pair]
                difference = difference._replace(
                    **dict(zip(("low", "high"), difference_interval(*scores), strict=True))
                )
            differences[name, pair] = difference
    return differences


def _resampled(
    grid: ResultGrid, column: ScoreColumn, values: dict, names: dict[str, str], n_bootstrap: int, n_bins: int
) -> dict[tuple[str, str, int], np.ndarray]:
    """Scores `(n_bootstrap,)` of each metric of each run that kept its predictions, all on the same resamples."""
    scorers, methods = {}, dict.fromkeys(method for _, method in values)
    runs = [run for method in methods for run in grid.of(column.task, method).values()]
    kept = aligned_predictions(runs, column.prefix)
    for run, labels, logits in kept:
        for name, metric in names.items():
            scorer = resampled(metric, logits, labels, n_bins)
            value = value_of(scorer, len(labels))
            if abs(value - values[name, run.method].get(run.seed, value)) > TOLERANCE:
                raise ValueError(
                    f"{run.folder}: {column.prefix}_{metric} is {values[name, run.method][run.seed]:.4f}, but the "
                    f"kept predictions give {value:.4f}; repeat the run."
                )
            scorers[name, run.method, run.seed] = scorer
    if not scorers:
        return {}
    return dict(zip(scorers, bootstrap_scores(list(scorers.values()), len(kept[0][1]), n_bootstrap).T, strict=True))


def _notes(cells: Sequence[Estimate]) -> tuple[str, ...]:
    notes = ["Mean over seeds; the interval in brackets, bold where it excludes 0."]
    if any(cell.low is None for cell in cells):
        notes.append("No interval: predictions were not kept.")
    return tuple(notes)
