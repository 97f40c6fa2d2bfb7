# SPDX-License-Identifier: Apache-2.0
"""LaMix: labels are mixed apart from their rows, and the network sets a part of them, the global soft label."""

import torch
import torch.nn.functional as F  # noqa: N812

from logitmix_nlp.functional.losses import reduce_rows
from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.functional.row_loss import at_least_float32

__all__ = ["LABEL_LAMS", "MIX_LAMS", "global_soft_label", "lamix_shares", "soft_label_loss"]

MIX_LAMS = ("drawn", "half", "dominant")
LABEL_LAMS = ("mixed", "drawn", "half")


def lamix_shares(drawn: MixPlan, *, mix_lam: str, label_lam: str) -> tuple[MixPlan, torch.Tensor | None]:
    """Shares of the rows and shares of their labels, which LaMix (Sec. 2.2) takes apart.

    Args:
        drawn (`MixPlan`): Pairs, and the λ that was drawn.
        mix_lam (`str`): Rows are mixed by `"drawn"`, that λ; `"half"`, always 0.5 (LaMix, Eq. 4 and 5); or
            `"dominant"`, the larger of λ and 1 - λ, so that the own row dominates (TMix).
        label_lam (`str`): Labels are mixed by `"mixed"`, whatever the rows turn out to be mixed by; `"drawn"`, the λ
            that was drawn (LaMix, Eq. 2 and 10); or `"half"`, 0.5.

    Returns:
        `tuple[MixPlan, torch.Tensor]`: The plan for the rows; and the shares of the labels, of shape `(B,)`, or `None`
        for those of the rows.

    Raises:
        ValueError: If one of the two names is unknown.
    """
    if mix_lam not in MIX_LAMS:
        raise ValueError(f"mix_lam must be one of {', '.join(MIX_LAMS)}, got {mix_lam!r}.")
    if label_lam not in LABEL_LAMS:
        raise ValueError(f"label_lam must be one of {', '.join(LABEL_LAMS)}, got {label_lam!r}.")
    half = torch.full_like(drawn.lam, 0.5)
    rows = {"drawn": drawn.lam, "half": half, "dominant": drawn.lam.maximum(1.0 - drawn.lam)}[mix_lam]
    return drawn._replace(lam=rows), {"mixed": None, "drawn": drawn.lam, "half": half}[label_lam]


def global_soft_label(soft_logits: torch.Tensor) -> torch.Tensor:
    """Global soft label `p = softmax(sigmoid(W_t S))` (LaMix, Eq. 9).

    Args:
        soft_logits (`torch.Tensor` of shape `(B, num_labels)`): `W_t S`, any floating dtype.

    Returns:
        `torch.Tensor` of shape `(B, num_labels)`: Rows sum to 1; with C labels each value lies between
        `1 / (1 + (C - 1) e)` and `e / (e + C - 1)`, since the sigmoid does between 0 and 1.
    """
    return torch.sigmoid(at_least_float32(soft_logits)).softmax(-1)


def soft_label_loss(
    logits: torch.Tensor,
    soft_logits: torch.Tensor,
    *,
    class_weights: torch.Tensor | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """Cross-entropy of the predictions to the global soft label, `-sum_c p_c log q_c` (LaMix, Eq. 11).

    The gradient runs through both: Eq. 11 is the only loss that `W_t` has.

    Args:
        logits (`torch.Tensor` of shape `(B, num_labels)`): `W_l S`, the classifier's, before softmax.
        soft_logits (`torch.Tensor` of shape `(B, num_labels)`): `W_t S`, see [`global_soft_label`].
        class_weights (`torch.Tensor` of shape `(num_labels,)`, *optional*): Weight of each class in the sum over c.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows.

    Returns:
        `torch.Tensor`: Scalar, or shape `(B,)` for `"none"`; in nats.

    Raises:
        ValueError: If the shapes differ.
    """
    if logits.shape != soft_logits.shape:
        raise ValueError(
            f"logits and soft_logits must have one shape, got {tuple(logits.shape)} and {tuple(soft_logits.shape)}."
        )
    logq = F.log_softmax(at_least_float32(logits), dim=-1)
    logq = logq if class_weights is None else class_weights.to(logq.dtype) * logq
    return reduce_rows(-(global_soft_label(soft_logits) * logq).sum(-1), reduction)
