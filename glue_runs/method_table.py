# SPDX-License-Identifier: Apache-2.0
"""One table that sets methods side by side on one task: accuracy, calibration and time per step."""

from collections.abc import Mapping, Sequence

from glue_runs.results import RunResult
from glue_runs.statistics import estimate
from logitmix_nlp.reports.tables import Column, Table

__all__ = ["FIGURES", "method_table", "run_figures"]

FIGURES = ("accuracy", "ece", "oe", "nll", "brier")


def run_figures(run: RunResult, prefix: str = "eval") -> dict[str, float]:
    """What [`method_table`] shows of a finished run.

    Args:
        run (`RunResult`): With the figures of one evaluation split.
        prefix (`str`): Of that split.

    Raises:
        ValueError: If the run was not evaluated.
    """
    missing = [name for name in FIGURES if f"{prefix}_{name}" not in run.metrics]
    if missing:
        raise ValueError(f"{run.folder} has no {prefix}_{missing[0]}: repeat its command with --do_eval.")
    figures = {name: run.metrics[f"{prefix}_{name}"] for name in FIGURES}
    return {**figures, "seconds_per_step": 1 / run.metrics["train_steps_per_second"]}


def method_table(title: str, runs: Mapping[str, Sequence[Mapping[str, float]]], n_bins: int) -> Table:
    """Lay out the figures of all methods.

    Args:
        title (`str`): Caption.
        runs (`Mapping[str, Sequence[Mapping[str, float]]]`): Name of each method and for each of its seeds `accuracy`,
            `ece`, `oe`, `nll`, `brier` and `seconds_per_step`.
        n_bins (`int`): Confidence bins of ECE and OE.

    Returns:
        `Table`: Mean and standard deviation over the seeds; the best figure of each column is set in bold. Times are
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
    return Table("methods", title, "method", tuple(columns.values()), tuple(rows), (note,))
