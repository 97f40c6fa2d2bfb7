# SPDX-License-Identifier: Apache-2.0
"""Pushes in the background of a training: one after another, in order, none lost in silence."""

import contextlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers.utils import logging

from logitmix_nlp.hub.retries import HubPushError
from logitmix_nlp.hub.upload import Target

__all__ = ["PushQueue", "Save"]

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Save:
    """A saved state of the model that waits to be pushed.

    Args:
        name (`str`): What it is, for messages: `step 20`.
        folder (`Path`): Its copy, which nobody else writes to; deleted once it is pushed or given up.
        commits (`tuple`): Folder in the repository (`""` is its root) and message of each commit.
        command (`str`): The command line that pushes it by hand, for messages.
        target (`Target`): Where to push.
        done (`Future`): Gets the last commit, or the error.
    """

    name: str
    folder: Path
    commits: tuple[tuple[str, str], ...]
    command: str
    target: Target
    done: Future = field(default_factory=Future)


class _Stopped(Exception):
    """The queue was stopped while it waited before another try."""


class PushQueue:
    """Push saves in the order they came, in a thread of its own.

    A save that fails for a passing reason stays first in the queue; it is tried again when the next one comes, and by
    [`wait`]. One that fails for good is given up, and so is, when too many wait, the oldest; `messages` says so.

    Args:
        push (`Callable`): Pushes one save; gets the save, a function to call after each failure that may pass, and one
            that waits so many seconds. Raises [`HubPushError`].
        limit (`int`): Saves that may be in the queue, at least 2, which bounds the disk space.
        patience (`float`): Seconds that [`submit`] waits for a slow Hub, not for one that fails, before it gives a
            save up.
    """

    def __init__(self, push: Callable[[Save, Callable, Callable], Any], limit: int = 8, patience: float = 600.0):
        self._push, self._limit, self._patience = push, limit, patience
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._waiting: deque[Save] = deque()
        self._busy = self._failing = self._paused = False
        self._thread: threading.Thread | None = None
        self._messages: list[str] = []
        self._places: set[Path] = set()

    def submit(self, save: Save) -> None:
        """Put a save at the end of the queue; waits only for a Hub that works but is slow.

        Args:
            save (`Save`): What to push.
        """
        deadline = time.monotonic() + self._patience
        with self._changed:
            while len(self._waiting) >= self._limit and not self._failing and time.monotonic() < deadline:
                self._changed.wait(max(deadline - time.monotonic(), 0.0))
            while len(self._waiting) >= self._limit:
                oldest = self._waiting[1 if self._busy else 0]
                self._give_up(oldest, f"{self._limit} saves were waiting for the Hub")
            self._waiting.append(save)
            self._places.add(save.folder.parent)
            self._resume()

    def wait(self) -> None:
        """Wait until all saves are pushed; those that still fail are given up."""
        with self._changed:
            self._resume()
            while self._waiting and not self._paused and self._thread is not None and self._thread.is_alive():
                self._changed.wait(1.0)
            for save in list(self._waiting):
                self._give_up(save, "the Hub still fails")
        self._tidy()

    def stop(self, seconds: float = 5.0) -> None:
        """Give up what waits, and leave the push in progress so many seconds to finish."""
        self._stop.set()
        with self._changed:
            for save in [save for save in self._waiting if not (self._busy and save is self._waiting[0])]:
                self._give_up(save, "the training was broken off")
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
        self._tidy()

    @property
    def unfinished(self) -> int:
        """Number of saves that are not pushed yet."""
        with self._changed:
            return len(self._waiting)

    def messages(self) -> list[str]:
        """What went wrong since the last call: causes and what to do."""
        with self._changed:
            told, self._messages = self._messages, []
        return told

    def _resume(self) -> None:
        self._paused = False
        if self._waiting and self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._work, name="push-to-hub", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _give_up(self, save: Save, reason: str) -> None:
        self._waiting.remove(save)
        self._messages.append(f"The model of {save.name} was not pushed: {reason}. To push it: {save.command}")
        self._finish(save, HubPushError(f"The model of {save.name} was not pushed: {reason}."))

    def _finish(self, save: Save, result: Any) -> None:
        if isinstance(result, HubPushError):
            save.done.set_exception(result)
        else:
            save.done.set_result(result)
        shutil.rmtree(save.folder, ignore_errors=True)

    def _tidy(self) -> None:
        """Remove the folders of the copies if they are empty; by the thread that fills them, never while it does."""
        for place in self._places:
            with contextlib.suppress(OSError):  # copies of a push still in progress
                place.rmdir()

    def _note_failure(self, error: BaseException) -> None:
        with self._changed:
            self._failing = True
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
            except _Stopped:
                outcome = HubPushError("the training was broken off")
            except HubPushError as error:
                outcome = error
            except Exception as error:  # a thread that dies in silence would leave the training waiting
                outcome = HubPushError(f"{type(error).__name__} in the pushing thread")
                logger.debug("Where the error came from:", exc_info=True)
            with self._changed:
                self._busy = False
                self._failing = isinstance(outcome, HubPushError)
                if self._failing and outcome.passing and not self._stop.is_set():
                    self._paused = True
                    self._messages.append(f"{outcome} It is tried again at the next save and at the end.")
                else:
                    self._waiting.popleft()
                    if self._failing:
                        self._messages.append(f"{outcome} To push it: {save.command}")
                    self._finish(save, outcome)
                self._changed.notify_all()
