# SPDX-License-Identifier: Apache-2.0
"""The paper's recipe for GLUE, and methods written as text: `logitmix/mix_site=layer:2/mix_alpha=0.4`."""

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from glue_runs.runs.command_line import given_flags, suggestion, to_flags
from logitmix_nlp import LogitMixTrainingArguments
from logitmix_nlp.training.methods import get_method

__all__ = ["PAPER_SITE", "RECIPE", "equal_compute", "folder_name", "method_flags", "parse_method"]

_NOT_OF_A_METHOD = ("hub_token", "output_dir", "seed", "do_train", "do_eval", "do_predict", "resume_from_checkpoint")
# Checked where the run is, not where it is planned
_HARDWARE = ("bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval", "report_to", "deepspeed")

# Section 5: "the batch size is 8, the learning rate is 2e-5, the max sequence length is 128, and the number of the
# training epochs is 3 for all eight tasks"; alpha = 3 is the default of the methods.
RECIPE: Mapping[str, Any] = {
    "do_train": True,
    "do_eval": True,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 64,
    "learning_rate": 2e-5,
    "num_train_epochs": 3.0,
    "max_seq_length": 128,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "logging_steps": 50,
    "report_to": "none",
    "disable_tqdm": True,
    "save_predictions": True,
    "keep_weights": False,
}
# "We also follow the same practice using the same hyperparameters as [Sun et al., 2020]", who mix what the last layer
# returns; the default of `logitmix` is another.
PAPER_SITE = get_method("logitmix_m").mix_site


def parse_method(spec: str) -> dict[str, Any]:
    """The flags that a method specification stands for.

    Args:
        spec (`str`): A name out of `MIX_METHODS`, then any number of `/FLAG=VALUE`, each a flag of
            `LogitMixTrainingArguments`: `logitmix`, `logitmix/mix_site=layer:2/mix_alpha=0.4`,
            `vanilla/num_train_epochs=6`.

    Returns:
        `dict[str, Any]`: Flags by name, with values of their type.

    Raises:
        ValueError: If the method or a flag is unknown, or a part is no `FLAG=VALUE`.
    """
    name, *parts = spec.split("/")
    get_method(name)
    known = [field.name for field in dataclasses.fields(LogitMixTrainingArguments) if field.init]
    flags = {"mix_method": name}
    for part in parts:
        flag, equals, value = part.partition("=")
        if not equals or not value:
            raise ValueError(f"method {spec!r}: expected FLAG=VALUE, found {part!r}; write METHOD/FLAG=VALUE/...")
        if flag in _NOT_OF_A_METHOD:
            raise ValueError(f"{flag!r} is no part of a method; give it to the grid, for all methods.")
        if flag not in known:
            raise ValueError(f"method {spec!r}: unknown flag {flag!r}{suggestion(flag, known)}.")
        if flag in flags:
            raise ValueError(f"method {spec!r}: {flag!r} is given twice.")
        flags[flag] = value
    return given_flags((LogitMixTrainingArguments,), to_flags(flags), usage=f"METHOD/FLAG=VALUE/..., got {spec}")


def method_flags(spec: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """The flags common to all methods, with those of one method over them; refuses what cannot be trained.

    Raises:
        ValueError: See [`parse_method`] and `LogitMixTrainingArguments`.
    """
    flags = {**common, **parse_method(spec)}
    _training_arguments(flags)
    return flags


def equal_compute(specs: Sequence[str], common: Mapping[str, Any]) -> str:
    """The vanilla baseline that is trained on as many examples as the costliest of the methods.

    A method that looks at clean and at mixed rows runs two examples for each row of the batch; the baseline gets as
    many more epochs (or `max_steps`).

    Args:
        specs (`Sequence[str]`): Method specifications.
        common (`Mapping[str, Any]`): Flags common to all methods.

    Returns:
        `str`: Method specification of the baseline.

    Raises:
        ValueError: If no method costs more than vanilla does, or some count epochs and others steps.
    """
    all_flags = [method_flags(spec, common) for spec in specs]
    lengths = {"max_steps" if flags.get("max_steps", -1) > 0 else "num_train_epochs" for flags in all_flags}
    if len(lengths) > 1:
        raise ValueError("--equal_compute: some methods count max_steps and others epochs; use one of them for all.")
    (length,) = lengths
    rows = _batch_size if length == "max_steps" else lambda flags: 1  # an epoch has as many rows for every batch size
    wanted = max(_passes(flags) * flags[length] * rows(flags) for flags in all_flags) / rows(common)
    if wanted <= common[length]:
        raise ValueError(f"--equal_compute: none of {', '.join(specs)} costs more passes than vanilla; leave it out.")
    value = math.ceil(wanted) if length == "max_steps" else wanted
    return f"vanilla/{length}={int(value) if value == int(value) else value}"


def folder_name(spec: str) -> str:
    """The specification as a folder name: no `/`, and no `:`, which some file systems refuse."""
    return spec.replace("/", "+").replace(":", "_")


def _batch_size(flags: Mapping[str, Any]) -> int:
    return flags["per_device_train_batch_size"] * flags.get("gradient_accumulation_steps", 1)


def _passes(flags: Mapping[str, Any]) -> float:
    args = _training_arguments(flags)
    return args.loss_weights.needs_clean * args.vwci_passes + args.loss_weights.needs_mixed * args.mix_share


def _training_arguments(flags: Mapping[str, Any]) -> LogitMixTrainingArguments:
    known = {field.name for field in dataclasses.fields(LogitMixTrainingArguments)}
    own = {name: value for name, value in flags.items() if name in known and name not in _HARDWARE}
    return LogitMixTrainingArguments(**{"output_dir": tempfile.gettempdir(), **own})
