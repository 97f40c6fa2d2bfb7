# SPDX-License-Identifier: Apache-2.0
"""A temperature that travels with its model: one number in `config.json`, read by everything that asks for it."""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME, logging

from logitmix_nlp.whole_files import read_object, write_whole

__all__ = [
    "TEMPERATURE_KEY",
    "calibrated_logits",
    "check_writable",
    "clear_temperature",
    "scale_outputs",
    "stored_temperature",
    "write_temperature",
]

TEMPERATURE_KEY = "calibration_temperature"
logger = logging.get_logger(__name__)


def stored_temperature(config: PreTrainedConfig) -> float:
    """Temperature that a model's configuration holds, 1 if none.

    Args:
        config (`PreTrainedConfig`): Of a single-label classifier.

    Returns:
        `float`: What logits are to be divided by (Guo et al., 2017, Eq. 9), above 0.

    Raises:
        ValueError: If it is not a finite number above 0, or the model is not a single-label classifier.
    """
    stored = vars(config).get(TEMPERATURE_KEY)
    if stored is None:
        return 1.0
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not 0 < stored < math.inf:
        raise ValueError(
            f"{TEMPERATURE_KEY} of the model's configuration must be a finite number above 0, got {stored!r}: "
            f"correct or remove it (python -m logitmix_nlp calibrate MODEL --remove)."
        )
    if config.num_labels < 2 or config.problem_type not in (None, "single_label_classification"):
        kind = config.problem_type or "a regression"
        raise ValueError(
            f"{TEMPERATURE_KEY}={stored} is for single-label classifiers, and this model is {kind} of "
            f"{config.num_labels} outputs: remove it (python -m logitmix_nlp calibrate MODEL --remove)."
        )
    return float(stored)


def calibrated_logits(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """Logits divided by the temperature that the model's configuration holds; softmax makes them honest.

    Example:
        `probs = calibrated_logits(model, model(**batch).logits).softmax(-1)`

    Args:
        model (`PreTrainedModel`): Any Transformers classifier.
        logits (`torch.Tensor` of shape `(N, C)`): What it returned; not written to.

    Returns:
        `torch.Tensor` of shape `(N, C)`: `logits / T`; the very tensor if nothing is stored. Their order, and so the
        predictions, are the same.

    Raises:
        ValueError: See [`stored_temperature`].
    """
    return scale_outputs(logits, stored_temperature(model.config))


def scale_outputs(logits: Any, temperature: float) -> Any:
    """Divide logits, of which there may be none, or more outputs in a tuple behind them, by a temperature.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`, `tuple` or `None`): As `Trainer.prediction_step` has them.
        temperature (`float`): Above 0.

    Returns:
        The same with logits divided; exactly what was given for a temperature of 1.
    """
    if logits is None or temperature == 1:
        return logits
    if isinstance(logits, tuple):
        return (logits[0] / temperature, *logits[1:])
    return logits / temperature


def clear_temperature(config: PreTrainedConfig) -> None:
    """Forget a stored temperature, with a warning: it was fitted to weights that are about to change."""
    before = vars(config).pop(TEMPERATURE_KEY, None)
    if before is not None:
        logger.warning(
            f"The model's {TEMPERATURE_KEY}={before} was fitted to the weights before this training and is removed: "
            "fit another afterwards with python -m logitmix_nlp calibrate."
        )


def check_writable(folder: str | Path) -> Path:
    """The `config.json` of a model's folder, to be asked for before the work of fitting a temperature.

    Args:
        folder (`str` or `Path`): Folder of the model.

    Returns:
        `Path`: The file.

    Raises:
        FileNotFoundError: If the folder holds no configuration, for example, because a Hub id was given.
        PermissionError: If its folder is not writable.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file: the temperature is written into a model's own folder; download the model first "
            "(model.save_pretrained(folder))."
        )
    if not os.access(path.resolve().parent, os.W_OK):
        raise PermissionError(f"{path.resolve().parent} is not writable: copy the model first.")
    return path


def write_temperature(folder: str | Path, temperature: float | None) -> float | None:
    """Set or remove the temperature in `config.json` of a model's folder; all else in it stays as it is.

    The file is replaced in one step, so that a reader never sees half of one, not even after a crash.

    Args:
        folder (`str` or `Path`): Folder of the model.
        temperature (`float`, *optional*): Above 0; `None` removes it.

    Returns:
        `float`: What was stored before, `None` if nothing.

    Raises:
        FileNotFoundError: If the folder holds no configuration.
        ValueError: If that is not a JSON object, or the temperature is not a finite number above 0.
    """
    if temperature is not None and not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be finite and above 0, got {temperature}.")
    path = check_writable(folder)
    config = read_object(path)
    before = config.pop(TEMPERATURE_KEY, None)
    if temperature is not None:
        config[TEMPERATURE_KEY] = temperature
    write_whole(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return before
