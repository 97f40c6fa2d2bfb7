# SPDX-License-Identifier: Apache-2.0
"""What a classifier returns."""

from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

__all__ = ["Diverged", "SetupError", "check_classifier", "logits_of"]

LOAD_A_CLASSIFIER = (
    "load the model with AutoModelForSequenceClassification or AutoModelForImageClassification, which add one."
)


class SetupError(ValueError):
    """Model, data and arguments do not go together, which the first training step shows before it is taken."""


class Diverged(SetupError):
    """Weights or outputs of a model are NaN or infinite."""


def check_classifier(model: nn.Module) -> None:
    """Refuse models that are no Transformers classifier.

    Raises:
        TypeError: If the model has no config.
        ValueError: If it is a bare encoder.
    """
    if getattr(model, "config", None) is None:
        raise TypeError(
            f"{type(model).__name__} has no config: LogitMixTrainer needs a Transformers classifier; "
            "logitmix_nlp.functional works in any training loop."
        )
    if type(model).__name__ in MODEL_MAPPING_NAMES.values():
        raise ValueError(f"{type(model).__name__} has no classification head: {LOAD_A_CLASSIFIER}")


def logits_of(outputs: Any, model: nn.Module) -> torch.Tensor:
    """Logits out of a model's outputs, which may be a `ModelOutput` or a tuple (with the loss before the logits).

    Args:
        outputs (`ModelOutput` or `tuple`): What the model returned.
        model (`nn.Module`): The model, for the message.

    Returns:
        `torch.Tensor` of shape `(batch, num_labels)`: The logits.

    Raises:
        ValueError: If there is no such tensor; the message says how to load a classifier.
    """
    if isinstance(outputs, dict):
        logits = outputs.get("logits")
    else:
        logits = next((output for output in outputs if isinstance(output, torch.Tensor) and output.dim()), None)
    if logits is None or logits.dim() != 2:
        found = "no logits" if logits is None else f"logits of shape {tuple(logits.shape)}"
        raise ValueError(
            f"{type(model).__name__} returned {found}, not (batch, num_labels) of a classification head: "
            f"{LOAD_A_CLASSIFIER}"
        )
    return logits
