# SPDX-License-Identifier: Apache-2.0
"""Copies of saves that wait for the Hub, checkpoints that an earlier process did not push, what to do about each."""

import contextlib
import math
import re
import shutil
from itertools import chain, count
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from logitmix_nlp.publishing.hub.upload import Target, push_command
from logitmix_nlp.training.checkpoints import numbered_checkpoints

__all__ = ["KEPT_NAME", "advice_for", "last_step", "left_checkpoints", "new_copy"]

logger = logging.get_logger(__name__)

KEPT_NAME = "unpushed"  # folder of the copies, in `output_dir`
_CHECKPOINT = re.compile(rf"({PREFIX_CHECKPOINT_DIR}-(\d+))(\.\d+)?")


def advice_for(folder: Path, output_dir: Path, target: Target, own: str | None) -> str:
    """What to do if a save is not pushed.

    A checkpoint is never to be pushed by hand to the root of the repository, where the finished model lies.

    Args:
        folder (`Path`): Where it lies.
        output_dir (`Path`): Folder of the run.
        target (`Target`): Where to push.
        own (`str`, *optional*): Folder in the repository that nothing later is pushed to.

    Returns:
        `str`: A sentence with a command line at its end.
    """
    if own is not None:
        return f"To push it: {push_command(folder, target, own)}"
    command = push_command(output_dir, target)
    if folder == output_dir:
        return f"To push it: {command}"
    return f"Later saves and the finished model replace it; to push that one once it is there: {command}"


def new_copy(copies: Path, name: str) -> Path:
    """A folder that is not there yet, for the copy of a save.

    Args:
        copies (`Path`): Folder of the copies.
        name (`str`): Name of a checkpoint if no later save replaces it; else another.
    """
    names = chain([name], (f"{name}.{number}" for number in count(1)))
    return next(copies / name for name in names if not (copies / name).exists())


def last_step(checkpoint: str | bool | None, output_dir: str | Path) -> float | None:
    """The step of the checkpoint that a run goes on from; `None` if it starts anew, or from another folder.

    Args:
        checkpoint (`str` or `bool`, *optional*): What `Trainer.train` is given; `True` is the last one.
        output_dir (`str` or `Path`): Folder of the run.
    """
    if checkpoint is True:
        return math.inf
    if not checkpoint or Path(checkpoint).resolve().parent != Path(output_dir).resolve():
        return None
    named = _CHECKPOINT.fullmatch(Path(checkpoint).name)
    return None if named is None else int(named[2])


def left_checkpoints(output_dir: Path, until: float | None, target: Target, wanted: bool) -> list[tuple[int, Path]]:
    """Checkpoints that earlier processes of a run may not have pushed; deletes copies of no use.

    Those are half copies, copies of saves that later ones replace, and of steps that the run does not go on from.

    Args:
        output_dir (`Path`): Folder of the run.
        until (`float`, *optional*): The step that the run goes on from; `None` if it starts anew.
        target (`Target`): Where to push, for messages.
        wanted (`bool`): Whether all checkpoints are to be pushed; else copies stay, with a warning.

    Returns:
        `list`: Step and folder, by step: copies, and checkpoints of which there is no copy.
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
            logger.warning(f"{path}, which was not pushed, is deleted: this training does not go on from it.")
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        (output_dir / KEPT_NAME).rmdir()
    if not wanted:
        return []
    # `Trainer` writes its state last.
    local = [path for path in numbered_checkpoints(output_dir) if (path / TRAINER_STATE_NAME).is_file()]
    steps, known = [(int(path.name.rpartition("-")[2]), path) for path in local], {step for step, _ in copies}
    return sorted([*copies, *((step, path) for step, path in steps if step <= until and step not in known)])
