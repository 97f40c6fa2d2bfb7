# SPDX-License-Identifier: Apache-2.0
"""What an output folder holds: the record of its run, so that a run is only ever continued as itself."""

import contextlib
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from transformers import TrainerCallback, TrainingArguments
from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME, GENERATION_CONFIG_NAME

from glue_runs.runs.content import MODEL_PLACES, differences
from glue_runs.runs.results import RESULT_NAME
from logitmix_nlp import LogitMixTrainingArguments
from logitmix_nlp.publishing.hub.secrets import is_secret_name, without_credentials
from logitmix_nlp.publishing.hub.white_list import PROCESSOR_FILES, TRAINING_ARGUMENTS_NAME
from logitmix_nlp.training.checkpoints import checkpoint_damage, last_complete_checkpoint
from logitmix_nlp.training.neutral_arguments import SCORING, is_neutral, scores_choose
from logitmix_nlp.training.soft_head import HEAD_FILE
from logitmix_nlp.whole_files import PARTIAL, read_object, write_json

__all__ = [
    "RecordWriter", "RunState", "all_values", "check_results", "drop_weights", "find_run", "read_record", "run_record",
    "without_secrets", "write_record",
]  # fmt: skip

RECORD_NAME, FINISHED_NAME, ALL_RESULTS_NAME = "run.json", "train_results.json", "all_results.json"
LOCK_NAME, LOG_NAME, FLAGS_NAME, PROGRESS_NAME = "run.lock", "log.txt", "flags.json", "progress.json"
_MODELS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_WEIGHTS = (*_MODELS, "training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth")
_MODEL_FILES = (
    "*.safetensors.index.json", "*.bin.index.json", CONFIG_NAME, GENERATION_CONFIG_NAME, ADAPTER_CONFIG_NAME,
    TRAINING_ARGUMENTS_NAME, *PROCESSOR_FILES,
)  # fmt: skip
CONTENT = "content"  # of a record: digests of the data and of models on this disk


class RunState(NamedTuple):
    """Where the run of an output folder stands.

    Args:
        checkpoint (`str`, *optional*): Checkpoint to go on from; `None` starts at the beginning.
        finished (`bool`): Whether training is over and its model lies in the folder.
        weights_dropped (`bool`): Whether training is over but its model was not kept.
        record (`dict`, *optional*): What the command would train.
        content (`dict`): What its files hold, from [`glue_runs.runs.content.digests`].
    """

    checkpoint: str | None = None
    finished: bool = False
    weights_dropped: bool = False
    record: dict[str, Any] | None = None
    content: Mapping[str, str] = MappingProxyType({})


def all_values(model_args: Any, data_args: Any, args: TrainingArguments) -> dict[str, Any]:
    """Every argument of a run by its name."""
    return {**asdict(model_args), **asdict(data_args), **args.to_dict()}


def run_record(values: Mapping[str, Any], content: Mapping[str, str]) -> dict[str, Any]:
    """Everything that decides what is learnt, as JSON values; no secrets.

    Args:
        values (`Mapping[str, Any]`): All arguments, from [`all_values`].
        content (`Mapping[str, str]`): What their files hold, from [`glue_runs.runs.content.digests`].

    Returns:
        `dict[str, Any]`: Every argument but those that [`neutral_arguments`] names; under `content` those of
        models and training rows, and of the rows evaluated if scores choose what is learnt.
    """
    measured = scores_choose(values)
    counted = {n: v for n, v in values.items() if not is_neutral(n, values) and (measured or n not in SCORING)}
    learnt = {name: digest for name, digest in content.items() if name in ("train", *MODEL_PLACES) or measured}
    record = {**without_secrets(counted), CONTENT: learnt}
    return json.loads(json.dumps(record, default=str))


def read_record(output_dir: str | Path) -> dict[str, Any] | None:
    """The record in a folder, `None` if there is none; a `ValueError` says that it is damaged."""
    path = Path(output_dir) / RECORD_NAME
    try:
        return without_credentials(read_object(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"{error} It says what the folder holds: choose another folder, or go on from its last checkpoint all the "
            "same with --resume_from_checkpoint true."
        ) from error


def write_record(output_dir: str | Path, record: dict[str, Any]) -> None:
    """Write the record of a run that starts or goes on, and delete what an earlier end of it left."""
    for name in (FINISHED_NAME, ALL_RESULTS_NAME):
        (Path(output_dir) / name).unlink(missing_ok=True)
    write_json(Path(output_dir) / RECORD_NAME, record)


class RecordWriter(TrainerCallback):
    """Writes the record of a run: at once into a folder without a finished run, else after its first step.

    So a run that cannot be repeated, as its data or model have gone, stays what it is.

    Args:
        output_dir (`str` or `Path`): Folder of the run.
        record (`dict`): From [`run_record`].
    """

    def __init__(self, output_dir: str | Path, record: dict[str, Any]):
        self.folder, self.record, self.written = Path(output_dir), record, False

    def on_train_begin(self, args, state, control, **kwargs):
        """Write, if nothing is lost by it."""
        if not (self.folder / FINISHED_NAME).is_file():
            self.write(args)

    def on_step_end(self, args, state, control, **kwargs):
        """Write, now that a step was taken; checkpoints come later."""
        self.write(args)

    def on_train_end(self, args, state, control, **kwargs):
        """Write, if there was no step left."""
        self.write(args)

    def write(self, args: TrainingArguments) -> None:
        """Write once, on the process that saves."""
        if args.should_save and not self.written:
            write_record(self.folder, self.record)
            self.written = True


def find_run(output_dir: str | Path, record: dict[str, Any], asked: str | None = None) -> RunState:
    """Decide how a training command goes on in its output folder.

    Args:
        output_dir (`str` or `Path`): Folder of the run; need not exist.
        record (`dict`): What the command would train, from [`run_record`].
        asked (`str`, *optional*): `--resume_from_checkpoint`: a folder, or `true` for the last one here, whatever the
            record says.

    Returns:
        `RunState`: Nothing done yet, a checkpoint, or finished.

    Raises:
        FileNotFoundError: If the checkpoint asked for is missing, half-written or damaged.
        ValueError: If the folder holds something else; the message names the difference and what to do.
    """
    folder = Path(output_dir)
    also = [HEAD_FILE] if record["lamix_beta"] < 1.0 else []
    if asked is not None and asked.lower() != "true":
        damage = checkpoint_damage(asked, also)
        if damage is not None:
            raise FileNotFoundError(
                f"--resume_from_checkpoint {asked}: no folder with a complete checkpoint: {damage}. Give another, or "
                "start from its weights alone with --model_name_or_path."
            )
        return RunState(asked, record=record)
    finished = (folder / FINISHED_NAME).is_file()
    has_model = (folder / CONFIG_NAME).is_file() and any(any(folder.glob(pattern)) for pattern in _MODELS)
    is_needed = asked is not None or not (finished and has_model)
    checkpoint = last_complete_checkpoint(folder, also) if is_needed else None
    if asked is not None:
        if checkpoint is None:
            raise ValueError(f"--resume_from_checkpoint true: {folder} has no complete checkpoint.")
        return RunState(checkpoint, record=record)
    record_there = read_record(folder)
    if record_there is None:
        ours = (LOCK_NAME, LOG_NAME, FLAGS_NAME, PROGRESS_NAME)
        if folder.is_dir() and any(
            not path.name.endswith(PARTIAL) and path.name not in ours for path in folder.iterdir()
        ):
            raise ValueError(
                f"--output_dir {folder} is not empty and holds no run of this script; choose another folder, empty "
                "it, or give --resume_from_checkpoint PATH, or true for the folder's last checkpoint."
            )
        return RunState(record=record)
    changed = _changes(folder, record_there, record) if finished or checkpoint is not None else []
    if changed:
        raise ValueError(
            f"--output_dir {folder} holds another run ({'; '.join(changed)}); choose another folder, or go on from "
            "its last checkpoint all the same with --resume_from_checkpoint true."
        )
    return RunState(checkpoint, finished and has_model, finished and not has_model, record)


def _changes(folder: Path, earlier: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """What the record says otherwise than the one found, in words."""
    contents = earlier.get(CONTENT)
    before = {**earlier, **_arguments_left(folder, {name for name in record if name not in earlier})}
    now = {name: value for name, value in record.items() if name != CONTENT}
    return differences(before, now, contents if isinstance(contents, dict) else {}, record[CONTENT])


def _arguments_left(folder: Path, names: Collection[str]) -> dict[str, Any]:
    """Training arguments that the record of an earlier version lacks: as the run left them, else their defaults."""
    if not names:
        return {}
    values = json.loads(json.dumps(LogitMixTrainingArguments(str(folder)).to_dict(), default=str))
    for parent in (*folder.glob("checkpoint-*"), folder):
        with contextlib.suppress(FileNotFoundError, ValueError):
            values |= read_object(parent / TRAINING_ARGUMENTS_NAME)
    with contextlib.suppress(FileNotFoundError, ValueError):
        config = read_object(folder / RESULT_NAME).get("config")
        values |= config if isinstance(config, dict) else {}
    return {name: value for name, value in values.items() if name in names and name not in MODEL_PLACES}


def check_results(output_dir: str | Path) -> None:
    """Refuse a finished run whose `all_results.json`, to which an evaluation adds its metrics, cannot be read."""
    path = Path(output_dir) / ALL_RESULTS_NAME
    try:
        if path.is_file():
            read_object(path)
    except ValueError as error:
        raise ValueError(f"{error} Delete it and repeat the command.") from error


def without_secrets(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags without Hub tokens and other secrets, nor passwords in addresses."""
    return without_credentials({name: value for name, value in flags.items() if not is_secret_name(name)})


def drop_weights(output_dir: str | Path) -> None:
    """Delete checkpoints, model and tokenizer from the folder of a finished run, and nothing else."""
    for path in Path(output_dir).glob("checkpoint-*"):
        shutil.rmtree(path)
    for pattern in (*_WEIGHTS, *_MODEL_FILES):
        for path in Path(output_dir).glob(pattern):
            path.unlink()
