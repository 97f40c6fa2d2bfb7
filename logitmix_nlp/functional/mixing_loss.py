# SPDX-License-Identifier: Apache-2.0
"""The one loss of all methods, as a dict of named, weighted terms that sum to it."""

import torch

from logitmix_nlp.functional.checks import check_passes, check_penalty, check_soft_labels, check_weights
from logitmix_nlp.functional.lamix import soft_label_loss
from logitmix_nlp.functional.losses import (
    confidence_penalty,
    logit_similarity,
    mixed_cross_entropy,
    reduce_rows,
    supervised_loss,
)
from logitmix_nlp.functional.mixing import MixPlan, mix
from logitmix_nlp.functional.row_loss import (
    RowFunction,
    RowLoss,
    at_least_float32,
    complete_row_loss,
    tag_weights,
)
from logitmix_nlp.functional.vwci import vwci_parts

__all__ = ["LOSS_TERMS", "ROW_TERMS", "mixing_loss_parts"]

LOGITMIX_TERMS = ("loss_mix", "loss_cls", "loss_sim")
LOSS_TERMS = (*LOGITMIX_TERMS, "loss_penalty", "loss_soft", "loss_uniform")
ROW_TERMS = ("loss_sim", "loss_penalty")  # means over rows; of all others, labels weigh the rows


def mixing_loss_parts(
    clean_logits: torch.Tensor | None,
    mixed_logits: torch.Tensor | None,
    labels: torch.Tensor,
    plan: MixPlan | None,
    *,
    mix_weight: float,
    cls_weight: float,
    sim_weight: float,
    penalty_weight: float = 0.0,
    beta: float = 1.0,
    clean_soft: torch.Tensor | None = None,
    mixed_soft: torch.Tensor | None = None,
    label_lam: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    sim_norm: str = "mse",
    passes: int = 1,
    problem_type: str | None = None,
    row_loss: RowLoss | RowFunction | None = None,
    reduction: str = "mean",
) -> dict[str, torch.Tensor]:
    """Weighted terms of `L = w_mix * L_mix + w_cls * L_cls + w_sim * L_sim` (LogitMix, Eq. 3); the loss is their sum.

    Logits that only zero-weighted terms would use may be `None` (plain fine-tuning has no mixed rows, mixup alone no
    clean ones); a term of weight zero is a zero without gradient.

    With `beta < 1` the targets are `beta * y + (1 - beta) * p` (LaMix, Eq. 10). Cross-entropy is linear in its target,
    so the part of `p` is a term of its own: `loss_mix` and `loss_cls` keep the share `beta`, and `loss_soft` is
    `(1 - beta) * (w_mix * E(p_mixed) + w_cls * E(p_clean))` with E of [`soft_label_loss`].

    For token classification logits have the shape `(B, T, num_labels)` and labels `(B, T)`, with -100 for tokens that
    have no tag. Each token is a row then, mixed with that of its partner at its position. In `loss_mix` and
    `loss_soft` a token that only one partner tags counts with that one's share, in `loss_sim` not at all; untagged
    ones never count. The mean of each term is its sum over the number of tagged tokens of the unmixed rows.

    With `passes = T > 1`, `loss_cls` and `loss_uniform` are those of [`vwci_parts`], and there are no other terms.

    Args:
        clean_logits (`torch.Tensor` of shape `(B, num_labels)`, *optional*): Logits of the unmixed rows; of shape
            `(T B, num_labels)`, pass after pass, for several passes.
        mixed_logits (`torch.Tensor` of shape `(B, num_labels)`, *optional*): Logits of the mixed rows.
        labels (`torch.Tensor`): Labels of the unmixed rows.
        plan (`MixPlan`, *optional*): The plan the rows were mixed by; not needed when only `cls_weight` is set.
        mix_weight (`float`): `w_mix`, at least 0.
        cls_weight (`float`): `w_cls`, at least 0.
        sim_weight (`float`): `w_sim`, at least 0.
        penalty_weight (`float`): Weight β of [`confidence_penalty`] of the unmixed rows, at least 0.
        beta (`float`): β of LaMix, the share of the labels in the targets, in `(0, 1]`.
        clean_soft (`torch.Tensor` of shape `(B, num_labels)`, *optional*): `W_t S` of the unmixed rows; needed if
            `beta < 1` and `cls_weight` is set.
        mixed_soft (`torch.Tensor` of shape `(B, num_labels)`, *optional*): `W_t S` of the mixed rows; needed if
            `beta < 1` and `mix_weight` is set.
        label_lam (`torch.Tensor` of shape `(B,)`, *optional*): Shares of the labels in `L_mix`, where they are not
            those of the rows (LaMix, Eq. 10); `plan.lam` when omitted.
        label_smoothing (`float`): ε of both cross-entropy terms, see [`supervised_loss`].
        sim_norm (`str`): See [`logit_similarity`].
        passes (`int`): T of VWCI, at least 1.
        problem_type (`str`, *optional*): See [`supervised_loss`].
        row_loss ([`RowLoss`] or `Callable`, *optional*): In place of cross-entropy in `loss_mix` and `loss_cls`, see
            [`supervised_loss`]; its class weights count in all terms but `loss_sim` and `loss_penalty`.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows.

    Returns:
        `dict[str, torch.Tensor]`: `loss_mix`, `loss_cls` and `loss_sim`, weights applied; `loss_penalty` (at most 0)
        if it has a weight, `loss_soft` if `beta < 1`, and `loss_uniform` if `passes > 1`.

    Raises:
        ValueError: If a weight is negative or not finite, the first three are zero, a weighted term lacks its logits,
            plan or `W_t S`, `beta` is out of range, the penalty, `beta` below 1 or several passes are set for labels
            that are not one choice between classes, several passes with other terms than the clean loss, or `beta`
            below 1 with a loss of one's own.
    """
    check_weights(mix_weight, cls_weight, sim_weight)
    soft_weight = 1.0 - beta
    needs = {
        "clean_logits": (clean_logits, cls_weight or sim_weight or penalty_weight),
        "mixed_logits": (mixed_logits, mix_weight or sim_weight),
        "plan": (plan, mix_weight or sim_weight),
    }
    missing = [name for name, (value, weight) in needs.items() if weight and value is None]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} must be given for mix_weight={mix_weight}, cls_weight={cls_weight}, "
            f"sim_weight={sim_weight}, penalty_weight={penalty_weight}."
        )
    like = mixed_logits if clean_logits is None else clean_logits
    loss = complete_row_loss(row_loss, like, labels, label_smoothing=label_smoothing, problem_type=problem_type)
    check_penalty(penalty_weight, loss.problem_type)
    check_soft_labels(beta, loss.problem_type, own_loss=loss.function is not None)
    check_passes(passes, loss.problem_type, alone=not (mix_weight or sim_weight or penalty_weight or soft_weight))
    for name, soft, weight in (("clean_soft", clean_soft, cls_weight), ("mixed_soft", mixed_soft, mix_weight)):
        if soft is None and weight and soft_weight:
            raise ValueError(f"{name} must be given for beta={beta}: the global soft label is made from it.")
    targets = {"row_loss": loss, "reduction": reduction}
    zero = at_least_float32(like.new_zeros(labels.shape[: like.dim() - 1] if reduction == "none" else ()))
    tags, counted = tag_weights(like, labels), loss.weights(labels)

    def reduced(rows: torch.Tensor, shares: torch.Tensor | None, weights: torch.Tensor | None) -> torch.Tensor:
        return reduce_rows(rows if shares is None else rows * shares, reduction, weights)

    parts, soft = {name: zero.clone() for name in LOGITMIX_TERMS}, zero
    if mix_weight:
        shares = plan if label_lam is None else plan._replace(lam=label_lam)
        parts["loss_mix"] = beta * mix_weight * mixed_cross_entropy(mixed_logits, labels, shares, **targets)
    if cls_weight and passes > 1:
        flat = labels if tags is None else labels.flatten()
        terms = vwci_parts(clean_logits.view(passes, len(flat), -1), flat, row_loss=loss, reduction="none")
        terms = {name: term if tags is None else term.view_as(labels) for name, term in terms.items()}
        parts |= {name: cls_weight * reduced(term, tags, counted) for name, term in terms.items()}
    elif cls_weight:
        parts["loss_cls"] = beta * cls_weight * supervised_loss(clean_logits, labels, **targets)
    if sim_weight:
        parts["loss_sim"] = sim_weight * logit_similarity(
            clean_logits, mixed_logits, plan, norm=sim_norm, reduction=reduction, labels=labels
        )
    if penalty_weight:
        parts["loss_penalty"] = penalty_weight * reduced(
            confidence_penalty(clean_logits, reduction="none"), tags, tags
        )
    soft_options = {"class_weights": loss.class_weights, "reduction": "none"}
    if soft_weight and mix_weight:
        has = None if tags is None else mix(tags, shares)
        weights = None if counted is None else plan.first(counted)
        soft = soft + mix_weight * reduced(soft_label_loss(mixed_logits, mixed_soft, **soft_options), has, weights)
    if soft_weight and cls_weight:
        soft = soft + cls_weight * reduced(soft_label_loss(clean_logits, clean_soft, **soft_options), tags, counted)
    return {**parts, "loss_soft": soft_weight * soft} if soft_weight else parts
