# SPDX-License-Identifier: Apache-2.0
"""A submission to the GLUE leaderboard: the best runs below a folder, their files checked and packed."""

import io
import shlex
import statistics
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from glue_runs.runs.results import RunResult, check_finite, load_results
from glue_runs.tasks.glue import GLUE_TASKS, GlueTask, get_task
from glue_runs.tasks.prediction_files import check_predictions
from logitmix_nlp.commands import OneLineParser, refuse
from logitmix_nlp.evaluation.data.lines import shown
from logitmix_nlp.whole_files import write_whole

__all__ = ["Choice", "build_submission", "development_score", "main"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP file can hold
_HEADER = ("file", "development score", "run")


class Choice(NamedTuple):
    """Where one leaderboard file comes from.

    Args:
        file (`str`): Name of the file.
        task (`str`): Task whose runs predict it; MNLI for `AX.tsv`.
        result (`RunResult`, *optional*): The run; `None` if no run has the file.
        score (`float`, *optional*): Its score on the development set, see [`development_score`].
    """

    file: str
    task: str
    result: RunResult | None = None
    score: float | None = None


def build_submission(
    root: str | Path,
    out_path: str | Path,
    method: str | None = None,
    seed: int | None = None,
    partial: bool = False,
) -> list[Choice]:
    """Pack the predictions of finished runs into a ZIP file for the leaderboard.

    Each task sends all its files from one run: of those with the most files of the task, the one with the best
    development score; equal ones go to the smallest seed. Every file is checked first. The same runs give the same
    bytes, and the ZIP file appears whole or not at all.

    Args:
        root (`str` or `Path`): Folder below which the runs lie.
        out_path (`str` or `Path`): ZIP file to write.
        method (`str`, *optional*): Method specification of the runs; needed if those below `root` have several.
        seed (`int`, *optional*): Only take runs with this seed.
        partial (`bool`): Leave out files that no run has.

    Returns:
        `list[Choice]`: One for each of the eleven files, sorted by name.

    Raises:
        FileNotFoundError: If there is no finished run below `root`.
        ValueError: If the runs do not say which file to take, one is missing or malformed; the message says what to
            do.
    """
    out_path = Path(out_path)
    if out_path.suffix != ".zip":
        raise ValueError(f"{out_path}: the leaderboard takes ZIP files; give a name that ends with .zip.")
    runs = [run for run in load_results(root) if run.task in GLUE_TASKS and seed in (None, run.seed)]
    where = f"{root}" if seed is None else f"{root}, seed {seed}"
    method = _resolve_method(where, runs, method)
    runs = [run for run in runs if run.method == method]
    choices = [
        choice
        for task in GLUE_TASKS.values()
        if task.trained_on is None
        for choice in _choose(task, [run for run in runs if run.task == task.name])
    ]
    if not partial:
        _refuse_missing(f"{where}, method {method}", choices, runs)
    content = {choice.file: _checked_bytes(choice) for choice in choices if choice.result is not None}
    write_whole(out_path, _zipped(content))
    return sorted(choices)


def development_score(run: RunResult) -> float:
    """The score that seeds are compared by: `combined_score` of a task with two scores, the mean of both MNLI sets.

    Raises:
        ValueError: If the run was not evaluated.
    """
    task = get_task(run.task)
    name = task.metrics[0] if len(task.metrics) == 1 else "combined_score"
    keys = [f"{split.replace('validation', 'eval')}_{name}" for split in task.evaluation_splits]
    check_finite(run)
    missing = [key for key in keys if key not in run.metrics]
    if missing:
        raise ValueError(f"{run.folder}: the run has no {', '.join(missing)}; repeat it: {_again(run, '--do_eval')}")
    return statistics.fmean(run.metrics[key] for key in keys)


def _resolve_method(where: str, runs: Sequence[RunResult], method: str | None) -> str:
    """The method asked for, or the only one that has leaderboard files."""
    methods = sorted({run.method for run in runs if _files(run)})
    if not runs:
        raise ValueError(f"{where}: there is no finished run of a GLUE task; see python -m glue_runs.runs.run -h")
    if not methods:
        raise ValueError(
            f"{where}: none of the {len(runs)} finished runs has prediction files: "
            f"{shown([str(run.folder) for run in runs])}. Repeat their commands with --do_predict, as in: "
            f"{_again(runs[0], '--do_predict')}"
        )
    if method is None and len(methods) > 1:
        raise ValueError(f"{where}: found runs of several methods; choose with --method one of: {', '.join(methods)}.")
    if method is not None and method not in methods:
        lacking = [str(run.folder) for run in runs if run.method == method]
        advice = f" Without them, add --do_predict: {shown(lacking)}." if lacking else ""
        raise ValueError(
            f"{where}: no run of method {method!r} has prediction files; found: {', '.join(methods)}.{advice}"
        )
    return method or methods[0]


def _files(run: RunResult) -> list[str]:
    """Names of the leaderboard files in the folder of a run."""
    return [file for _, file in get_task(run.task).prediction_files if (run.folder / file).is_file()]


def _choose(task: GlueTask, runs: Sequence[RunResult]) -> list[Choice]:
    """The choice for each file of a task."""
    by_seed: dict[int, RunResult] = {}
    for run in (run for run in runs if _files(run)):
        if run.seed in by_seed:
            raise ValueError(
                f"{by_seed[run.seed].folder} and {run.folder} are both runs of {task.name}, {run.method}, seed "
                f"{run.seed}; move one away, or give a folder that holds only one."
            )
        by_seed[run.seed] = run
    scores = {seed: development_score(run) for seed, run in by_seed.items()}
    best = max(by_seed.values(), key=lambda run: (len(_files(run)), scores[run.seed], -run.seed), default=None)
    return [
        Choice(file, task.name, best, scores[best.seed])
        if best is not None and file in _files(best)
        else Choice(file, task.name)
        for _, file in task.prediction_files
    ]


def _refuse_missing(where: str, choices: Sequence[Choice], runs: Sequence[RunResult]) -> None:
    missing = {choice.file: choice.task for choice in choices if choice.result is None}
    if not missing:
        return
    tasks, there = dict.fromkeys(missing.values()), {run.task: run for run in runs}
    advice = [
        f"{task} ({there[task].folder}): {_again(there[task], '--do_predict')}" for task in tasks if task in there
    ]
    untrained = [task for task in tasks if task not in there]
    if untrained:
        command = "python -m glue_runs.runs.run --task_name TASK --do_train --do_eval --do_predict ..."
        advice.append(f"{', '.join(untrained)}: {command}")
    raise ValueError(
        f"{where}: found no {', '.join(missing)}. Run what is missing, or leave it out with --partial. "
        f"{'; '.join(advice)}"
    )


def _again(run: RunResult, flag: str) -> str:
    return shlex.join([*run.command, flag])


def _checked_bytes(choice: Choice) -> bytes:
    task, path = get_task(choice.task), choice.result.folder / choice.file
    split = next(split for split in task.splits if split.submission == choice.file)
    check_predictions(path, task, split)
    return path.read_bytes()


def _zipped(content: dict[str, bytes]) -> bytes:
    """A ZIP file of files by name, the same bytes for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(content.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16  # a plain file on Unix, on every system
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()


def _table(choices: Sequence[Choice]) -> str:
    """One line per file, columns aligned."""
    rows = [_HEADER] + [
        (choice.file, "-", "left out")
        if choice.result is None
        else (choice.file, f"{choice.score:.4f}", str(choice.result.folder))
        for choice in choices
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    return "\n".join(f"{file:<{widths[0]}}  {score:>{widths[1]}}  {run}" for file, score, run in rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Pack a submission and print what is in it; return 2, after one line on stderr, if that cannot be done."""
    parser = OneLineParser(prog="python -m glue_runs submission", description=__doc__)
    parser.add_argument("runs", help="folder below which the finished runs lie")
    parser.add_argument("--output", default="submission.zip", help="ZIP file to write (default: %(default)s)")
    parser.add_argument("--method", help="method of the runs; needed if there are several")
    parser.add_argument("--seed", type=int, help="take runs of this seed (default: the best on the development set)")
    parser.add_argument("--partial", action="store_true", help="leave out files that no run has")
    try:
        options = parser.parse_args(argv)
        choices = build_submission(options.runs, options.output, options.method, options.seed, options.partial)
    except (ValueError, OSError) as error:
        return refuse(error)
    print(_table(choices))
    print(f"Wrote {sum(choice.result is not None for choice in choices)} of {len(choices)} files to {options.output}")
    return 0
