# SPDX-License-Identifier: Apache-2.0
"""Calibration and proper scores of multi-label classifiers, whose labels are so many yes-or-no questions."""

import torch

from logitmix_nlp.functional.calibration import GRID, ConfidenceBins, bin_index
from logitmix_nlp.functional.scores import ScoreSums

__all__ = ["label_confidence_bins", "label_score_sums"]


def label_confidence_bins(logits: torch.Tensor, labels: torch.Tensor, n_bins: int = 15) -> ConfidenceBins:
    """Sort the probabilities of each label into bins, all rows once per label.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Before the sigmoid.
        labels (`torch.Tensor` of shape `(N, C)`): 1 where a row has a label, 0 where not; any dtype.
        n_bins (`int`): Number of equal bins `(a, b]` of each label.

    Returns:
        `ConfidenceBins` of shape `(C, M)`: Rows, sums of the probability and rows that have the label, by its
        probability. Added like any others; `calibration_error()` is the mean over labels of
        `sum_m |B_mc| / n * |freq_c(B_mc) - p_c(B_mc)|`, and `calibration_errors()` are those of the labels.

    Raises:
        ValueError: If there are no rows, shapes differ, a logit is not finite or a label is neither 0 nor 1.
    """
    logits, labels = _checked(logits, labels)
    n_labels = logits.shape[1]
    probs = logits.sigmoid()
    cell = (bin_index(probs, n_bins) + torch.arange(n_labels, device=logits.device) * n_bins).flatten()
    weights = (torch.ones_like(probs), (probs / GRID).round_() * GRID, labels)
    sums = (torch.bincount(cell, weights=one.flatten(), minlength=n_labels * n_bins) for one in weights)
    return ConfidenceBins(*(one.view(n_labels, n_bins) for one in sums))


def label_score_sums(logits: torch.Tensor, labels: torch.Tensor) -> ScoreSums:
    """Sum both proper scores of every yes-or-no question.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Before the sigmoid.
        labels (`torch.Tensor` of shape `(N, C)`): See [`label_confidence_bins`].

    Returns:
        `ScoreSums`: Its `count` is `N * C`; so the NLL is the mean binary cross-entropy in nats, as Transformers'
        loss, and the Brier score the mean of `(p - y)^2`, in `[0, 1]`.

    Raises:
        ValueError: See [`label_confidence_bins`].
    """
    logits, labels = _checked(logits, labels)
    nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    brier = (logits.sigmoid() - labels).square().sum()
    return ScoreSums(torch.full_like(nll, logits.numel()), nll, brier)


def _checked(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in float64 on one device."""
    logits, labels = torch.as_tensor(logits).detach().double(), torch.as_tensor(labels)
    labels = labels.to(logits.device).double()
    if logits.dim() != 2 or logits.shape != labels.shape or not len(logits):
        raise ValueError(
            "Expected logits and labels of one shape (N, C) with N >= 1, got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    if not logits.isfinite().all():
        row = int((~logits.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"The logits hold NaN or infinite values, first in row {row}.")
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("Labels of a multi-label classifier must be 0 or 1.")
    return logits, labels
