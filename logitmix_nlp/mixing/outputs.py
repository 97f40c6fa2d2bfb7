# SPDX-License-Identifier: Apache-2.0
"""What a classifier returns."""

from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

__all__ = ["Diverged", "SetupError", "check_classifier", "logits_of"]

LOAD_A_CLASSIFIER = (
    "load the model with AutoModelForSequenceClassification, AutoModelForTokenClassification or "
    "AutoModelForImageClassification, which add one."
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
        `torch.Tensor` of shape `(batch, num_labels)`, or of tokens `(batch, tokens, num_labels)`: The logits.

    Raises:
        ValueError: If there is no such tensor; the message says how to load a classifier.
    """
    if isinstance(outputs, dict):
        logits = outputs.get("logits")
    else:
        logits = next((output for output in outputs if isinstance(output, torch.Tensor) and output.dim()), None)
    if logits is None or not (logits.dim() == 2 or _are_of_tokens(logits, model)):
        got = "no logits" if logits is None else f"logits of shape {tuple(logits.shape)}"
        raise ValueError(
            f"{type(model).__name__} returned {got}, not (batch, num_labels) of a classification head, or (batch, "
            f"tokens, num_labels) of one for tokens: {LOAD_A_CLASSIFIER}"
        )
    return logits


def _are_of_tokens(logits: torch.Tensor, model: nn.Module) -> bool:
    """Whether there are as many as there are classes for each token, or twice as many, with the head of LaMix."""
    config = getattr(getattr(model, "module", model), "config", None)  # `module`: of a distributed wrapper
    classes = getattr(config, "num_labels", 0)
    return logits.dim() == 3 and logits.shape[-1] in (classes, 2 * classes)
