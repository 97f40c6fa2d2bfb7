# SPDX-License-Identifier: Apache-2.0
"""One prediction out of several of the same rows: their mean, and what they disagree about."""

from typing import NamedTuple

import torch

__all__ = ["EnsembleScores", "ensemble_scores"]


class EnsembleScores(NamedTuple):
    """Predictions of an ensemble for `N` rows.

    Args:
        log_probs (`torch.Tensor` of shape `(N, C)`): `log p`, where `p` is the mean of the members' probabilities.
            Scores for every metric of this package that takes logits: their softmax is `p`. (The energy of
            [`ood_scores`] alone says nothing here: it is 0.)
        entropy (`torch.Tensor` of shape `(N,)`): `-sum_c p_c log p_c` in `[0, log C]` nats, all that is unsure.
        mutual_information (`torch.Tensor` of shape `(N,)`): The entropy less the mean entropy of the members, in
            `[0, entropy]` nats: what they disagree about, 0 if all predict alike.
    """

    log_probs: torch.Tensor
    entropy: torch.Tensor
    mutual_information: torch.Tensor


def ensemble_scores(logits: torch.Tensor) -> EnsembleScores:
    """Average the probabilities of an ensemble, and split its uncertainty (Houlsby et al., 2011).

    The members may be the passes of MC dropout ([Gal & Ghahramani, 2016](https://arxiv.org/abs/1506.02142), Sec. 4).

    Args:
        logits (`torch.Tensor` of shape `(S, N, C)`): Logits of `S` members.

    Returns:
        `EnsembleScores`: Float64.

    Raises:
        ValueError: On other shapes, no members or rows, and NaN or infinite values.
    """
    if logits.dim() != 3 or logits.shape[2] < 2 or not logits.numel() or not logits.is_floating_point():
        raise ValueError(
            "Expected floating point logits of shape (S, N, C) with S, N >= 1 and C >= 2, got "
            f"{logits.dtype} of shape {tuple(logits.shape)}."
        )
    if not logits.isfinite().all():
        raise ValueError(f"{(~logits.isfinite()).any(-1).any(0).sum()} rows hold NaN or infinite values.")
    members = logits.detach().double().log_softmax(-1)
    log_probs = members.logsumexp(0) - torch.tensor(len(members), dtype=torch.float64).log()
    entropy = torch.special.entr(log_probs.exp()).sum(-1)
    information = entropy - torch.special.entr(members.exp()).sum(-1).mean(0)
    return EnsembleScores(log_probs, entropy, information.clamp(min=0))  # below 0 by rounding alone
