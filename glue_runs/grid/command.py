# SPDX-License-Identifier: Apache-2.0
"""`python -m glue_runs run`: plan a grid, execute what is not finished, say what failed."""

import shlex
import sys
from collections.abc import Sequence

from glue_runs.grid.executors import execute
from glue_runs.grid.plan import GridArguments, PlannedRun, plan_runs, write_grid, write_plan
from glue_runs.grid.progress_bar import follow
from glue_runs.runs.command_line import FlagParser
from glue_runs.runs.results import read_result
from logitmix_nlp.commands import refuse

__all__ = ["main"]

USAGE = (
    "python -m glue_runs run --model MODEL --output_dir R [--tasks cola mrpc ...] [--methods vanilla logitmix ...] "
    "[--seeds 1 2 ...] [any flag of scripts/run_glue.py]"
)
HINT = "repeat the command to go on; finished runs are kept"


def main(argv: Sequence[str]) -> int:
    """Run a grid.

    Args:
        argv (`Sequence[str]`): Flags of [`GridArguments`], and those of `run_glue.py` that hold for all runs.

    Returns:
        `int`: 0 if all runs are finished, 1 if some failed, 2 if the flags are wrong, 130 after Ctrl-C.
    """
    parser = FlagParser(GridArguments, usage=USAGE, allow_abbrev=False)
    try:
        args, rest = parser.parse_args_into_dataclasses(
            list(argv), return_remaining_strings=True, look_for_args_file=False
        )
        runs = plan_runs(args, rest)
        todo = [run for run in runs if not run.finished]
        write_grid(args, runs, ["python", "-m", "glue_runs", "run", *argv])
        for run in todo:
            write_plan(run)
        failures = execute_and_show(runs, todo, args)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
    except KeyboardInterrupt:
        print(f"stopped; {HINT}.", file=sys.stderr)
        return 130
    for run, problem in failures:
        print(f"failed: {run.name}: {problem} (log: {run.folder / 'log.txt'})", file=sys.stderr)
    if failures:
        print(f"{len(failures)} of {len(runs)} runs failed; {HINT}.", file=sys.stderr)
        return 1
    report = shlex.join(["python", "-m", "glue_runs", "report", args.output_dir])
    print(f"All {len(runs)} runs are finished: {report}", file=sys.stderr)
    return 0


def execute_and_show(
    runs: Sequence[PlannedRun], todo: Sequence[PlannedRun], args: GridArguments
) -> list[tuple[PlannedRun, str]]:
    """Execute the unfinished runs under one progress view; return those that failed, with the reason."""
    return follow(runs, todo, execute(todo, args), _score)


def _score(run: PlannedRun) -> str:
    result = read_result(run.folder)
    names = [name for name in result.metrics if name.startswith("eval_") and name.count("_") <= 2]
    names = [name for name in names if not name.endswith(("runtime", "second", "samples", "loss"))]
    return ", ".join(f"{name.removeprefix('eval_')} {result.metrics[name]:.4f}" for name in names)
