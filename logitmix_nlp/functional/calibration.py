# SPDX-License-Identifier: Apache-2.0
"""Is the model as sure as it is right? One definition of each calibration figure for the whole library."""

from typing import NamedTuple

import torch

__all__ = [
    "ConfidenceBins",
    "brier_score",
    "confidence_bins",
    "expected_calibration_error",
    "negative_log_likelihood",
    "overconfidence_error",
]

ROUNDING = 0.05  # how far the sum of a row of probabilities, rounded to two decimals, say, may be off 1


class ConfidenceBins(NamedTuple):
    """Rows counted by confidence, the probability of the predicted class, in `M` equal bins `(a, b]` of `[0, 1]`.

    The first bin also holds confidence 0. Sums are float64, so that bins of several shards may be added.

    Args:
        count (`torch.Tensor` of shape `(M,)`): Rows in the bin.
        confidence (`torch.Tensor` of shape `(M,)`): Sum of their confidences.
        correct (`torch.Tensor` of shape `(M,)`): How many of them are predicted rightly.
    """

    count: torch.Tensor
    confidence: torch.Tensor
    correct: torch.Tensor

    def mean_confidence(self) -> torch.Tensor:
        """Mean confidence of each bin; 0 for an empty one."""
        return self.confidence / self.count.clamp(min=1)

    def accuracy(self) -> torch.Tensor:
        """Share of right predictions in each bin; 0 for an empty one."""
        return self.correct / self.count.clamp(min=1)

    def calibration_error(self) -> torch.Tensor:
        """ECE of the rows in the bins, see [`expected_calibration_error`]."""
        return (self.correct - self.confidence).abs().sum() / self.count.sum()

    def overconfidence(self) -> torch.Tensor:
        """OE of the rows in the bins, see [`overconfidence_error`]."""
        excess = (self.confidence - self.correct).clamp(min=0)
        return (self.mean_confidence() * excess).sum() / self.count.sum()


def confidence_bins(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> ConfidenceBins:
    """Sort predictions into bins of confidence, the basis of ECE, OE and reliability diagrams.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): Logits, or probabilities. A matrix is taken as
            probabilities if every entry lies in `[0, 1]` and every row sums to 1 within rounding; else as logits.
            NumPy arrays are taken too.
        labels (`torch.Tensor` of shape `(N,)`): True classes, integers in `[0, C)`.
        n_bins (`int`): Number of bins `M`, at least 1. The confidence of given probabilities is compared with bin
            edges of the same dtype (0.6 in float32 lies in `(…, 0.6]`); that of logits is computed in float64.
        from_logits (`bool`, *optional*): Say what the scores are instead of having them recognised.

    Returns:
        `ConfidenceBins`: Counts and sums per bin, on the device of the input.

    Raises:
        ValueError: On empty data, NaN or infinite values, shapes that do not fit, labels out of range, `n_bins < 1`,
            or if `from_logits=False` and the rows are no probabilities.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}.")
    scores, labels = _checked(logits_or_probs, labels)
    if not _are_logits(scores, from_logits):
        confidence, predicted = scores.max(dim=-1)
        confidence = confidence.clamp(max=1.0)
    else:
        scores = scores.double()
        largest, predicted = scores.max(dim=-1)
        confidence = (largest - scores.logsumexp(dim=-1)).exp()
    edges = (torch.arange(1, n_bins, dtype=torch.float64) / n_bins).to(confidence)
    bins = torch.bucketize(confidence, edges)
    sums = [
        torch.bincount(bins, weights=weights.double(), minlength=n_bins)
        for weights in (torch.ones_like(confidence), confidence, predicted == labels)
    ]
    return ConfidenceBins(*sums)


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


def negative_log_likelihood(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Mean of `-log p(true class)`, a proper score: right *and* honest is the only way to make it small.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in nats, at least 0; infinite where a true class was given probability 0.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    scores, labels = _checked(logits_or_probs, labels)
    log_probs = scores.double().log_softmax(dim=-1) if _are_logits(scores, from_logits) else scores.double().log()
    return -log_probs.gather(1, labels[:, None]).mean()


def brier_score(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Mean of `sum_c (p_c - [c is true])^2` (Brier, 1950), a proper score that one sure mistake cannot dominate.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 2]`; scikit-learn's `brier_score_loss` for two classes is half of it.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    scores, labels = _checked(logits_or_probs, labels)
    probs = scores.double().softmax(dim=-1) if _are_logits(scores, from_logits) else scores.double()
    true = probs.gather(1, labels[:, None]).squeeze(1)
    return (probs.square().sum(-1) - 2 * true + 1).clamp(min=0).mean()


def _are_logits(scores: torch.Tensor, from_logits: bool | None) -> bool:
    if from_logits:
        return True
    tolerance = max(1e-4, 2 * torch.finfo(scores.dtype).eps)
    low, high = scores.aminmax()
    if low >= 0 and high <= 1 + tolerance:
        off = (scores.double().sum(-1) - 1).abs().max()
        if off <= (tolerance if from_logits is None else ROUNDING):
            return False
        if from_logits is None and off <= ROUNDING:
            raise ValueError(
                f"The rows look like probabilities, but their sums are off 1 by up to {off:.2g}: say "
                "from_logits=False if they are rounded probabilities, from_logits=True if they are logits."
            )
    if from_logits is False:
        sums = scores.double().sum(-1)
        raise ValueError(
            f"from_logits=False, but the rows are no probabilities: entries lie in [{low:.4g}, {high:.4g}], "
            f"row sums in [{sums.min():.4g}, {sums.max():.4g}]. Pass softmax outputs, or logits with from_logits=True."
        )
    return True


def _checked(scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scores, labels = torch.as_tensor(scores).detach(), torch.as_tensor(labels)
    if scores.dim() != 2 or scores.shape[1] < 2 or not scores.is_floating_point():
        raise ValueError(
            "Expected floating point logits or probabilities of shape (N, C) with C >= 2, got "
            f"{scores.dtype} of shape {tuple(scores.shape)}."
        )
    if labels.shape != scores.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"Expected {len(scores)} integer labels of shape (N,), got {labels.dtype} of shape {tuple(labels.shape)}."
        )
    if len(scores) == 0:
        raise ValueError("No rows: a calibration figure needs at least one.")
    if not all(torch.isfinite(bound) for bound in scores.aminmax()):
        rows = (~torch.isfinite(scores)).any(-1).nonzero().flatten()
        raise ValueError(f"{len(rows)} rows hold NaN or infinite values, the first is row {rows[0].item()}.")
    labels = labels.long().to(scores.device)
    outside = ((labels < 0) | (labels >= scores.shape[1])).nonzero().flatten()
    if len(outside):
        row = outside[0].item()
        raise ValueError(
            f"{len(outside)} labels lie outside [0, {scores.shape[1]}), the first is {labels[row].item()} "
            f"in row {row}; leave unlabelled rows out."
        )
    return scores, labels
