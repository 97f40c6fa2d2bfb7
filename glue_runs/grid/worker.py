# SPDX-License-Identifier: Apache-2.0
"""The process of one run of a grid: it reports how far it is, and it ends when the process that started it ends."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

import filelock
from transformers import TrainerCallback

from glue_runs.runs import run
from glue_runs.runs.record import FLAGS_NAME, LOCK_NAME, LOG_NAME, PROGRESS_NAME
from glue_runs.runs.results import is_finished
from logitmix_nlp.whole_files import write_json

__all__ = [
    "GRID_RUN", "Program", "ProgressFile", "end_with_parent", "last_line", "main", "read_progress", "run_as_worker",
    "run_once", "start",
]  # fmt: skip

PARENT = "GLUE_RUNS_PARENT"


class Program(NamedTuple):
    """What executes a run in a process of its own: `python -m module folder/file`."""

    module: str
    file: str


GRID_RUN = Program("glue_runs.grid.worker", FLAGS_NAME)
LOCK_SECONDS = 30  # a process that was killed holds its lock no longer; one whose parent died ends within a second


class ProgressFile(TrainerCallback):
    """Writes the share of training that is done to a file, once a second at most.

    Args:
        path (`Path`): File to write.
    """

    def __init__(self, path: Path):
        self.path, self.written = path, 0.0

    def on_step_end(self, args, state, control, **kwargs):
        """Write `done`, in `[0, 1]`."""
        if state.is_world_process_zero and time.monotonic() - self.written > 1:
            write_json(self.path, {"done": state.global_step / state.max_steps})
            self.written = time.monotonic()


def read_progress(folder: Path) -> float:
    """Share of training that is done, in `[0, 1]`; 0 if the run has not reported yet."""
    try:
        return json.loads((folder / PROGRESS_NAME).read_text(encoding="utf-8"))["done"]
    except FileNotFoundError:
        return 0.0


def start(folder: Path, environment: dict[str, str] | None = None, program: Program = GRID_RUN) -> subprocess.Popen:
    """Start the process of the run whose flags lie in `folder`; what it prints goes to `log.txt` there.

    Args:
        folder (`Path`): Folder of the run.
        environment (`dict`, *optional*): Environment variables to set for it.
        program (`Program`): What executes the run.

    Returns:
        `subprocess.Popen`: The process. It is in a session of its own: Ctrl-C reaches the grid, not the run.
    """
    environment = {**os.environ, **(environment or {}), PARENT: str(os.getpid())}
    with (folder / LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", program.module, str(folder / program.file)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
        )  # fmt: skip


def last_line(folder: Path) -> str:
    """The last line that the run printed: its error, if it failed."""
    lines = (folder / LOG_NAME).read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")


def end_with_parent(parent: int, every: float = 0.5) -> None:
    """End this process, without clean-up, as soon as its parent is another one than `parent`; never returns."""
    while os.getppid() == parent:
        time.sleep(every)
    os._exit(1)


def main(flags_file: Path) -> int:
    """Execute the run whose flags lie in the file, unless another process is at it.

    Args:
        flags_file (`Path`): JSON file of flags, in the folder of the run.

    Returns:
        `int`: Exit status, see [`glue_runs.runs.run.main`].
    """
    folder = flags_file.parent
    return run_once(
        folder,
        lambda: is_finished(folder, json.loads(flags_file.read_text(encoding="utf-8"))),
        lambda: run.main([str(flags_file)], [ProgressFile(folder / PROGRESS_NAME)]),
    )


def run_once(folder: Path, finished: Callable[[], bool], execute: Callable[[], int]) -> int:
    """Execute a run unless it is finished: by another command, or by this one just before its process was killed.

    Args:
        folder (`Path`): Folder of the run; only one process works in it at a time.
        finished (`Callable`): Says whether the run is finished.
        execute (`Callable`): Executes it and returns the exit status.

    Returns:
        `int`: Exit status: 0 if it is finished, 2 if another process works in the folder, else that of `execute`.
    """
    try:
        with filelock.FileLock(folder / LOCK_NAME, timeout=LOCK_SECONDS):
            return 0 if finished() else execute()
    except filelock.Timeout:
        print(f"error: another process works in {folder}; wait for it, or end it.", file=sys.stderr)
        return 2


def run_as_worker(main: Callable[[Path], int]) -> NoReturn:
    """Execute the run whose file is the first argument of this process, and end when the parent process ends."""
    threading.Thread(target=end_with_parent, args=(int(os.environ[PARENT]),), daemon=True).start()
    sys.exit(main(Path(sys.argv[1])))


if __name__ == "__main__":
    run_as_worker(main)
