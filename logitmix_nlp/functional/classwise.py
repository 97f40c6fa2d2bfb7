# SPDX-License-Identifier: Apache-2.0
"""Calibration of every class's probability, not of the predicted one alone."""

import torch

from logitmix_nlp.functional.calibration import GRID, ConfidenceBins, bin_index
from logitmix_nlp.functional.checks import check_bins
from logitmix_nlp.functional.predictions import checked_predictions, row_chunks, row_sums, softmax_powers

__all__ = ["class_confidence_bins", "classwise_calibration_error"]


def class_confidence_bins(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> ConfidenceBins:
    """Sort each class's probabilities into bins, all rows once per class.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Number of equal bins `(a, b]` of each class.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `ConfidenceBins` of shape `(C, M)`: Rows, sums of the class's probability and rows of that class, by the
        class's probability. Added like any others; `calibration_error()` is the class-wise ECE.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    check_bins(n_bins)
    scores, labels, logits = checked_predictions(logits_or_probs, labels, from_logits)
    n_classes = scores.shape[1]
    cells = n_classes * n_bins
    count, steps, correct = labels.new_zeros(3, cells, dtype=torch.float64)
    first_cells = torch.arange(n_classes, device=labels.device)[:, None] * n_bins
    for piece, classes in row_chunks(scores, labels):
        probs = _probabilities(piece) if logits else piece.T.clamp(max=1.0)
        cell = bin_index(probs, n_bins) + first_cells
        weights = (probs.double() / GRID).round_().flatten()
        steps += torch.bincount(cell.flatten(), weights=weights, minlength=cells)
        count += torch.bincount(cell.flatten(), minlength=cells)
        correct += torch.bincount(cell.gather(0, classes[None]).squeeze(0), minlength=cells)
    return ConfidenceBins(*(sums.view(n_classes, n_bins) for sums in (count, steps * GRID, correct)))


def classwise_calibration_error(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Class-wise ECE, `1 / C * sum_c sum_m |B_mc| / n * |freq_c(B_mc) - p_c(B_mc)|` (Kull et al., 2019).

    `B_mc` holds the rows whose probability of class `c` lies in bin `m`, `freq_c` is the share of them that are of
    class `c`, `p_c` their mean probability of it. Also called static calibration error (Nixon et al., 2019). A class
    without rows still has probabilities, and counts.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Number of equal bins `(a, b]` of each class; quote it with the value.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`. With many classes most probabilities are near 0, and so is the
        value: compare it between models of the same classes only.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    return class_confidence_bins(logits_or_probs, labels, n_bins, from_logits=from_logits).calibration_error()


def _probabilities(logits: torch.Tensor) -> torch.Tensor:
    powers, _ = softmax_powers(logits)
    return powers / row_sums(powers.clone())
