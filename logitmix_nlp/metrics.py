# SPDX-License-Identifier: Apache-2.0
"""Figures of `functional.calibration` for NumPy arrays, in the form `Trainer` reports them."""

import numpy as np
import torch

from logitmix_nlp.functional.calibration import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)

__all__ = ["calibration_metrics"]


def calibration_metrics(
    logits: np.ndarray, labels: np.ndarray, n_bins: int = 15, *, from_logits: bool | None = True
) -> dict[str, float]:
    """ECE, OE, NLL and Brier score of a classifier's predictions.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Logits, before softmax, or probabilities.
        labels (`np.ndarray` of shape `(N,)`): True classes, integers in `[0, C)`.
        n_bins (`int`): Number of equal confidence bins `(a, b]`.
        from_logits (`bool`, *optional*): Whether the scores are logits, as those of a `Trainer` are; `False` for
            probabilities, `None` to have them recognised.

    Returns:
        `dict[str, float]`: `ece` and `oe` in `[0, 1]` (Thulasidasan et al., 2019), `nll` in nats,
        `brier` in `[0, 2]`.

    Raises:
        ValueError: See [`functional.confidence_bins`].
    """
    logits, labels = _tensor(logits), _tensor(labels)
    return {
        "ece": expected_calibration_error(logits, labels, n_bins, from_logits=from_logits).item(),
        "oe": overconfidence_error(logits, labels, n_bins, from_logits=from_logits).item(),
        "nll": negative_log_likelihood(logits, labels, from_logits=from_logits).item(),
        "brier": brier_score(logits, labels, from_logits=from_logits).item(),
    }


def _tensor(array: np.ndarray) -> torch.Tensor:
    """A copy, so that read-only and reversed arrays are taken too."""
    return torch.tensor(np.ascontiguousarray(array))
