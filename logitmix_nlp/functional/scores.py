# SPDX-License-Identifier: Apache-2.0
"""Proper scores: only a model that is right and honest about its confidence makes them small."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from logitmix_nlp.functional.predictions import (
    checked_predictions,
    classes_of,
    row_chunks,
    row_sums,
    softmax_powers,
)

__all__ = ["ScoreSums", "brier_score", "negative_log_likelihood", "row_scores", "score_sums"]


class ScoreSums(NamedTuple):
    """Sums of the proper scores over rows. Those of batches, shards or processes are added with `+`.

    Args:
        count (`torch.Tensor`): Rows, float64 scalar.
        nll (`torch.Tensor`): Sum of `-log p(true class)`, float64 scalar.
        brier (`torch.Tensor`): Sum of `sum_c (p_c - [c is true])^2`, float64 scalar.
    """

    count: torch.Tensor
    nll: torch.Tensor
    brier: torch.Tensor

    def __add__(self, other: "ScoreSums") -> "ScoreSums":
        return ScoreSums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def negative_log_likelihood(self) -> torch.Tensor:
        """NLL of the rows, see [`negative_log_likelihood`]."""
        return self.nll / self.count

    def brier_score(self) -> torch.Tensor:
        """Brier score of the rows, see [`brier_score`]."""
        return self.brier / self.count


def score_sums(logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None) -> ScoreSums:
    """Sum both proper scores over the rows of a batch or shard.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes; or class probabilities `(N, C)`, which then take the
            place of 1 for the true class and 0 for the others.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `ScoreSums`: To be added; sums of shards are those of the whole within the rounding of float64.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    scores, labels, logits = _checked(logits_or_probs, labels, from_logits)
    nll, brier = (_total(rows, scores, labels, logits) for rows in (_row_nll, _row_brier))
    return ScoreSums(torch.full_like(nll, len(labels)), nll, brier)


def negative_log_likelihood(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Mean of `-log p(true class)`, a proper score: right *and* honest is the only way to make it small.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes; or class probabilities `(N, C)`, which then take the
            place of 1 for the true class and 0 for the others.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in nats, at least 0; infinite where a true class was given probability 0.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    scores, labels, logits = _checked(logits_or_probs, labels, from_logits)
    return _total(_row_nll, scores, labels, logits) / len(labels)


def brier_score(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> torch.Tensor:
    """Mean of `sum_c (p_c - [c is true])^2` (Brier, 1950), a proper score that one sure mistake cannot dominate.

    Args:
        logits_or_probs (`torch.Tensor` of shape `(N, C)`): See [`confidence_bins`].
        labels (`torch.Tensor` of shape `(N,)`): True classes; or class probabilities `(N, C)`, which then take the
            place of 1 for the true class and 0 for the others.
        from_logits (`bool`, *optional*): See [`confidence_bins`].

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 2]`; scikit-learn's `brier_score_loss` for two classes is half of it.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    scores, labels, logits = _checked(logits_or_probs, labels, from_logits)
    return _total(_row_brier, scores, labels, logits) / len(labels)


def row_scores(
    logits_or_probs: torch.Tensor, labels: torch.Tensor, *, from_logits: bool | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`-log p(true class)` and `sum_c (p_c - [c is true])^2` of each row, float64 `(N,)`; see [`score_sums`]."""
    scores, labels, logits = _checked(logits_or_probs, labels, from_logits)
    pieces = [(_row_nll(*piece, logits), _row_brier(*piece, logits)) for piece in row_chunks(scores, labels)]
    nll, brier = (torch.cat(column) for column in zip(*pieces, strict=True))
    return nll, brier


def _checked(
    scores: torch.Tensor, labels: torch.Tensor, from_logits: bool | None
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """As [`checked_predictions`], with class probabilities as they are, in float64."""
    scores, classes, logits = checked_predictions(scores, classes_of(labels), from_logits)
    soft = torch.as_tensor(labels)
    if soft.dim() == 2 and soft.shape != scores.shape:
        raise ValueError(f"Soft labels must have shape {tuple(scores.shape)}, as scores, got {tuple(soft.shape)}.")
    return scores, soft.to(scores.device).double() if soft.dim() == 2 else classes, logits


def _total(rows: Callable, scores: torch.Tensor, labels: torch.Tensor, logits: bool) -> torch.Tensor:
    sums: Iterator[torch.Tensor] = (rows(*piece, logits).sum() for piece in row_chunks(scores, labels))
    return torch.stack(list(sums)).sum()


def _row_nll(scores: torch.Tensor, labels: torch.Tensor, logits: bool) -> torch.Tensor:
    if labels.dim() == 2:
        logp = scores.double().log_softmax(-1) if logits else scores.double().log()
        return -torch.where(labels > 0, labels * logp, 0.0).sum(-1)
    true = scores.gather(1, labels[:, None]).squeeze(1).double()
    if not logits:
        return -true.log()
    powers, largest = softmax_powers(scores)
    return largest - true + row_sums(powers).log()


def _row_brier(scores: torch.Tensor, labels: torch.Tensor, logits: bool) -> torch.Tensor:
    if logits:
        powers, _ = softmax_powers(scores)
        probs = powers / row_sums(powers.clone())
    else:
        probs = scores.T.double()
    if labels.dim() == 2:
        return row_sums((probs - labels.T).square())
    true = probs.gather(0, labels[None]).squeeze(0)
    return (row_sums(probs.square()) - 2 * true + 1).clamp(min=0)
