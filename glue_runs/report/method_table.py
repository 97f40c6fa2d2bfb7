# SPDX-License-Identifier: Apache-2.0
"""One table that sets methods side by side on one task: accuracy, calibration and time per step."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from transformers import TrainingArguments

from glue_runs.runs.results import RunResult, deciding_flags
from logitmix_nlp.reports.tables import Column, Table, estimate
from logitmix_nlp.training.arguments import LogitMixTrainingArguments

__all__ = ["METRICS", "check_repeats", "method_table", "run_metrics", "uneven_settings"]

SEEDS = ("seed", "data_seed")
BASE_FLAGS = {field.name for field in dataclasses.fields(TrainingArguments)}
METHOD_FLAGS = {
    field.name for field in dataclasses.fields(LogitMixTrainingArguments) if field.name not in BASE_FLAGS
} | {"report_as", "label_smoothing_factor"}
METRICS = ("accuracy", "ece", "oe", "nll", "brier")


def _differences(runs: Sequence[RunResult], left_out: Collection[str] = ()) -> dict[str, dict[str, list[str]]]:
    """Flags that runs do not share: name, value as text (`unset` if not given), and the methods that have it."""
    flags = [deciding_flags(run.config) for run in runs]
    differences: dict[str, dict[str, list[str]]] = {}
    for name in sorted({name for own in flags for name in own} - {*SEEDS, *left_out}):
        values: dict[str, list[str]] = {}
        for run, own in zip(runs, flags, strict=True):
            methods = values.setdefault(str(own.get(name, "unset")), [])
            methods += [run.method] * (run.method not in methods)
        if len(values) > 1:
            differences[name] = values
    return differences


def check_repeats(runs: Sequence[RunResult]) -> None:
    """Refuse, with a `ValueError`, runs of one method that do not repeat each other with other seeds.

    A seed that occurs twice is refused, and a flag that decides on the result and differs.
    """
    places = {}
    for run in runs:
        if run.seed in places:
            raise ValueError(
                f"{run.method}, seed {run.seed}, is there twice: {places[run.seed]}, {run.folder}. Keep one."
            )
        places[run.seed] = run.folder
    for name, values in _differences(runs).items():
        raise ValueError(
            f"Runs of {runs[0].method} differ in {name} ({', '.join(values)}), which no mean may hide: keep them in "
            "folders of their own, or give each kind a name with --report_as."
        )


def uneven_settings(runs: Sequence[RunResult]) -> list[str]:
    """Sentences on flags in which methods differ, but for those that make a method what it is."""
    notes = []
    for name, values in _differences(runs, METHOD_FLAGS).items():
        parts = [f"{value} ({', '.join(methods)})" for value, methods in values.items()]
        notes.append(f"Not alike: {name} is {'; '.join(parts)}.")
    return notes


def run_metrics(run: RunResult, prefix: str = "eval") -> dict[str, float]:
    """What [`method_table`] shows of a finished run; a `ValueError` if it was not evaluated."""
    missing = [name for name in METRICS if f"{prefix}_{name}" not in run.metrics]
    if missing:
        raise ValueError(f"{run.folder} has no {prefix}_{missing[0]}: repeat its command with --do_eval.")
    metrics = {name: run.metrics[f"{prefix}_{name}"] for name in METRICS}
    return {**metrics, "seconds_per_step": 1 / run.metrics["train_steps_per_second"]}


def method_table(
    title: str, runs: Mapping[str, Sequence[Mapping[str, float]]], n_bins: int, notes: Sequence[str] = ()
) -> Table:
    """Lay out the metrics of all methods.

    Args:
        title (`str`): Caption.
        runs (`Mapping[str, Sequence[Mapping[str, float]]]`): Name of each method and for each of its seeds `accuracy`,
            `ece`, `oe`, `nll`, `brier` and `seconds_per_step`.
        n_bins (`int`): Confidence bins of ECE and OE.
        notes (`Sequence[str]`): Lines to add below.

    Returns:
        `Table`: Mean and standard deviation over the seeds; the best value of each column is set in bold. Times are
        in units of the first method's.
    """
    columns = {
        "accuracy": Column("accuracy", best="max", scale=100.0),
        "ece": Column(f"ECE ({n_bins} bins)", best="min", decimals=4),
        "oe": Column("OE", best="min", decimals=4),
        "nll": Column("NLL", best="min", decimals=4),
        "brier": Column("Brier", best="min", decimals=4),
        "seconds_per_step": Column("time per step", decimals=2),
    }
    unit = estimate([run["seconds_per_step"] for run in next(iter(runs.values()))]).mean
    scales = {"seconds_per_step": 1 / unit}
    rows = [
        (method, tuple(estimate([run[key] * scales.get(key, 1.0) for run in seeds]) for key in columns))
        for method, seeds in runs.items()
    ]
    note = f"Lower ECE, OE, NLL and Brier score are better. Times: 1.00 is {unit:.3f} s."
    return Table("methods", title, "method", tuple(columns.values()), tuple(rows), (note, *notes))
