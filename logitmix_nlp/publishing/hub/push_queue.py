# SPDX-License-Identifier: Apache-2.0
"""Saves that wait for the Hub: pushed in order by one thread, retried, and named if they cannot be pushed."""

import atexit
import contextlib
import math
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from logitmix_nlp.publishing.hub.retries import HubPushError, cause_of
from logitmix_nlp.publishing.hub.upload import Target, push_command
from logitmix_nlp.training.checkpoints import numbered_checkpoints

__all__ = [
    "KEPT_NAME", "UNFINISHED", "PushQueue", "Save", "advice_for", "finish_at_exit", "last_step", "left_checkpoints",
    "new_copy",
]  # fmt: skip

logger = logging.get_logger(__name__)
KEPT_NAME = "unpushed"  # folder of the copies, in `output_dir`
ROOM = 10  # copies that must still fit on the disk; a checkpoint with its optimizer takes as much as three
UNFINISHED: set["PushQueue"] = set()  # with saves that wait or messages that nobody read
_CHECKPOINT = re.compile(rf"({PREFIX_CHECKPOINT_DIR}-(\d+))(\.\d+)?")


def advice_for(folder: Path, output_dir: Path, target: Target, own: str | None) -> str:
    """What to do if a save is not pushed, with a command line at the end.

    That command pushes a checkpoint to its `own` folder, never to the root of the repository, where the finished model
    lies; without such a folder, later saves replace this one.
    """
    if own is not None:
        return f"To push it: {push_command(folder, target, own)}"
    command = push_command(output_dir, target)
    if folder == output_dir:
        return f"To push it: {command}"
    return f"Later saves and the finished model replace it; to push that one once it is there: {command}"


def new_copy(copies: Path, name: str) -> Path:
    """A folder that is not there yet, for the copy of a save."""
    names = chain([name], (f"{name}.{number}" for number in count(1)))
    return next(copies / name for name in names if not (copies / name).exists())


def last_step(checkpoint: str | bool | None, output_dir: str | Path) -> float | None:
    """The step of the checkpoint that `Trainer.train` resumes; `None` if it starts anew, or from another folder."""
    if checkpoint is True:
        return math.inf
    if not checkpoint or Path(checkpoint).resolve().parent != Path(output_dir).resolve():
        return None
    named = _CHECKPOINT.fullmatch(Path(checkpoint).name)
    return None if named is None else int(named[2])


def left_checkpoints(output_dir: Path, until: float | None, target: Target, wanted: bool) -> list[tuple[int, Path]]:
    """Step and folder of the checkpoints that earlier processes of a run may not have pushed; deletes useless copies.

    Useless are half copies, copies of saves that later ones replace, and of steps that the run does not resume.

    Args:
        output_dir (`Path`): Folder of the run.
        until (`float`, *optional*): The step that the run resumes; `None` if it starts anew.
        target (`Target`): Where to push, for messages.
        wanted (`bool`): Whether all checkpoints are to be pushed; else copies stay, with a warning.
    """
    copies, until = [], -1 if until is None else until
    for path in sorted((output_dir / KEPT_NAME).glob("*")):
        named = _CHECKPOINT.fullmatch(path.name)
        if named is not None and int(named[2]) <= until:
            copies.append((int(named[2]), path))
            if not wanted:
                logger.warning(f"{path} is not on the Hub. {advice_for(path, output_dir, target, named[1])}")
            continue
        if named is not None:
            logger.warning(f"{path}, which was not pushed, is deleted: this training does not resume it.")
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        (output_dir / KEPT_NAME).rmdir()
    if not wanted:
        return []
    # `Trainer` writes its state last.
    local = [path for path in numbered_checkpoints(output_dir) if (path / TRAINER_STATE_NAME).is_file()]
    steps, known = [(int(path.name.rpartition("-")[2]), path) for path in local], {step for step, _ in copies}
    return sorted([*copies, *((step, path) for step, path in steps if step <= until and step not in known)])


@dataclass(frozen=True)
class Save:
    """A saved state of the model that waits to be pushed.

    Args:
        name (`str`): What it is, for messages: `step 20`.
        folder (`Path`): Where it lies; nobody writes to it.
        commits (`tuple`): Folder in the repository (`""` is its root) and message of each commit.
        advice (`str`): What to do if it is given up, for messages: a command line, or that later saves replace it.
        target (`Target`): Where to push.
        copied (`bool`): Whether the folder is a copy, which is deleted once it is pushed or given up.
        needed (`bool`): Whether no later save replaces it. Its copy stays if it is given up.
        done (`Future`): Gets the last commit, or the error.
    """

    name: str
    folder: Path
    commits: tuple[tuple[str, str], ...]
    advice: str
    target: Target
    copied: bool = True
    needed: bool = False
    done: Future = field(default_factory=Future)

    def has_room(self) -> bool:
        """Whether the disk has room for the checkpoints of the next steps beside this copy."""
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return shutil.disk_usage(self.folder).free > ROOM * size

    def delete_copy(self) -> None:
        """Delete the folder if it is a copy."""
        if self.copied:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Stopped(BaseException):
    """The queue was stopped while it waited before another try; not an `Exception`, which a push would handle."""


class PushQueue:
    """Push saves in the order they came, in a thread of its own.

    After a transient error a save stays first in the queue; it is tried again when the next one comes, and by
    [`wait`]. One that fails for good is given up, and, when too many copies wait, the oldest; `messages` says so.

    Args:
        push (`Callable`): Pushes one save; gets the save, a function to call after each transient error, and one that
            waits a number of seconds. Raises [`HubPushError`].
        limit (`int`): Copies that may be in the queue, at least 2, which bounds the disk space; of saves that are
            needed, as many as the disk has room for.
        patience (`float`): Seconds that [`submit`] waits for a slow Hub before it gives a save up.
        brief (`float`): Seconds that it waits at most for one that fails.
    """

    def __init__(
        self,
        push: Callable[[Save, Callable, Callable], Any],
        limit: int = 3,
        patience: float = 600.0,
        brief: float = 30.0,
    ):
        self._push, self._limit, self._patience, self._brief = push, limit, patience, brief
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._reason = ""
        self._waiting: deque[Save] = deque()
        self._busy = self._paused = False
        self._failing_since = math.inf
        self._thread: threading.Thread | None = None
        self._messages: list[str] = []
        self._places: set[Path] = set()

    def submit(self, save: Save) -> None:
        """Put a save at the end of the queue; waits for a Hub that is slow, or has failed for a moment only."""
        try:
            self._submit(save)
        except BaseException:  # such as KeyboardInterrupt
            if save not in self._waiting:
                save.delete_copy()
            raise

    def _submit(self, save: Save) -> None:
        deadline = time.monotonic() + self._patience
        with self._changed:
            self._resume()
            while self._is_full(save) and not self._paused:
                left = min(deadline, self._failing_since + self._brief) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            while self._is_full(save):
                oldest = next(other for other in list(self._waiting)[self._busy :] if other.copied)
                self._give_up(oldest, f"{self._limit} saves were waiting for the Hub")
            self._waiting.append(save)
            UNFINISHED.add(self)
            if save.copied:
                self._places.add(save.folder.parent)
            self._resume()

    def _is_full(self, save: Save) -> bool:
        """Whether the copy of a save is one too many."""
        copies = sum(other.copied for other in self._waiting)
        return save.copied and copies >= self._limit and not (save.needed and save.has_room())

    def wait(self, seconds: float = math.inf) -> None:
        """Wait until all saves are pushed, for `seconds` at most; give up those that still fail or are late."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._resume()
            while self._waiting and not self._paused and self._thread is not None and self._thread.is_alive():
                if time.monotonic() >= deadline:
                    break
                self._changed.wait(min(1.0, max(deadline - time.monotonic(), 0.0)))
            late = bool(self._waiting) and time.monotonic() >= deadline
        if late:
            self.stop(0.0, f"the Hub took more than {seconds:g} seconds")
            return
        with self._changed:
            for save in list(self._waiting):
                self._give_up(save, "the Hub still fails")
        self._tidy()

    def stop(self, seconds: float = 5.0, reason: str = "the training was broken off") -> bool:
        """Give up what waits, and leave the push in progress some seconds to finish; return whether it did."""
        self._reason = reason
        self._stop.set()
        with self._changed:
            for save in [save for save in self._waiting if not (self._busy and save is self._waiting[0])]:
                self._give_up(save, reason)
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        with self._changed:
            idle = thread is None or not thread.is_alive()
            for save in [] if idle else list(self._waiting):
                self._messages.append(
                    f"The push of {save.name} is still going on ({reason}); if it fails: {save.advice}"
                )
        self._tidy()
        return idle

    @property
    def unfinished(self) -> int:
        """Number of saves that are not pushed yet."""
        with self._changed:
            return len(self._waiting)

    def messages(self) -> list[str]:
        """What went wrong since the last call: causes and what to do."""
        with self._changed:
            messages, self._messages = self._messages, []
            self._settle()
        return messages

    def _settle(self) -> None:
        if not self._waiting and not self._messages:
            UNFINISHED.discard(self)

    def _resume(self) -> None:
        self._paused = False
        if self._waiting and self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._work, name="push-to-hub", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _give_up(self, save: Save, reason: str) -> None:
        self._waiting.remove(save)
        self._messages.append(f"The model of {save.name} was not pushed: {reason}. {save.advice}")
        self._finish(save, HubPushError(f"The model of {save.name} was not pushed: {reason}."))

    def _finish(self, save: Save, result: Any) -> None:
        failed = isinstance(result, HubPushError)
        if not (failed and save.needed and save.copied and self._keeps(save)):
            save.delete_copy()
        if failed:
            save.done.set_exception(result)
        else:
            save.done.set_result(result)

    def _keeps(self, save: Save) -> bool:
        """Whether the copy of a given-up save stays, which may be the last of its checkpoint."""
        if save.has_room():
            return True
        self._messages.append(
            f"{save.folder} was deleted, as the disk is nearly full: the model of {save.name} is lost unless its "
            "checkpoint is still there."
        )
        return False

    def _tidy(self) -> None:
        """Remove the folders of the copies if they are empty; by the thread that fills them, never while it does."""
        for place in self._places:
            with contextlib.suppress(OSError):  # copies of a push still in progress
                place.rmdir()

    def _note_failure(self, error: BaseException) -> None:
        with self._changed:
            self._failing_since = min(self._failing_since, time.monotonic())
            self._changed.notify_all()

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting or self._paused or self._stop.is_set():
                    self._thread = None
                    self._changed.notify_all()
                    return
                save, self._busy = self._waiting[0], True
            try:
                outcome = self._push(save, self._note_failure, self._sleep)
            except HubPushError as error:
                outcome = error
            except (_Stopped, Exception) as error:  # a thread that dies in silence would leave the training waiting
                reason = self._reason if isinstance(error, _Stopped) else cause_of(error, save.target.token)
                outcome = HubPushError(f"The model of {save.name} was not pushed: {reason}.")
                logger.debug("Where the error came from:", exc_info=True)
            with self._changed:
                self._busy = False
                failed = isinstance(outcome, HubPushError)
                self._failing_since = min(self._failing_since, time.monotonic()) if failed else math.inf
                if failed and outcome.passing and not self._stop.is_set():
                    self._paused = True
                    self._messages.append(f"{outcome} It is tried again at the next save and at the end.")
                else:
                    self._waiting.popleft()
                    if failed:
                        self._messages.append(f"{outcome} {save.advice}")
                    self._finish(save, outcome)
                    self._settle()
                self._changed.notify_all()


@atexit.register
def finish_at_exit(seconds: float = 300.0) -> None:
    """Wait for pushes in the background that the end of the program would break off, and say what was not pushed."""
    for queue in list(UNFINISHED):
        if queue.unfinished:
            logger.warning(f"Waiting for pushes to the Hub ({queue.unfinished}), {seconds:g} seconds at most.")
            try:
                queue.wait(seconds)
            except KeyboardInterrupt:
                queue.stop(0.0, "the program was broken off")
        for message in queue.messages():
            logger.warning(message)
