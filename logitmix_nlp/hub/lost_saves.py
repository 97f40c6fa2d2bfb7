# SPDX-License-Identifier: Apache-2.0
"""What to do about a save of a training that could not be pushed."""

from collections.abc import Sequence
from pathlib import Path

from logitmix_nlp.hub.upload import Target, push_command

__all__ = ["KEPT_NAME", "advice_for"]

KEPT_NAME = "unpushed"  # folder in `output_dir` of copies that may be the last of their checkpoint


def advice_for(folder: Path, output_dir: Path, target: Target, places: Sequence[str], *, vanishes: bool) -> str:
    """What to do if a save is not pushed.

    A checkpoint is never to be pushed by hand to the root of the repository, where the finished model lies.

    Args:
        folder (`Path`): What was saved: `output_dir`, or a checkpoint in it.
        output_dir (`Path`): Folder of the run.
        target (`Target`): Where to push.
        places (`Sequence[str]`): Folders in the repository that nothing later is pushed to; `""` is its root.
        vanishes (`bool`): Whether the folder may be deleted, so that a copy is kept.

    Returns:
        `str`: A sentence with a command line at its end.
    """
    own = [place.rstrip("/") for place in places if place]
    if own:
        kept = output_dir / KEPT_NAME / own[0] if vanishes else folder
        return f"To push it: {push_command(kept, target, own[0])}"
    command = push_command(output_dir, target)
    if folder == output_dir:
        return f"To push it: {command}"
    return f"Later saves and the finished model replace it; to push that one once it is there: {command}"
