# SPDX-License-Identifier: Apache-2.0
"""`python -m glue_runs study`: execute what is not finished of a study, block by block, and collect its rows."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from glue_runs.executors import execute_locally
from glue_runs.grid import PlannedRun
from glue_runs.progress import ProgressView
from glue_runs.study.plan import Study, StudyRun, plan_block, read_study, write_plan
from glue_runs.study.rows import write_rows
from glue_runs.worker import Program

__all__ = ["StudyArguments", "main"]

USAGE = "python -m glue_runs study FILE --output_dir R [--data_dir DATA] [--workers N] [--rows RESULTS.csv]"
STUDY_RUN = Program("glue_runs.study.run", "plan.json")
HINT = "repeat the command to go on; finished runs are kept"


@dataclass
class StudyArguments:
    """Which study, and what to do with it."""

    study: str = field(metadata={"help": "File of the study, YAML or JSON."})
    output_dir: str = field(metadata={"help": "Folder of the runs; each gets TASK/REGIME/METHOD/RATE/seed-N in it."})
    data_dir: str = field(default=".", metadata={"help": "Folder that the paths of the data are relative to."})
    workers: int = field(default=1, metadata={"help": "Runs at a time."})
    rows: str | None = field(
        default=None,
        metadata={"help": "Only write the rows of all finished runs into this CSV file and keep those it has."},
    )

    def __post_init__(self):
        if self.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {self.workers}.")


def main(argv: Sequence[str]) -> int:
    """Execute a study, or collect its rows.

    Args:
        argv (`Sequence[str]`): The file of the study, and flags of [`StudyArguments`].

    Returns:
        `int`: 0 if all runs are finished, 1 if some failed, 2 if the file or the flags are wrong, 130 after Ctrl-C.
    """
    argv = list(argv)
    if argv and not argv[0].startswith("-"):
        argv.insert(0, "--study")
    try:
        parser = HfArgumentParser(StudyArguments, usage=USAGE, allow_abbrev=False)
        (args,) = parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
        study = read_study(args.study)
        if args.rows is not None:
            count = write_rows(Path(args.output_dir), Path(args.rows))
            print(f"{args.rows} holds {count} runs.", file=sys.stderr)
            return 0
        failures = execute_study(study, args)
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; {HINT}.", file=sys.stderr)
        return 130
    for run, problem in failures:
        print(f"failed: {run.name}: {problem} (log: {run.folder / 'log.txt'})", file=sys.stderr)
    print(f"{len(failures)} runs failed; {HINT}." if failures else "All runs are finished.", file=sys.stderr)
    return 1 if failures else 0


def execute_study(study: Study, args: StudyArguments) -> list[tuple[StudyRun, str]]:
    """Execute the unfinished runs of each block in turn; return those that failed, with the reason."""
    failures = []
    for number, block in enumerate(study.blocks, start=1):
        runs = plan_block(study, block, args.output_dir)
        todo = [run for run in runs if not run.finished]
        print(f"block {number} of {len(study.blocks)}: {len(todo)} of {len(runs)} runs to do.", file=sys.stderr)
        for run in todo:
            write_plan(run, args.data_dir)
        failures += _execute(runs, todo, args.workers)
    return failures


def _execute(
    runs: Sequence[StudyRun], todo: Sequence[StudyRun], workers: int
) -> list[tuple[StudyRun | PlannedRun, str]]:
    """Execute runs under one progress view."""
    failures, view = [], ProgressView(runs, todo)
    outcomes = execute_locally(todo, workers, STUDY_RUN)
    try:
        for outcome in outcomes:
            if outcome is None:
                view.update()
                continue
            run, problem = outcome
            if problem is None and not run.finished:
                problem = "it ended without a result"
            if problem is not None:
                failures.append((run, problem))
            view.end(run, problem, "" if problem else _summary(run))
    finally:
        outcomes.close()
        view.close()
    return failures


def _summary(run: StudyRun) -> str:
    found = run.result()
    return "score {score:.4f}, NLL after T {after_nll:.4f}".format(**found["test"]) + f", {found['seconds']:.0f} s"
