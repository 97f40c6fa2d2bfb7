# SPDX-License-Identifier: Apache-2.0
"""LaMix: labels are mixed apart from their rows, and the network sets a part of them, the global soft label."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from logitmix_nlp.functional.checks import check_soft_labels
from logitmix_nlp.functional.losses import at_least_float32, infer_problem_type, logitmix_parts, reduce_rows
from logitmix_nlp.functional.mixing import MixPlan

__all__ = ["LABEL_LAMS", "MIX_LAMS", "global_soft_label", "lamix_parts", "lamix_shares", "soft_label_loss"]

MIX_LAMS = ("drawn", "half")
LABEL_LAMS = ("mixed", "drawn", "half")


def lamix_shares(drawn: MixPlan, *, mix_lam: str, label_lam: str) -> tuple[MixPlan, torch.Tensor | None]:
    """Shares of the rows and shares of their labels, which LaMix (Sec. 2.2) takes apart.

    Args:
        drawn (`MixPlan`): Pairs, and the λ that was drawn.
        mix_lam (`str`): Rows are mixed by `"drawn"`, that λ, or `"half"`, always 0.5 (LaMix, Eq. 4 and 5).
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
    plan = drawn if mix_lam == "drawn" else MixPlan(drawn.index, half)
    return plan, {"mixed": None, "drawn": drawn.lam, "half": half}[label_lam]


def global_soft_label(soft_logits: torch.Tensor) -> torch.Tensor:
    """Global soft label `p = softmax(sigmoid(W_t S))` (LaMix, Eq. 9).

    Args:
        soft_logits (`torch.Tensor` of shape `(B, num_labels)`): `W_t S`, any floating dtype.

    Returns:
        `torch.Tensor` of shape `(B, num_labels)`: Rows sum to 1; with C labels each value lies between
        `1 / (1 + (C - 1) e)` and `e / (e + C - 1)`, since the sigmoid does between 0 and 1.
    """
    return torch.sigmoid(at_least_float32(soft_logits)).softmax(-1)


def soft_label_loss(logits: torch.Tensor, soft_logits: torch.Tensor, *, reduction: str = "mean") -> torch.Tensor:
    """Cross-entropy of the predictions to the global soft label, `-sum_c p_c log q_c` (LaMix, Eq. 11).

    The gradient runs through both: Eq. 11 is the only loss that `W_t` has.

    Args:
        logits (`torch.Tensor` of shape `(B, num_labels)`): `W_l S`, the classifier's, before softmax.
        soft_logits (`torch.Tensor` of shape `(B, num_labels)`): `W_t S`, see [`global_soft_label`].
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
    return reduce_rows(-(global_soft_label(soft_logits) * logq).sum(-1), reduction)


def lamix_parts(
    clean_logits: torch.Tensor | None,
    mixed_logits: torch.Tensor | None,
    labels: torch.Tensor,
    plan: MixPlan | None,
    *,
    mix_weight: float,
    cls_weight: float,
    sim_weight: float,
    beta: float = 1.0,
    clean_soft: torch.Tensor | None = None,
    mixed_soft: torch.Tensor | None = None,
    problem_type: str | None = None,
    reduction: str = "mean",
    **options: Any,
) -> dict[str, torch.Tensor]:
    """Weighted terms of [`logitmix_parts`] with the targets `beta * y + (1 - beta) * p` of LaMix (Eq. 10).

    Cross-entropy is linear in its target, so the part of `p` is a term of its own: `loss_mix` and `loss_cls` keep the
    share `beta`, and `loss_soft` is `(1 - beta) * (w_mix * E(p_mixed) + w_cls * E(p_clean))` with E of
    [`soft_label_loss`]. LaMix itself is `w_mix` 1 on mixed batches and `w_cls` 1 on clean ones.

    Args:
        clean_logits (`torch.Tensor` of shape `(B, num_labels)`, *optional*): As all that is not listed here:
            see [`logitmix_parts`].
        mixed_logits (`torch.Tensor` of shape `(B, num_labels)`, *optional*): Logits of the mixed rows.
        labels (`torch.Tensor`): Labels of the unmixed rows.
        plan (`MixPlan`, *optional*): The plan the rows were mixed by.
        mix_weight (`float`): `w_mix`, at least 0.
        cls_weight (`float`): `w_cls`, at least 0.
        sim_weight (`float`): `w_sim`, at least 0.
        beta (`float`): β, the share of the labels in the targets, in `(0, 1]`; 1 leaves everything as it is.
        clean_soft (`torch.Tensor` of shape `(B, num_labels)`, *optional*): `W_t S` of the unmixed rows; needed if
            `beta < 1` and `cls_weight` is set.
        mixed_soft (`torch.Tensor` of shape `(B, num_labels)`, *optional*): `W_t S` of the mixed rows; needed if
            `beta < 1` and `mix_weight` is set.
        problem_type (`str`, *optional*): See [`supervised_loss`].
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows.
        options (`Any`): `label_lam`, `penalty_weight`, `label_smoothing` and `sim_norm` of [`logitmix_parts`].

    Returns:
        `dict[str, torch.Tensor]`: Terms of [`logitmix_parts`], and `loss_soft` if `beta < 1`; they sum to the loss.

    Raises:
        ValueError: As [`logitmix_parts`]; if `beta` is out of range, or below 1 for anything but single-label
            classification, or `W_t S` of rows it needs is missing.
    """
    like = mixed_logits if clean_logits is None else clean_logits
    parts = logitmix_parts(
        clean_logits,
        mixed_logits,
        labels,
        plan,
        mix_weight=mix_weight,
        cls_weight=cls_weight,
        sim_weight=sim_weight,
        problem_type=problem_type,
        reduction=reduction,
        **options,
    )
    check_soft_labels(beta, problem_type or infer_problem_type(like, labels))
    if beta == 1.0:
        return parts
    soft = torch.zeros_like(parts["loss_sim"])
    branches = {
        "mixed_soft": (mix_weight, mixed_logits, mixed_soft),
        "clean_soft": (cls_weight, clean_logits, clean_soft),
    }
    for name, (weight, logits, soft_logits) in branches.items():
        if weight and soft_logits is None:
            raise ValueError(f"{name} must be given for beta={beta}: the global soft label is made from it.")
        if weight:
            soft = soft + weight * soft_label_loss(logits, soft_logits, reduction=reduction)
    shares = {name: beta * parts[name] for name in ("loss_mix", "loss_cls")}
    return {**parts, **shares, "loss_soft": (1.0 - beta) * soft}
