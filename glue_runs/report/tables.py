# SPDX-License-Identifier: Apache-2.0
"""The tables of a report, made from a grid of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from glue_runs.report import published
from glue_runs.report.grid import ResultGrid
from logitmix_nlp.reports.tables import Column, Estimate, Table, estimate

__all__ = ["calibration_tables", "published_tables", "score_table", "task_table", "time_table"]

BASELINE = "vanilla"
SCORE_NAMES = {"matthews_correlation": "Matthews correlation", "spearmanr": "Spearman correlation"}
CALIBRATION = {
    "ece": "Expected calibration error (ECE, {n_bins} bins)",
    "oe": "Overconfidence error (OE, {n_bins} bins)",
    "nll": "Negative log-likelihood (NLL), in nats",
    "brier": "Brier score, in [0, 2]",
}
AVERAGED = (
    "“Seeds averaged” is one prediction, and so has no deviation: the mean of the probabilities that the models of "
    "the seeds give a row, or of their scores where the task is a regression."
)


def task_table(grid: ResultGrid) -> Table:
    """What was scored, on how many rows."""
    rows = []
    for column in grid.columns:
        runs = [run for method in grid.methods for run in grid.of(column.task, method).values()]
        sizes = [
            ", ".join(str(size) for size in sorted({int(run.metrics[key]) for run in runs if key in run.metrics}))
            for key in ("train_samples", f"{column.prefix}_samples")
        ]
        score = SCORE_NAMES.get(column.score, column.score)
        rows.append((column.title, (score, *(size or None for size in sizes), str(len(runs)))))
    heads = ("score", "training rows", "evaluated rows", "runs")
    return Table("tasks", "Tasks", "task", tuple(map(Column, heads)), tuple(rows))


def score_table(grid: ResultGrid) -> Table:
    """Every method's score on every task, laid out as the paper's Table 3."""
    by_method = {
        method: [grid.values(column, method, column.score) for column in grid.columns] for method in grid.methods
    }
    averaged = [
        place
        for place, column in enumerate(grid.columns)
        if column.averaged
        and all(values[place] for method, values in by_method.items() if method not in grid.ensembles)
    ]
    titles = [column.title for column in grid.columns]
    cells = {method: [_over_seeds(values) for values in by_method[method]] for method in grid.methods}
    notes = ["In percent: accuracy, except " + _exceptions(grid) if _exceptions(grid) else "Accuracy in percent."]
    if len(averaged) > 1:
        listed = ", ".join(titles[place] for place in averaged)
        notes.append(f"The average is over the tasks that every method has: {listed}.")
        titles.append("average")
        for method in grid.methods:
            tasks = [by_method[method][place] for place in averaged]
            cells[method].append(_average(tasks) if all(tasks) else None)
    columns = tuple(Column(title, best="max", scale=100.0) for title in titles)
    return _with_seeds(
        grid, Table("scores", "Scores on the development sets", "method", columns, _rows(grid, cells), tuple(notes))
    )


def calibration_tables(grid: ResultGrid, n_bins: int) -> list[Table]:
    """ECE, OE, NLL and Brier score of every method on every classification task, without those that no run has."""
    columns = [column for column in grid.columns if column.task.label_names is not None]
    tables = []
    for name, title in CALIBRATION.items():
        cells = {
            method: [_over_seeds(grid.values(column, method, name)) for column in columns] for method in grid.methods
        }
        if any(map(any, cells.values())):
            heads = tuple(Column(column.title, best="min", decimals=3) for column in columns)
            table = Table(
                name, title.format(n_bins=n_bins), "method", heads, _rows(grid, cells), ("Lower is better.",)
            )
            tables.append(_with_seeds(grid, table))
    return tables


def time_table(grid: ResultGrid) -> Table | None:
    """Training time of every method as a multiple of `vanilla`'s with the same seed; `None` without `vanilla`."""
    cells = {}
    for method in grid.methods:
        cells[method] = []
        for task in grid.tasks:
            times, base = (
                {seed: run.metrics.get("train_runtime") for seed, run in grid.of(task, name).items()}
                for name in (method, BASELINE)
            )
            shared = [seed for seed in times if times[seed] and base.get(seed)]
            cells[method].append(_over_seeds({seed: times[seed] / base[seed] for seed in shared}))
    if not any(map(any, cells.values())):
        return None
    title = f"Training time, as a multiple of {grid.labels[BASELINE]} with the same seed"
    heads = tuple(Column(task.folder) for task in grid.tasks)
    note = (
        "Wall-clock time of training; of a run that was resumed, that of its last process only. It holds the "
        "evaluations and checkpoints in between, and how busy the machine was with other runs."
    )
    return _with_seeds(grid, Table("time", title, "method", heads, _rows(grid, cells), (note,)))


def published_tables() -> list[Table]:
    """The paper's Table 3, BERT-base and BERT-large apart."""
    heads = tuple(Column(title, best="max", scale=100.0) for title in (*published.COLUMNS, "average"))
    note = (
        f"Published, not computed here: {published.CITATION}. Model and data split may be others than those of the "
        "runs above. In percent, as printed: no seeds, no deviations."
    )
    tables = []
    for model in sorted({row.model for row in published.TABLE_3}):
        rows = [
            (row.label, tuple(Estimate(round(score / 100, 4), n=None) for score in (*row.scores, row.average)))
            for row in published.TABLE_3
            if row.model == model
        ]
        name = f"published_{model.lower().replace('-', '_')}"
        tables.append(Table(name, f"Published scores, {model}", "method", heads, tuple(rows), (note,)))
    return tables


def _over_seeds(values: Mapping[int, float]) -> Estimate | None:
    return estimate(list(values.values())) if values else None


def _average(tasks: Sequence[Mapping[int, float]]) -> Estimate:
    """Mean over tasks; its deviation is that of the seeds' averages, if every task has the same seeds."""
    if all(values.keys() == tasks[0].keys() for values in tasks):
        return estimate([sum(values[seed] for values in tasks) / len(tasks) for seed in tasks[0]])
    mean = sum(estimate(list(values.values())).mean for values in tasks) / len(tasks)
    return Estimate(mean, n=min(len(values) for values in tasks))


def _exceptions(grid: ResultGrid) -> str:
    named = [
        f"{SCORE_NAMES[column.score]} for {column.title}" for column in grid.columns if column.score in SCORE_NAMES
    ]
    return " and ".join(named) + "." if named else ""


def _with_seeds(grid: ResultGrid, table: Table) -> Table:
    seeds = table.usual_seeds()
    if seeds is None:
        return table
    over = f"Mean ± sample standard deviation over {seeds} seeds" if seeds > 1 else "One seed"
    others = any(cell.n not in (seeds, None) for _, row in table.rows for cell in row if cell is not None)
    note = over + (", or over n where a cell says so" if others else "")
    note += "; the best value of a column is bold." if any(column.best for column in table.columns) else "."
    return replace(table, notes=(*table.notes, note, *[AVERAGED] * bool(grid.ensembles)))


def _rows(grid: ResultGrid, cells: Mapping[str, Sequence[Estimate | None]]) -> tuple:
    """Rows of a table from the cells of each method; of averaged seeds no number of seeds is shown in them."""
    rows = []
    for method, row in cells.items():
        plain = [cell and cell._replace(n=None) for cell in row] if method in grid.ensembles else row
        rows.append((grid.labels[method], tuple(plain)))
    return tuple(rows)
