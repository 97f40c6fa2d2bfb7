# SPDX-License-Identifier: Apache-2.0
"""The runs below a folder, arranged by task, method and seed for a report."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_runs.runs.content import DATA_PLACES, MODEL_PLACES
from glue_runs.runs.results import GRID_NAME, RunResult, check_finite, deciding_flags, load_results, read_grid
from glue_runs.tasks.glue import GLUE_TASKS, PAPER_TASKS, GlueTask, get_task
from glue_runs.tasks.types import OWN, GlueSplit, TsvLayout

__all__ = ["ResultGrid", "ScoreColumn", "load_grid"]

OF_A_RUN = ("seed", "report_as", *MODEL_PLACES, *DATA_PLACES)  # said by other means
LISTS = ("tasks", "methods", "seeds")
FIRST_METHODS = ("vanilla", "mixup", "logitmix")
HEADLINES = ("matthews_correlation", "spearmanr", "accuracy")  # the first one that a task has stands for it (Table 3)


@dataclass(frozen=True)
class ScoreColumn:
    """One evaluation split of a task.

    Args:
        task (`GlueTask`): The task.
        prefix (`str`): Prefix of its metrics: `eval`, or `eval_matched` and `eval_mismatched`.
        score (`str`): Name of the headline score, one of `HEADLINES`.
        averaged (`bool`): Whether the score enters the average; of several splits, the last does, as in the paper.
    """

    task: GlueTask
    prefix: str
    score: str
    averaged: bool

    @property
    def title(self) -> str:
        """Name of the column, such as `MNLI-mm`."""
        if self.task.name == OWN:
            return self.task.folder
        return Path(self.task.split(self.prefix.replace("eval", "test")).submission).stem


@dataclass(frozen=True)
class ResultGrid:
    """Finished runs and the order in which a report shows them.

    Args:
        root (`Path`): Folder that holds them.
        methods (`tuple` of `str`): Method specifications, in order.
        columns (`tuple` of `ScoreColumn`): Evaluation splits, in order.
        labels (`dict`): Display name of each method.
        runs (`dict`): From `(task, method, seed)` to the run, in order.
        missing (`tuple` of triples): Task, method and seed of each run that is expected and not there.
        settings (`dict`): What `grid.json` holds.
        warnings (`tuple` of `str`): Seeds of one task and method that were trained with different flags.
        ensembles (`tuple` of `str`): The methods whose runs are seeds of others, averaged.
    """

    root: Path
    methods: tuple[str, ...]
    columns: tuple[ScoreColumn, ...]
    labels: dict[str, str]
    runs: dict[tuple[str, str, int], RunResult]
    missing: tuple[tuple[str, str, int], ...]
    settings: dict[str, Any]
    warnings: tuple[str, ...] = ()
    ensembles: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[GlueTask, ...]:
        """The tasks, in order."""
        return tuple({column.task.name: column.task for column in self.columns}.values())

    def of(self, task: GlueTask, method: str) -> dict[int, RunResult]:
        """Runs of one task and method, by seed."""
        return {seed: run for (name, spec, seed), run in self.runs.items() if (name, spec) == (task.name, method)}

    def values(self, column: ScoreColumn, method: str, metric: str) -> dict[int, float]:
        """One metric, such as `accuracy` or `ece`, of each seed that has it."""
        key, runs = f"{column.prefix}_{metric}", self.of(column.task, method)
        return {seed: run.metrics[key] for seed, run in runs.items() if key in run.metrics}


def load_grid(root: str | Path) -> ResultGrid:
    """Arrange all finished runs below a folder.

    `grid.json` in that folder may hold the order of `methods` and `tasks`, `labels` of methods, the `seeds` that are
    expected, and the `commands` that made the runs. Without it, `vanilla`, `mixup` and `logitmix` come first, tasks
    stand as in the paper's Table 3, and every seed that is found is expected of every task and method.

    Args:
        root (`str` or `Path`): The folder.

    Returns:
        `ResultGrid`: Runs and their order.

    Raises:
        FileNotFoundError: If the folder does not exist or holds no finished run.
        ValueError: If a file in it is broken, a task is none of GLUE nor the user's own, or a run is there twice.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the one that the runs were written to.")
    results, settings = load_results(root), read_grid(root / GRID_NAME)
    known = {}
    for run in results:
        if run.task != OWN and run.task not in GLUE_TASKS:
            raise ValueError(
                f"{run.folder}: {run.task!r} is no GLUE task, nor one of your own texts ({OWN!r}); keep such runs out "
                "of the folder."
            )
        check_finite(run)
        key = (run.task, run.method, run.seed)
        if key in known:
            raise ValueError(
                f"{known[key].folder} and {run.folder} are both {run.task}, {run.method}, seed {run.seed}; remove one."
            )
        known[key] = run
    methods = _ordered(settings.get("methods", FIRST_METHODS), {run.method for run in results})
    tasks = _ordered(settings.get("tasks", PAPER_TASKS), {run.task for run in results})
    seeds = sorted({run.seed for run in results})
    expected = itertools.product(*(settings.get(*pair) for pair in zip(LISTS, (tasks, methods, seeds), strict=True)))
    given = {method: settings.get("labels", {}).get(method, method) for method in methods}
    shared = {label for label in given.values() if list(given.values()).count(label) > 1}
    labels = {method: f"{label} ({method})" if label in shared else label for method, label in given.items()}
    return ResultGrid(
        root=root,
        methods=tuple(methods),
        columns=tuple(
            column for name in tasks for column in _columns(own_task(results) if name == OWN else get_task(name))
        ),
        labels=labels,
        runs={key: known[key] for key in itertools.product(tasks, methods, seeds) if key in known},
        missing=tuple(key for key in expected if key not in known),
        settings=settings,
        warnings=tuple(_different_flags(known)),
    )


def _different_flags(runs: Mapping[tuple[str, str, int], RunResult]) -> Iterator[str]:
    """One line for each flag in which the seeds of a task and method differ."""
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for (task, method, _), run in runs.items():
        groups.setdefault((task, method), []).append(run)
    for (task, method), group in groups.items():
        for name in sorted({name for run in group for name in deciding_flags(run.config)} - set(OF_A_RUN)):
            values = {run.seed: run.config.get(name) for run in group}
            if any(value != values[group[0].seed] for value in values.values()):
                told = ", ".join(f"{value} for seed {seed}" for seed, value in values.items())
                yield f"{task} {method} was trained with different {name}: {told}"


def _ordered(first: Sequence[str], names: set[str]) -> list[str]:
    """The names found: those of `first` in its order, then the others alphabetically."""
    return [name for name in first if name in names] + sorted(names - set(first))


def own_task(results: Sequence[RunResult]) -> GlueTask:
    """What is known of the user's own data from the metrics of its runs.

    Raises:
        ValueError: If they are neither those of one class per row nor those of a regression.
    """
    runs = [run for run in results if run.task == OWN]
    kinds = {tuple(f"eval_{name}" in run.metrics for name in (*HEADLINES, "precision", "micro_f1")) for run in runs}
    regression = (False, True, False, False, False)
    if kinds not in ({regression}, {(False, False, True, False, False)}):
        raise ValueError(
            f"{runs[0].folder}: a report compares runs with one class per text, or with a score; these have tags, "
            "several classes per text, nothing evaluated, or other labels than their neighbours: keep them out of the "
            "folder, and compare their all_results.json."
        )
    labels, metrics = (None, ("pearson", "spearmanr")) if kinds == {regression} else ((), ("accuracy",))
    split = GlueSplit("validation", "", TsvLayout(texts=(), label="label"))
    return GlueTask(OWN, "own data", (), labels, None, metrics, (split,))


def _columns(task: GlueTask) -> list[ScoreColumn]:
    prefixes = [name.replace("validation", "eval") for name in task.evaluation_splits]
    score = next(name for name in HEADLINES if name in task.metrics)
    return [ScoreColumn(task, prefix, score, prefix == prefixes[-1]) for prefix in prefixes]
