# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint a broken run can go on from, and how to find every weight in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

__all__ = ["ResumableTrainer", "is_complete_checkpoint", "last_complete_checkpoint", "translated_names"]

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


@contextmanager
def translated_names(model: nn.Module, folder: str | Path) -> Iterator[None]:
    """Let `model.load_state_dict` find weights that were saved under other names than the model has for them.

    `save_pretrained` writes the layers of some models (ViT, Swin, mixtures of experts) under the names of published
    checkpoints. `from_pretrained` translates them back, but `Trainer` does not when it loads a checkpoint, and leaves
    such layers as they are ([transformers#48805](https://github.com/huggingface/transformers/issues/48805)). While the
    context is open, a state dict with names that the model lacks, in place of names it has, is read with
    `from_pretrained` instead.

    Args:
        model (`nn.Module`): Anything but a [`PreTrainedModel`] is left alone: it saves its own names.
        folder (`str` or `Path`): The checkpoint that will be loaded.

    Raises:
        ValueError: When loading, if weights of the model are not in the checkpoint under any name.
    """

    def translate(module: PreTrainedModel, state_dict: dict[str, torch.Tensor], *rest: Any) -> None:
        names = module.state_dict().keys()
        if names >= state_dict.keys() or names <= state_dict.keys():
            return
        options = {"config": module.config, "dtype": module.dtype, "output_loading_info": True}
        found, report = type(module).from_pretrained(folder, **options)
        if report["missing_keys"]:
            raise ValueError(
                f"{folder} does not hold {', '.join(sorted(report['missing_keys']))} of {type(module).__name__}: was "
                "it written by another model?"
            )
        state_dict.clear()
        state_dict.update(found.state_dict())

    if not isinstance(model, PreTrainedModel):
        yield
        return
    hook = model.register_load_state_dict_pre_hook(translate)
    try:
        yield
    finally:
        hook.remove()


class ResumableTrainer(Trainer):
    """Stock `Trainer` that goes on from the last whole checkpoint, and finds all weights of a checkpoint."""

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the base class does; `resume_from_checkpoint=True` skips checkpoints that are half-written."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(
                    f"resume_from_checkpoint=True, but {self.args.output_dir} has no complete checkpoint: "
                    "start without it."
                )
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        with translated_names(self.model, resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)

    def _load_best_model(self) -> None:
        with translated_names(self.model, self.state.best_model_checkpoint):
            super()._load_best_model()
