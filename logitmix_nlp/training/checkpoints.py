# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint a broken run can go on from, and how to find every weight in it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from logitmix_nlp.whole_files import read_object

__all__ = [
    "ResumableMixin", "checkpoint_damage", "last_complete_checkpoint",
    "numbered_checkpoints", "read_state", "translated_names",
]  # fmt: skip

logger = logging.get_logger(__name__)


# What `Trainer` needs to go on as if nothing had happened: one of these files or folders of each part.
PARTS = {
    "model": (
        "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
        "adapter_model.*", "*/adapter_model.*", "pytorch_model_fsdp*", "global_step*",
    ),
    "optimizer": ("optimizer.pt", "optimizer*", "rank*-optimizer.pt", "global_step*"),
    "learning rate schedule": ("scheduler.pt", "global_step*"),
    "random numbers": ("rng_state.pth", "rng_state_*.pth"),
}  # fmt: skip
ARGUMENTS_NAME = "training_args.bin"  # for readers; a run that goes on has its own


def read_state(path: str | Path) -> TrainerState:
    """The state of a training.

    Args:
        path (`str` or `Path`): `trainer_state.json`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no state of a `Trainer`; the sentence names the file and the cause.
    """
    values = read_object(path)
    step, history = values.get("global_step"), values.get("log_history")
    if not isinstance(step, int) or not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise ValueError(f"{path} is damaged: it has no whole number as global_step, or no log_history.")
    try:
        return TrainerState(**values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: it is no state of a Trainer ({error}).") from error


def checkpoint_damage(folder: str | Path, also: Sequence[str] = ()) -> str | None:
    """What keeps a training from going on from a checkpoint as if nothing had happened.

    Every file is read: weights to the end of their header, which says how long the file is; pickles to their end.

    Args:
        folder (`str` or `Path`): The checkpoint.
        also (`Sequence[str]`): More files that must be there.

    Returns:
        `str`, *optional*: What is missing or damaged, with its file; `None` if the checkpoint is whole.
    """
    folder = Path(folder)
    try:
        read_state(folder / TRAINER_STATE_NAME)  # written last, so it is missing where the process was killed
    except FileNotFoundError:
        return f"it has no {TRAINER_STATE_NAME}"
    except (OSError, ValueError) as error:
        return str(error).rstrip(".")
    for part, patterns in {**PARTS, **{name: (name,) for name in also}}.items():
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            return f"it has no {part} ({patterns[0]})"
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != ARGUMENTS_NAME):
        try:
            _check_whole(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError, BadZipFile) as error:
            return f"{path.name} is damaged ({' '.join(str(error).split())})"
    return None


def _check_whole(path: Path) -> None:
    """Raise an error of any kind if a file of a checkpoint is cut off or damaged."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as weights:
            weights.keys()
    elif path.name.endswith(".index.json"):
        missing = {name for name in read_object(path)["weight_map"].values() if not (path.parent / name).is_file()}
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} is missing")
    elif path.suffix in (".pt", ".pth", ".bin"):
        with ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"wrong checksum of {broken}")


def numbered_checkpoints(output_dir: str | Path) -> list[Path]:
    """Checkpoints of a run, whole or not, the newest first."""
    prefix = PREFIX_CHECKPOINT_DIR + "-"
    folders = [path for path in Path(output_dir).glob(f"{prefix}*") if path.name.removeprefix(prefix).isdigit()]
    return sorted(folders, key=lambda path: int(path.name.removeprefix(prefix)), reverse=True)


def last_complete_checkpoint(output_dir: str | Path, also: Sequence[str] = ()) -> str | None:
    """Newest whole checkpoint of a run; half-written and damaged ones are skipped with a warning.

    Args:
        output_dir (`str` or `Path`): Folder of the run; need not exist.
        also (`Sequence[str]`): More files that a checkpoint must hold.

    Returns:
        `str`: Path of the checkpoint, or `None` if there is none.
    """
    for folder in numbered_checkpoints(output_dir):
        damage = checkpoint_damage(folder, also)
        if damage is None:
            return str(folder)
        logger.warning(f"{folder} is incomplete and not used: {damage}.")
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
        loaded, report = type(module).from_pretrained(folder, **options)
        if report["missing_keys"]:
            raise ValueError(
                f"{folder} does not hold {', '.join(sorted(report['missing_keys']))} of {type(module).__name__}: was "
                "it written by another model?"
            )
        state_dict.clear()
        state_dict.update(loaded.state_dict())

    if not isinstance(model, PreTrainedModel):
        yield
        return
    hook = model.register_load_state_dict_pre_hook(translate)
    try:
        yield
    finally:
        hook.remove()


class ResumableMixin:
    """Stock `Trainer` that goes on from the last whole checkpoint, and finds all weights of a checkpoint."""

    checkpoint_files: Sequence[str] = ()  # what checkpoints hold beside the stock class's files

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the base class does; `resume_from_checkpoint=True` skips half-written and damaged checkpoints."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(self.args.output_dir, self.checkpoint_files)
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
