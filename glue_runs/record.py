# SPDX-License-Identifier: Apache-2.0
"""What an output folder holds: the record of its run, so that a run is only ever continued as itself."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from logitmix_nlp.checkpoints import is_complete_checkpoint, last_complete_checkpoint

__all__ = ["RunState", "drop_weights", "find_run", "run_record", "without_secrets", "write_record"]

RECORD_NAME, FINISHED_NAME = "run.json", "train_results.json"
LOCK_NAME, LOG_NAME, FLAGS_NAME, PROGRESS_NAME = "run.lock", "log.txt", "flags.json", "progress.json"
_SECRETS = ("token", "hub_token")
_RECORDS = (".json", ".txt", ".lock", ".tsv", ".parquet", ".html", ".md")
_MODEL_RECORDS = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json")
_MODEL = ("model_name_or_path", "config_name", "tokenizer_name", "model_revision", "ignore_mismatched_sizes")
_DATA = (
    "task_name", "data_dir", "dataset_name", "dataset_config_name", "train_file", "text_column_names",
    "label_column_name", "max_seq_length", "pad_to_max_length", "max_train_samples",
)  # fmt: skip
_TRAINING = (
    "mix_method", "mix_site", "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "sim_norm", "mix_prob",
    "lam_per_sample", "mix_warmup", "mixer", "mix_pairing", "puzzle_options", "penalty_weight",
    "label_smoothing_factor", "seed", "data_seed", "learning_rate", "weight_decay",
    "optim", "lr_scheduler_type", "warmup_steps", "max_grad_norm", "per_device_train_batch_size",
    "gradient_accumulation_steps", "num_train_epochs", "max_steps", "bf16", "fp16", "train_sampling_strategy",
)  # fmt: skip


class RunState(NamedTuple):
    """Where the run of an output folder stands.

    Args:
        checkpoint (`str`, *optional*): Checkpoint to go on from; `None` starts at the beginning.
        finished (`bool`): Whether training is over and its model lies in the folder.
    """

    checkpoint: str | None = None
    finished: bool = False


def run_record(model_args: Any, data_args: Any, args: Any) -> dict[str, Any]:
    """Everything that decides what is learnt, as JSON values; no secrets."""
    sources = ((model_args, _MODEL), (data_args, _DATA), (args, _TRAINING))
    record = {name: getattr(source, name) for source, names in sources for name in names}
    return json.loads(json.dumps(record, default=str))


def write_record(output_dir: str | Path, record: dict[str, Any]) -> None:
    """Write the record of a run that starts."""
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    (Path(output_dir) / RECORD_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


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
        if folder.is_dir() and any(path.name not in ours for path in folder.iterdir()):
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
    if changed and found:
        listed = "; ".join(f"{name}: {found.get(name)!r} there, {record[name]!r} now" for name in changed)
        raise ValueError(
            f"--output_dir {folder} holds another run ({listed}); choose another folder, or go on from its last "
            "checkpoint all the same with --resume_from_checkpoint true."
        )
    finished = (folder / FINISHED_NAME).is_file()
    if finished and not (folder / "config.json").is_file():
        raise ValueError(
            f"--output_dir {folder} holds a finished run whose weights were not kept; delete it to rerun."
        )
    return RunState(checkpoint, finished)


def without_secrets(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags without Hub tokens."""
    return {name: value for name, value in flags.items() if name not in _SECRETS}


def drop_weights(output_dir: str | Path) -> None:
    """Delete checkpoints, model and tokenizer from the folder of a finished run; records and predictions stay."""
    for path in Path(output_dir).iterdir():
        if path.is_dir() and path.name.startswith("checkpoint-"):
            shutil.rmtree(path)
        elif path.is_file() and (path.suffix not in _RECORDS or path.name in (*_MODEL_RECORDS, "vocab.txt")):
            path.unlink()
