# SPDX-License-Identifier: Apache-2.0
"""How a model was trained: the settings that matter or were changed, what came of them, and with which software."""

import enum
import importlib.metadata
import platform
from dataclasses import MISSING, fields
from typing import Any

from transformers import TrainerState, TrainingArguments

from logitmix_nlp.publishing.hub.public_text import public_text
from logitmix_nlp.publishing.hub.secrets import is_secret_name
from logitmix_nlp.training.mix_settings import settings_of
from logitmix_nlp.training.neutral_arguments import NEUTRAL, SCORING

__all__ = ["progress", "recipe", "selected_by", "versions", "weights_step"]

ALWAYS = (
    "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "optim",
    "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "bf16", "fp16", "seed",
)  # fmt: skip
# Stands elsewhere, or is nobody's business; what changes nothing is left out as well, see `neutral_arguments`.
SILENT = (
    "accelerator_config", "activation_checkpointing", "auto_find", "deepspeed", "eval_", "fsdp", "full_determinism",
    "gradient_checkpointing", "greater_is_better", "label_names", "load_best", "max_steps", "metric_for_best",
    "parallelism_config", "remove_unused", "save_", "tf32",
)  # fmt: skip
PACKAGES = ("logitmix-nlp", "transformers", "torch", "datasets", "accelerate")


def recipe(args: TrainingArguments, state: TrainerState) -> tuple[tuple[str, str], ...]:
    """Settings of a training: the ones every reader asks for, and those that differ from their defaults.

    Args:
        args (`TrainingArguments`): The arguments.
        state (`TrainerState`): Where the training stands.

    Returns:
        `tuple`: Pairs of name and value; no secrets, no local folders.
    """
    if state.global_step == 0:
        return (("steps", "0: this trainer took no training step"),)
    rows = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    shown = [("optimizer steps taken", f"{state.global_step:,}"), ("rows per step", str(rows))]
    if args.world_size > 1:
        shown.append(("processes", str(args.world_size)))
    changed = [f.name for f in fields(args) if f.init and f.name not in ALWAYS and _is_changed(args, f)]
    always = ["max_steps" if name == "num_train_epochs" and args.max_steps > 0 else name for name in ALWAYS]
    return tuple(shown + [(name, _public(getattr(args, name))) for name in (*always, *changed)])


def _is_changed(args: TrainingArguments, field: Any) -> bool:
    name = field.name
    of_the_method = {"mix_method", *settings_of(type(args))}
    if name in of_the_method | NEUTRAL | SCORING or name.startswith(SILENT) or is_secret_name(name):
        return False
    default = field.default_factory() if field.default is MISSING else field.default
    value = getattr(args, field.name)
    return _public(value) != _public(default) and not (default is None and value in ({}, [], ""))


def _public(value: Any) -> str:
    value = value.value if isinstance(value, enum.Enum) else value
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return public_text(text)


def weights_step(args: TrainingArguments, state: TrainerState, training: bool) -> int:
    """The step whose weights the model holds: the last one, or that of the best checkpoint loaded after training."""
    best = args.load_best_model_at_end and not training and state.best_model_checkpoint is not None
    return state.best_global_step if best and state.best_global_step is not None else state.global_step


def selected_by(args: TrainingArguments, state: TrainerState, training: bool) -> str | None:
    """The metric that chose the weights, or `None` if they are simply the last ones."""
    if not args.load_best_model_at_end or training or state.best_model_checkpoint is None:
        return None
    return f"eval_{args.metric_for_best_model.removeprefix('eval_')}"


def progress(args: TrainingArguments, state: TrainerState, training: bool) -> str:
    """Which weights these are, as a sentence."""
    if state.global_step == 0:
        return "These weights took no training step in this run."
    step, chosen = weights_step(args, state, training), selected_by(args, state, training)
    if chosen is not None:
        return f"These are the weights of step {step:,} of {state.global_step:,}, the best checkpoint by `{chosen}`."
    if training:
        return f"These are the weights of step {step:,}; training goes on to step {state.max_steps:,}."
    return f"These are the weights of the last step, {step:,}."


def versions() -> tuple[tuple[str, str], ...]:
    """Versions of Python, this library and those that decide what is computed."""
    return (("Python", platform.python_version()), *((name, _version(name)) for name in PACKAGES))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "from a checkout"
