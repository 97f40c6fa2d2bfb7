# SPDX-License-Identifier: Apache-2.0
"""`python -m glue_runs study`: execute what is not finished of a study, collect its rows, write its page."""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from glue_runs.grid.executors import execute_locally
from glue_runs.grid.progress_bar import follow
from glue_runs.grid.worker import Program
from glue_runs.study.page import write_page
from glue_runs.study.plan import PLAN_NAME, Study, StudyRun, plan_block, read_study, write_plan
from glue_runs.study.rows import collect, finished_rows, read_rows
from logitmix_nlp.commands import refuse

__all__ = ["StudyArguments", "main"]

USAGE = (
    "python -m glue_runs study FILE [--output_dir R --data_dir DATA --workers N] [--collect true] [--repeat N] "
    "[--report true]"
)
STUDY_RUN = Program("glue_runs.study.run", PLAN_NAME)
HINT = "repeat the command to go on; finished runs are kept"


@dataclass
class StudyArguments:
    """Which study, and what to do with it."""

    study: str = field(metadata={"help": "File of the study, YAML or JSON; results.csv and the page lie beside it."})
    output_dir: str = field(
        default="runs/study", metadata={"help": "Folder of the runs; each gets TASK/REGIME/METHOD/RATE/seed-N in it."}
    )
    data_dir: str = field(default=".", metadata={"help": "Folder that the paths of the data are relative to."})
    workers: int = field(default=1, metadata={"help": "Runs at a time."})
    collect: bool = field(default=False, metadata={"help": "Only write the rows of the finished runs to results.csv."})
    repeat: int = field(
        default=0, metadata={"help": "Only repeat so many runs of results.csv, drawn by chance, and compare figures."}
    )
    report: bool = field(
        default=False, metadata={"help": "Only write README.md, plots and summary.json from results.csv."}
    )

    def __post_init__(self):
        if self.workers < 1 or self.repeat < 0:
            raise ValueError(
                f"--workers must be at least 1 and --repeat at least 0, got {self.workers}, {self.repeat}."
            )

    @property
    def results(self) -> Path:
        """File of the rows."""
        return Path(self.study).with_name("results.csv")


def main(argv: Sequence[str]) -> int:
    """Execute a study, collect its rows, repeat some of them, or write its page.

    Args:
        argv (`Sequence[str]`): The file of the study, and flags of [`StudyArguments`].

    Returns:
        `int`: 0 if all went well; 1 if runs failed, or a repeated run gave other figures; 2 if the file or the flags
            are wrong; 130 after Ctrl-C.
    """
    argv = list(argv)
    if argv and not argv[0].startswith("-"):
        argv.insert(0, "--study")
    try:
        parser = HfArgumentParser(StudyArguments, usage=USAGE, allow_abbrev=False)
        (args,) = parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
        study = read_study(args.study)
        if args.collect:
            print(f"{args.results} holds {collect(Path(args.output_dir), args.results)} runs.", file=sys.stderr)
            return 0
        if args.report:
            write_page(study, args.results)
            return 0
        return repeat_some(study, args) if args.repeat else execute_study(study, args)
    except (ValueError, OSError) as error:
        return refuse(error)
    except KeyboardInterrupt:
        print(f"stopped; {HINT}.", file=sys.stderr)
        return 130


def execute_study(study: Study, args: StudyArguments) -> int:
    """Execute the runs of each block that neither the folder nor `results.csv` holds; say which failed."""
    failures, total = [], 0
    for number, block in enumerate(study.blocks, start=1):
        rows = finished_rows(Path(args.output_dir), args.results)
        runs = plan_block(study, block, args.output_dir, rows)
        todo = [run for run in runs if run.digest not in rows]
        print(f"block {number} of {len(study.blocks)}: {len(todo)} of {len(runs)} runs to do.", file=sys.stderr)
        failures += _execute(runs, todo, args)
        total += len(runs)
    for run, problem in failures:
        print(f"failed: {run.name}: {problem} (log: {run.folder / 'log.txt'})", file=sys.stderr)
    print(f"{len(failures)} runs failed; {HINT}." if failures else f"All {total} runs are finished.", file=sys.stderr)
    return 1 if failures else 0


def repeat_some(study: Study, args: StudyArguments) -> int:
    """Execute some runs of `results.csv` anew and compare the digests of their logits."""
    known, planned = read_rows(args.results), {}
    for block in study.blocks:
        try:
            planned |= {run.digest: run for run in plan_block(study, block, args.output_dir, known)}
        except ValueError:  # its learning rate is not chosen yet, so none of its runs is finished
            continue
    able = sorted(set(known) & set(planned))
    if len(able) < args.repeat:
        raise ValueError(f"{args.results} holds {len(able)} runs of this study, fewer than --repeat {args.repeat}.")
    runs = [planned[digest] for digest in random.sample(able, args.repeat)]
    done = [run.name for run in runs if run.finished]
    if done:
        raise ValueError(f"{args.output_dir} holds {done[0]} already; give another --output_dir to repeat it in.")
    failures = _execute(runs, runs, args)
    again = finished_rows(Path(args.output_dir), Path(args.output_dir) / "none.csv")
    other = [run for run in runs if run.digest in again and again[run.digest]["digest"] != known[run.digest]["digest"]]
    for run in other:
        print(f"other logits: {run.name}", file=sys.stderr)
    same = len(runs) - len(other) - len(failures)
    print(f"{same} of {len(runs)} repeated runs gave the same logits, bit for bit.", file=sys.stderr)
    return 0 if same == len(runs) else 1


def _execute(runs: Sequence[StudyRun], todo: Sequence[StudyRun], args: StudyArguments) -> list[tuple[StudyRun, str]]:
    """Execute runs under one progress view; return those that failed, with the reason."""
    for run in todo:
        write_plan(run, args.data_dir)
    return follow(runs, todo, execute_locally(todo, args.workers, STUDY_RUN), _summary)


def _summary(run: StudyRun) -> str:
    kept = run.result()
    return "score {score:.4f}, NLL after T {after_nll:.4f}".format(**kept["test"]) + f", {kept['seconds']:.0f} s"
