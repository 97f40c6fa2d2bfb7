# SPDX-License-Identifier: Apache-2.0
"""One live view of a grid: a bar that counts finished runs and the finished parts of those that run."""

import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, TextIO

from tqdm import tqdm

from glue_runs.grid.plan import PlannedRun
from glue_runs.grid.worker import read_progress

__all__ = ["ProgressView", "follow"]


class ProgressView:
    """A bar on a terminal; elsewhere one line for each run that ends.

    Args:
        runs (`Sequence[PlannedRun]`): All runs of the grid.
        todo (`Sequence[PlannedRun]`): Those that are not finished.
        stream (`TextIO`, *optional*): Where to show it; standard error if not given.
    """

    def __init__(self, runs: Sequence[PlannedRun], todo: Sequence[PlannedRun], stream: TextIO | None = None):
        self.total, self.ended = len(runs), len(runs) - len(todo)
        self.active = list(todo)
        self.stream = sys.stderr if stream is None else stream
        self.bar = tqdm(
            total=self.total, initial=self.ended, file=self.stream, unit="run", dynamic_ncols=True, leave=False,
            disable=not self.stream.isatty(),
            bar_format="{n:.2f}/{total} runs |{bar}| {elapsed}<{remaining} {postfix}",
        )  # fmt: skip
        if self.ended:
            self.say(f"{self.ended} of {self.total} runs are finished already and are kept.")

    def update(self) -> None:
        """Read how far the running runs are."""
        if self.bar.disable:
            return
        shares = [(run.name, read_progress(run.folder)) for run in self.active]
        running = [f"{name} {share:.0%}" for name, share in shares if share]
        self.bar.n = self.ended + sum(share for _, share in shares)
        self.bar.set_postfix_str(", ".join(running))

    def end(self, run: PlannedRun, problem: str | None, score: str) -> None:
        """Take a run off the bar, and say how it ended."""
        self.ended += 1
        self.active.remove(run)
        self.say(f"[{self.ended}/{self.total}] {run.name}: {score if problem is None else 'FAILED: ' + problem}")
        self.update()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        tqdm.write(line, file=self.stream)
        self.stream.flush()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def follow(
    runs: Sequence[Any],
    todo: Sequence[Any],
    outcomes: Generator[tuple[Any, str | None] | None, None, None],
    summary: Callable[[Any], str],
) -> list[tuple[Any, str]]:
    """Show runs while they are executed; return those that failed, with the reason.

    Args:
        runs (`Sequence`): All runs, with `name`, `folder` and `finished`.
        todo (`Sequence`): Those that are executed.
        outcomes (`Generator`): From an executor: at times `None`, else a run that ended and its problem, if any.
        summary (`Callable`): What to say of a run that succeeded.
    """
    failures, view = [], ProgressView(runs, todo)
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
            view.end(run, problem, "" if problem else summary(run))
    finally:
        outcomes.close()
        view.close()
    return failures
