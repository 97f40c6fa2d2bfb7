# SPDX-License-Identifier: Apache-2.0
"""What stock `TrainingArguments` takes without a word and stumbles over later, or trains nonsense with."""

import json
from collections.abc import Callable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from transformers.integrations import get_available_reporting_integrations
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer_utils import FSDPOption

__all__ = ["check_number", "check_numbers", "check_reporters", "check_texts"]

INFINITY = float("inf")
COUNTS = {
    "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "gradient_accumulation_steps": 1,
    "dataloader_num_workers": 0, "dataloader_prefetch_factor": 1,
}  # fmt: skip
# What is not refused here has a meaning: max_grad_norm 0 or less clips nothing and infinity only measures, max_steps
# and save_total_limit of 0 or less set no limit, save_steps of 0 or less saves nothing, a learning rate of 0 is still.
RANGES = {
    "learning_rate": (lambda x: 0 <= x < INFINITY, "finite and at least 0"),
    "weight_decay": (lambda x: 0 <= x < INFINITY, "finite and at least 0"),
    "adam_beta1": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "adam_beta2": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "adam_epsilon": (lambda x: 0 <= x < INFINITY, "finite and at least 0"),
    "neftune_noise_alpha": (lambda x: 0 <= x < INFINITY, "finite and at least 0, or None for no noise"),
    "max_steps": (lambda x: x == x, "a number of steps, -1 for whole epochs"),
    "max_grad_norm": (lambda x: x == x, "a number; 0 clips nothing"),
    "warmup_steps": (lambda x: 0 <= x < INFINITY, "steps, or a share of training below 1"),
    "eval_delay": (lambda x: x == x, "steps or epochs"),
    "eval_accumulation_steps": (lambda x: x != 0, "at least 1, or None to keep all outputs on the device"),
}  # fmt: skip
WITHOUT_PACKAGE = ("azure_ml", "flyte", "kubeflow")  # which are not listed as available where they work
JSON_FIELDS = ("lr_scheduler_kwargs", "activation_checkpointing_kwargs", "gradient_checkpointing_kwargs")
FILE_FIELDS = ("accelerator_config", "fsdp_config", "deepspeed")


def check_numbers(args: Any) -> None:
    """Refuse NaN, infinities and negative numbers where no training can be done with them; `None` is left alone.

    Args:
        args (`TrainingArguments`): Only read; also before its own `__post_init__`.

    Raises:
        ValueError: Naming the argument, what was given and what is allowed.
    """
    for name, least in COUNTS.items():
        value = getattr(args, name)
        if value is not None and (not isinstance(value, Integral) or value < least):
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    for name, (fits, allowed) in RANGES.items():
        check_number(name, getattr(args, name), fits, allowed)
    for name in ("logging", "eval", "save"):
        if getattr(args, f"{name}_strategy") == "steps":
            steps = getattr(args, f"{name}_steps")
            check_number(f"{name}_steps", steps, lambda x: abs(x) < INFINITY, "steps, or a share of training below 1")
    if not args.max_steps or args.max_steps <= 0:  # else epochs are not counted
        allowed = "finite and at least 0 where max_steps is not set"
        check_number("num_train_epochs", args.num_train_epochs, lambda x: 0 <= x < INFINITY, allowed)


def check_texts(args: Any) -> None:
    """Refuse texts of options that cannot be read or are not among the choices, and files that are not there.

    Args:
        args (`TrainingArguments`): Only read, before its own `__post_init__`.

    Raises:
        ValueError: Naming the argument.
    """
    if args.output_dir is not None and not str(args.output_dir).strip():
        raise ValueError("output_dir is empty: give the folder that the results go to, '.' for this one.")
    for name in (*JSON_FIELDS, *FILE_FIELDS):
        value = getattr(args, name, None)  # some are of later versions of Transformers than the lowest
        if not isinstance(value, str):
            continue
        if value.startswith("{"):
            try:
                json.loads(value)
            except ValueError as error:
                raise ValueError(f"{name} is not valid JSON ({error}): {value}") from error
        elif name in JSON_FIELDS:
            raise ValueError(f"{name} must be a JSON object such as '{{\"name\": 1}}', got {value!r}.")
        elif ("." in value or "/" in value) and not Path(value).is_file():  # else it may be base64
            raise ValueError(f"{name} {value}: no such file; give a JSON file, or a JSON object.")
    for pair in str(args.optim_args or "").replace(" ", "").split(","):
        if pair and pair.count("=") != 1:
            raise ValueError(f"optim_args must be name=value pairs with commas between them, got {args.optim_args!r}.")
    for option in args.fsdp.split() if isinstance(args.fsdp, str) else ():
        if option.lower() not in set(FSDPOption):
            raise ValueError(
                f"fsdp: unknown option {option!r}. Choose from: {', '.join(FSDPOption)}; or give --fsdp alone."
            )
    if args.torch_compile_mode is not None and args.torch_compile_backend in (None, "inductor"):
        from torch._inductor import list_mode_options  # slow to import, and rarely needed

        modes = list_mode_options()
        if args.torch_compile_mode not in modes:
            raise ValueError(f"torch_compile_mode must be one of {', '.join(modes)}, got {args.torch_compile_mode!r}.")


def check_reporters(names: list[str]) -> None:
    """Refuse programs to report to that are unknown, or whose package is missing.

    Args:
        names (`list[str]`): `report_to`, as `TrainingArguments` leaves it.

    Raises:
        ValueError: If Transformers does not know one.
        ImportError: If its package is missing.
    """
    available = get_available_reporting_integrations() if names else []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise ValueError(
                f"report_to: unknown {name!r}. Choose from: none, all, {', '.join(INTEGRATION_TO_CALLBACK)}."
            )
        if name not in available and name not in WITHOUT_PACKAGE:
            raise ImportError(
                f"report_to={name}: its package is missing here; install it (pip install {name}), or leave it out."
            )


def check_number(name: str, value: Any, fits: Callable[[Any], bool], allowed: str) -> None:
    """Refuse what is no number or does not fit; `None` is left alone.

    Raises:
        ValueError: Naming the argument, what is allowed and what was given.
    """
    if value is not None and (not isinstance(value, Real) or not fits(value)):
        raise ValueError(f"{name} must be {allowed}, got {value!r}.")
