# SPDX-License-Identifier: Apache-2.0
"""Is the model as sure as it is right? Calibration from bins of confidence, one definition for the whole library."""

from typing import NamedTuple

import torch

from logitmix_nlp.functional.checks import check_bins
from logitmix_nlp.functional.predictions import checked_predictions, classes_of, confidence_chunks
from logitmix_nlp.functional.scores import brier_score, negative_log_likelihood

__all__ = [
    "ConfidenceBins",
    "bin_index",
    "brier_score",
    "confidence_bins",
    "expected_calibration_error",
    "maximum_calibration_error",
    "negative_log_likelihood",
    "overconfidence_error",
]

GRID = 2.0**-30  # confidences are summed as multiples of this


class ConfidenceBins(NamedTuple):
    """Rows counted by confidence, the probability of the predicted class, in `M` equal bins `(a, b]` of `[0, 1]`.

    The first bin also holds confidence 0. Bins of batches, shards or processes are added with `+`, or as one tensor
    by `all_reduce(torch.stack(bins))`. The sum is bitwise that of all rows at once, in any order: a confidence is
    rounded to a multiple of 2^-30 (at most 5e-10 away) before it is summed, so that float64 sums of up to 8 million
    rows per bin are exact; further rows are added with the usual rounding of float64. Say `from_logits` when adding:
    batches are recognised one by one, and a small one of logits may look like probabilities.

    Args:
        count (`torch.Tensor` of shape `(M,)`): Rows in the bin, float64.
        confidence (`torch.Tensor` of shape `(M,)`): Sum of their confidences, float64.
        correct (`torch.Tensor` of shape `(M,)`): How many of them are predicted rightly, float64.
    """

    count: torch.Tensor
    confidence: torch.Tensor
    correct: torch.Tensor

    def __add__(self, other: "ConfidenceBins") -> "ConfidenceBins":
        if self.count.shape != other.count.shape:
            raise ValueError(
                f"Bins of shapes {tuple(self.count.shape)} and {tuple(other.count.shape)} cannot be added: "
                "count both with the same n_bins."
            )
        return ConfidenceBins(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def mean_confidence(self) -> torch.Tensor:
        """Mean confidence of each bin; 0 for an empty one."""
        return self.confidence / self.count.clamp(min=1)

    def accuracy(self) -> torch.Tensor:
        """Share of right predictions in each bin; 0 for an empty one."""
        return self.correct / self.count.clamp(min=1)

    def calibration_error(self) -> torch.Tensor:
        """ECE of the rows in the bins, see [`expected_calibration_error`]."""
        return (self.correct - self.confidence).abs().sum() / self.count.sum()

    def calibration_errors(self) -> torch.Tensor:
        """ECE of each class or label, for bins of shape `(C, M)`; their mean is `calibration_error()`."""
        return (self.correct - self.confidence).abs().sum(-1) / self.count.sum(-1)

    def maximum_calibration_error(self) -> torch.Tensor:
        """MCE of the rows in the bins, see [`maximum_calibration_error`]."""
        return (self.accuracy() - self.mean_confidence()).abs().max()

    def overconfidence(self) -> torch.Tensor:
        """OE of the rows in the bins, see [`overconfidence_error`]; of bins of shape `(…, M)`, one each."""
        excess = (self.confidence - self.correct).clamp(min=0)
        return (self.mean_confidence() * excess).sum(-1) / self.count.sum(-1)


def bin_index(probs: torch.Tensor, n_bins: int) -> torch.Tensor:
    """Number of the bin `(m / M, (m + 1) / M]` of each probability, compared with edges of its own dtype.

    Args:
        probs (`torch.Tensor` of any shape): Probabilities in `[0, 1]`; 0 lies in the first bin.
        n_bins (`int`): Number of bins `M`, from 1 to `MOST_BINS`.

    Returns:
        `torch.Tensor`: Integers in `[0, M)`, of the same shape.

    Raises:
        ValueError: If `n_bins` is out of range.
    """
    check_bins(n_bins)
    edges = (torch.arange(1, n_bins, dtype=torch.float64) / n_bins).to(probs)
    place = probs.double() * n_bins
    index = place.long()
    near = place.sub_(place.round()).abs_() <= n_bins * torch.finfo(probs.dtype).eps
    if near.any():
        index[near] = torch.bucketize(probs[near], edges)
    return index


def confidence_bins(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> ConfidenceBins:
    """Sort predictions into bins of confidence, the basis of ECE, MCE, OE and reliability diagrams.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): Logits, or probabilities. A matrix is taken as
            probabilities if every entry lies in `[0, 1]` and every row sums to 1 within rounding; else as logits.
            NumPy arrays are taken too.
        labels (`torch.Tensor` of shape `(N,)`): True classes, integers in `[0, C)`; of class probabilities
            `(N, C)`, the most probable ones.
        n_bins (`int`): Number of bins `M`, from 1 to `MOST_BINS`. The confidence of given probabilities is compared
            with bin edges of the same dtype (0.6 in float32 lies in `(…, 0.6]`); that of logits is computed in
            float64.
        from_logits (`bool`, *optional*): Say what the scores are. `None` takes both: rows in `[0, 1]` that sum to 1
            are probabilities, sums a little off are refused, all else is logits, broken probabilities included;
            `False` refuses what are no probabilities.

    Returns:
        `ConfidenceBins`: Counts and sums per bin, on the device of the input.

    Raises:
        ValueError: On empty data, NaN or infinite values, shapes that do not fit, labels or `n_bins` out of range,
            or if `from_logits=False` and the rows are no probabilities.
    """
    check_bins(n_bins)
    scores, labels, logits = checked_predictions(logits_or_probs, classes_of(labels), from_logits)
    wrong_right = labels.new_zeros(2 * n_bins)
    steps = labels.new_zeros(n_bins, dtype=torch.float64)
    for confidence, correct in confidence_chunks(scores, labels, logits):
        index = bin_index(confidence, n_bins)
        steps += torch.bincount(index, weights=(confidence.double() / GRID).round_(), minlength=n_bins)
        wrong_right += torch.bincount(index.mul_(2).add_(correct), minlength=2 * n_bins)
    wrong_right = wrong_right.view(n_bins, 2).double()
    return ConfidenceBins(wrong_right.sum(1), steps * GRID, wrong_right[:, 1].clone())


def expected_calibration_error(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Expected calibration error, `ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|` (Thulasidasan et al., 2019).

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Number of equal bins `(a, b]`; quote it with the value. The LogitMix authors' code has 10.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; 0 is perfect.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    return confidence_bins(logits_or_probs, labels, n_bins, from_logits=from_logits).calibration_error()


def maximum_calibration_error(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Maximum calibration error, `MCE = max_m |acc(B_m) - conf(B_m)|` over the bins that hold rows (Guo et al., 2017).

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Number of equal bins `(a, b]`; quote it with the value. A bin of few rows can decide it.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`, at least the ECE of the same bins.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    return confidence_bins(logits_or_probs, labels, n_bins, from_logits=from_logits).maximum_calibration_error()


def overconfidence_error(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Overconfidence error, `OE = sum_m |B_m| / n * conf(B_m) * max(conf(B_m) - acc(B_m), 0)` (Thulasidasan et al.).

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Number of equal bins `(a, b]`; quote it with the value.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; 0 means that no bin is more confident than accurate.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    return confidence_bins(logits_or_probs, labels, n_bins, from_logits=from_logits).overconfidence()
