# SPDX-License-Identifier: Apache-2.0
"""What an output folder holds: the record of its run, so that a run is only ever continued as itself."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers.utils import ADAPTER_CONFIG_NAME, CONFIG_NAME, GENERATION_CONFIG_NAME

from logitmix_nlp.checkpoints import is_complete_checkpoint, last_complete_checkpoint
from logitmix_nlp.hub.secrets import is_secret_name
from logitmix_nlp.hub.white_list import PROCESSOR_FILES, TRAINING_ARGUMENTS_NAME
from logitmix_nlp.whole_files import PARTIAL, write_json

__all__ = ["RunState", "check_results", "drop_weights", "find_run", "run_record", "without_secrets", "write_record"]

RECORD_NAME, FINISHED_NAME, ALL_RESULTS_NAME = "run.json", "train_results.json", "all_results.json"
LOCK_NAME, LOG_NAME, FLAGS_NAME, PROGRESS_NAME = "run.lock", "log.txt", "flags.json", "progress.json"
_MODELS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin")
_WEIGHTS = (*_MODELS, "training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth")
_MODEL_FILES = (
    "*.safetensors.index.json", "*.bin.index.json", CONFIG_NAME, GENERATION_CONFIG_NAME, ADAPTER_CONFIG_NAME,
    TRAINING_ARGUMENTS_NAME, *PROCESSOR_FILES,
)  # fmt: skip
_MODEL = ("model_name_or_path", "config_name", "tokenizer_name", "model_revision", "ignore_mismatched_sizes")
_DATA = (
    "task_name", "data_dir", "dataset_name", "dataset_config_name", "train_file", "text_column_names",
    "label_column_name", "max_seq_length", "pad_to_max_length", "max_train_samples",
)  # fmt: skip
_TRAINING = (
    "mix_method", "mix_site", "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "sim_norm", "mix_prob",
    "lam_per_sample", "mix_warmup", "mixer", "mix_pairing", "puzzle_options", "penalty_weight",
    "mix_schedule", "mix_lam", "label_lam", "lamix_beta", "lamix_detach_features",
    "label_smoothing_factor", "seed", "data_seed", "learning_rate", "weight_decay",
    "optim", "lr_scheduler_type", "warmup_steps", "max_grad_norm", "per_device_train_batch_size",
    "gradient_accumulation_steps", "num_train_epochs", "max_steps", "bf16", "fp16", "train_sampling_strategy",
)  # fmt: skip


class RunState(NamedTuple):
    """Where the run of an output folder stands.

    Args:
        checkpoint (`str`, *optional*): Checkpoint to go on from; `None` starts at the beginning.
        finished (`bool`): Whether training is over and its model lies in the folder.
        weights_dropped (`bool`): Whether training is over but its model was not kept.
    """

    checkpoint: str | None = None
    finished: bool = False
    weights_dropped: bool = False


def run_record(
    model_args: Any,
    data_args: Any,
    args: Any,
    *,
    model_fields: Sequence[str] = _MODEL,
    data_fields: Sequence[str] = _DATA,
    more_fields: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that decides what is learnt, as JSON values; no secrets.

    Args:
        model_args (`Any`): Dataclass of the model's arguments.
        data_args (`Any`): Dataclass of the data's arguments.
        args (`LogitMixTrainingArguments`): How to train.
        model_fields (`Sequence[str]`): Fields of `model_args` that count.
        data_fields (`Sequence[str]`): Fields of `data_args` that count.
        more_fields (`Sequence[str]`): Fields that `args` has beyond those of [`LogitMixTrainingArguments`].
    """
    sources = ((model_args, model_fields), (data_args, data_fields), (args, (*_TRAINING, *more_fields)))
    record = {name: getattr(source, name) for source, names in sources for name in names}
    return json.loads(json.dumps(record, default=str))


def write_record(output_dir: str | Path, record: dict[str, Any]) -> None:
    """Write the record of a run that starts or goes on, and delete what an earlier end of it left."""
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    for name in (FINISHED_NAME, ALL_RESULTS_NAME):
        (Path(output_dir) / name).unlink(missing_ok=True)
    write_json(Path(output_dir) / RECORD_NAME, record)


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
        FileNotFoundError: If the checkpoint asked for is missing or half-written.
        ValueError: If the folder holds something else; the message names the difference and what to do.
    """
    folder = Path(output_dir)
    if asked is not None and asked.lower() != "true":
        if not is_complete_checkpoint(asked):
            raise FileNotFoundError(f"--resume_from_checkpoint {asked}: no folder with a complete checkpoint.")
        return RunState(asked)
    checkpoint = last_complete_checkpoint(folder)
    if asked is not None:
        if checkpoint is None:
            raise ValueError(f"--resume_from_checkpoint true: {folder} has no complete checkpoint.")
        return RunState(checkpoint)
    if not (folder / RECORD_NAME).is_file():
        ours = (LOCK_NAME, LOG_NAME, FLAGS_NAME, PROGRESS_NAME)
        if folder.is_dir() and any(
            not path.name.endswith(PARTIAL) and path.name not in ours for path in folder.iterdir()
        ):
            raise ValueError(
                f"--output_dir {folder} is not empty and holds no run of this script; choose another folder, empty "
                "it, or give --resume_from_checkpoint PATH, or true for the folder's last checkpoint."
            )
        return RunState()
    try:
        found = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    changed = [name for name, value in record.items() if found.get(name) != value]
    finished = (folder / FINISHED_NAME).is_file()
    if changed and found and (finished or checkpoint is not None):
        listed = "; ".join(f"{name}: {found.get(name)!r} there, {record[name]!r} now" for name in changed)
        raise ValueError(
            f"--output_dir {folder} holds another run ({listed}); choose another folder, or go on from its last "
            "checkpoint all the same with --resume_from_checkpoint true."
        )
    has_model = (folder / CONFIG_NAME).is_file() and any(any(folder.glob(pattern)) for pattern in _MODELS)
    return RunState(checkpoint, finished and has_model, weights_dropped=finished and not has_model)


def check_results(output_dir: str | Path) -> None:
    """Refuse a finished run whose `all_results.json`, to which an evaluation adds its figures, cannot be read."""
    path = Path(output_dir) / ALL_RESULTS_NAME
    try:
        if path.is_file():
            json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and repeat the command.") from error


def without_secrets(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags without Hub tokens and other secrets."""
    return {name: value for name, value in flags.items() if not is_secret_name(name)}


def drop_weights(output_dir: str | Path) -> None:
    """Delete checkpoints, model and tokenizer from the folder of a finished run, and nothing else."""
    for path in Path(output_dir).glob("checkpoint-*"):
        shutil.rmtree(path)
    for pattern in (*_WEIGHTS, *_MODEL_FILES):
        for path in Path(output_dir).glob(pattern):
            path.unlink()
