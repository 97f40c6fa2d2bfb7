# SPDX-License-Identifier: Apache-2.0
"""Does the model know what it does not know? Scores of rows from inside and outside the training distribution."""

from typing import NamedTuple

import torch

from logitmix_nlp.functional.ranking import auroc, false_positive_rate

__all__ = ["OodScores", "ood_metrics", "ood_scores"]


class OodScores(NamedTuple):
    """Three scores of how much a row looks like the training data.

    Args:
        confidence (`torch.Tensor` of shape `(N,)`): `max_c p_c`, in `[1 / C, 1]`: high inside.
        entropy (`torch.Tensor` of shape `(N,)`): `-sum_c p_c log p_c`, in `[0, log C]` nats: low inside.
        energy (`torch.Tensor` of shape `(N,)`): `-log sum_c exp z_c`, any number: low inside.
    """

    confidence: torch.Tensor
    entropy: torch.Tensor
    energy: torch.Tensor


def ood_scores(logits: torch.Tensor) -> OodScores:
    """Confidence (Hendrycks & Gimpel, 2017), entropy, and energy at temperature 1 (Liu et al., 2020) of each row.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Logits, before softmax. NumPy arrays are taken too.

    Returns:
        `OodScores`: Float64.

    Raises:
        ValueError: On other shapes, no rows, and NaN or infinite values.
    """
    logits = torch.as_tensor(logits).detach()
    if logits.dim() != 2 or logits.shape[1] < 2 or len(logits) == 0 or not logits.is_floating_point():
        raise ValueError(
            "Expected floating point logits of shape (N, C) with N >= 1 and C >= 2, got "
            f"{logits.dtype} of shape {tuple(logits.shape)}."
        )
    if not logits.isfinite().all():
        raise ValueError(f"{(~logits.isfinite()).any(-1).sum()} rows hold NaN or infinite values.")
    probs = logits.double().softmax(-1)
    return OodScores(probs.amax(-1), torch.special.entr(probs).sum(-1), -logits.double().logsumexp(-1))


def ood_metrics(in_logits: torch.Tensor, out_logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """How well each score tells rows of the training distribution from others, and how sure the model is of each.

    Rows from inside are the positive ones, as in Hendrycks & Gimpel (2017).

    Args:
        in_logits (`torch.Tensor` of shape `(N, C)`): Logits of rows from inside the distribution.
        out_logits (`torch.Tensor` of shape `(K, C)`): Logits of rows from outside.

    Returns:
        `dict[str, torch.Tensor]`: Float64 scalars. `auroc_S` in `[0, 1]` (1 is best) and `fpr95_S` in `[0, 1]` (0 is
        best) for `S` in `confidence`, `entropy`, `energy`; and means `in_confidence`, `out_confidence` in `[0, 1]`,
        `in_entropy`, `out_entropy` in nats.

    Raises:
        ValueError: If both do not have the same number of classes; and see [`ood_scores`].
    """
    in_logits, out_logits = torch.as_tensor(in_logits), torch.as_tensor(out_logits)
    if in_logits.shape[1:] != out_logits.shape[1:]:
        raise ValueError(
            f"Logits of shapes {tuple(in_logits.shape)} and {tuple(out_logits.shape)} are not of one model: both must "
            "have the same number of classes."
        )
    inside, outside = ood_scores(in_logits), ood_scores(out_logits)
    metrics = {}
    for name, sign in (("confidence", 1), ("entropy", -1), ("energy", -1)):
        pair = sign * getattr(inside, name), sign * getattr(outside, name)
        metrics[f"auroc_{name}"] = auroc(*pair)
        metrics[f"fpr95_{name}"] = false_positive_rate(*pair)
    for side, scores in (("in", inside), ("out", outside)):
        metrics[f"{side}_confidence"] = scores.confidence.mean()
        metrics[f"{side}_entropy"] = scores.entropy.mean()
    return metrics
