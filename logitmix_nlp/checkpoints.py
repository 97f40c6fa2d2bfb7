# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint a broken run can go on from."""

import json
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

__all__ = ["is_complete_checkpoint", "last_complete_checkpoint"]

logger = logging.get_logger(__name__)


def is_complete_checkpoint(folder: str | Path) -> bool:
    """Whether a checkpoint was written to its end: `Trainer` writes its state last."""
    try:
        return isinstance(json.loads((Path(folder) / TRAINER_STATE_NAME).read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False


def last_complete_checkpoint(output_dir: str | Path) -> str | None:
    """Newest complete checkpoint of a run; half-written ones, left by a killed process, are skipped with a warning.

    Args:
        output_dir (`str` or `Path`): Folder of the run; need not exist.

    Returns:
        `str`: Path of the checkpoint, or `None` if there is none.
    """
    prefix = PREFIX_CHECKPOINT_DIR + "-"
    folders = [path for path in Path(output_dir).glob(f"{prefix}*") if path.name.removeprefix(prefix).isdigit()]
    for folder in sorted(folders, key=lambda path: int(path.name.removeprefix(prefix)), reverse=True):
        if is_complete_checkpoint(folder):
            return str(folder)
        logger.warning(f"{folder} is incomplete and not used.")
    return None
