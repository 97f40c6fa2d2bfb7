# SPDX-License-Identifier: Apache-2.0
"""What confidence is worth, from its order alone: risk against coverage, AUROC, and bins of equal mass."""

from typing import NamedTuple

import torch

from logitmix_nlp.functional.checks import check_bins
from logitmix_nlp.functional.predictions import checked_predictions, confidence_chunks
from logitmix_nlp.functional.ranking import auroc

__all__ = [
    "RiskCoverage",
    "RowConfidences",
    "adaptive_calibration_error",
    "area_under_risk_coverage",
    "confidence_auroc",
    "row_confidences",
]


class RiskCoverage(NamedTuple):
    """What is gained by leaving the least confident rows to someone else (El-Yaniv and Wiener, 2010).

    Args:
        threshold (`torch.Tensor` of shape `(K,)`): The distinct confidences, falling.
        coverage (`torch.Tensor` of shape `(K,)`): Share of the rows at least that confident, rising to 1.
        risk (`torch.Tensor` of shape `(K,)`): Share of wrong predictions among those.
    """

    threshold: torch.Tensor
    coverage: torch.Tensor
    risk: torch.Tensor


class RowConfidences(NamedTuple):
    """Confidence of each row and whether it is predicted rightly. Those of shards are joined with `+`.

    Every metric sorts the rows and treats rows of equal confidence alike, so that it does not depend on their order:
    those of shards in any order give bitwise the value of the whole.

    Args:
        confidence (`torch.Tensor` of shape `(N,)`): Probability of the predicted class, float64.
        correct (`torch.Tensor` of shape `(N,)`): Booleans.
    """

    confidence: torch.Tensor
    correct: torch.Tensor

    def __add__(self, other: "RowConfidences") -> "RowConfidences":
        return RowConfidences(*(torch.cat(pair) for pair in zip(self, other, strict=True)))

    def auroc(self) -> torch.Tensor:
        """AUROC of confidence for being right, see [`confidence_auroc`]."""
        if self.correct.all() or not self.correct.any():
            raise ValueError(
                f"All {len(self.correct)} predictions are {'right' if self.correct.any() else 'wrong'}: "
                "the AUROC of confidence needs rows of both kinds."
            )
        return auroc(self.confidence[self.correct], self.confidence[~self.correct])

    def risk_coverage(self) -> RiskCoverage:
        """Risk at every coverage that a threshold on the confidence can reach."""
        threshold, size, right = self._levels()
        covered = size.cumsum(0).double()
        return RiskCoverage(threshold, covered / len(self.correct), 1 - right.cumsum(0) / covered)

    def area_under_risk_coverage(self) -> torch.Tensor:
        """AURC of the rows, see [`area_under_risk_coverage`]."""
        right = self._right_among_first()[1:]
        return 1 - (right / torch.arange(1, len(right) + 1, device=right.device)).mean()

    def adaptive_calibration_error(self, n_bins: int = 15) -> torch.Tensor:
        """ECE of bins of equal mass, see [`adaptive_calibration_error`]."""
        check_bins(n_bins)
        n = len(self.confidence)
        cuts = torch.arange(n_bins + 1, device=self.confidence.device) * n // n_bins
        confidence = self.confidence.sort(descending=True).values.cumsum(0)
        confidence = torch.cat([confidence.new_zeros(1), confidence])
        return (self._right_among_first() - confidence)[cuts].diff().abs().sum() / n

    def _levels(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Distinct confidences, falling, with the rows and right predictions at each."""
        threshold, level = (-self.confidence).unique(return_inverse=True)
        size = torch.bincount(level, minlength=len(threshold))
        return -threshold, size, torch.bincount(level[self.correct], minlength=len(threshold))

    def _right_among_first(self) -> torch.Tensor:
        """Expected right predictions among the `0 … N` most confident rows, ties in random order."""
        _, size, right = self._levels()
        level = torch.repeat_interleave(size)
        after, rows_after = right.cumsum(0), size.cumsum(0)
        missing = rows_after[level] - torch.arange(1, len(level) + 1, device=level.device)
        expected = after[level] - missing * (right.double() / size)[level]
        return torch.cat([expected.new_zeros(1), expected])


def row_confidences(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> RowConfidences:
    """Reduce predictions to what ranks them: confidence, and being right.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `RowConfidences`: One value of each per row, in the order of the rows.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    parts = list(confidence_chunks(*checked_predictions(logits_or_probs, labels, from_logits)))
    confidence, correct = (torch.cat(column) for column in zip(*parts, strict=True))
    return RowConfidences(confidence.double(), correct)


def confidence_auroc(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Chance that a right prediction is more confident than a wrong one, ties counting half (Hendrycks et al., 2017).

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; 0.5 is chance. It sees the order of the confidences only, and is
        no measure of their size.

    Raises:
        ValueError: See [`confidence_bins`]; and if all predictions are right, or all wrong.
    """
    return row_confidences(logits_or_probs, labels, from_logits=from_logits).auroc()


def area_under_risk_coverage(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> torch.Tensor:
    """AURC, `1 / n * sum_k (wrong among the k most confident rows) / k` (Geifman et al., 2019).

    Rows of equal confidence count as if in random order: each partial group holds its expected number of errors.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; small if the model is right, and unsure where it is wrong.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    return row_confidences(logits_or_probs, labels, from_logits=from_logits).area_under_risk_coverage()


def adaptive_calibration_error(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, n_bins: int = 15, *, from_logits: bool | None = None
) -> torch.Tensor:
    """ECE of bins that hold equally many rows of neighbouring confidence (Nguyen & O'Connor, 2015).

    The bins are the rows from `floor(m n / M)` to `floor((m + 1) n / M)` by falling confidence; with fewer rows than
    bins, some are empty and count nothing. A cut through rows of equal confidence gives both sides the same share of
    right predictions.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        n_bins (`int`): Number of bins `M`, at least 1; quote it with the value.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; 0 is perfect.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    return row_confidences(logits_or_probs, labels, from_logits=from_logits).adaptive_calibration_error(n_bins)
