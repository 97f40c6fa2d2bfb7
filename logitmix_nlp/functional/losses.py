# SPDX-License-Identifier: Apache-2.0
"""The terms that losses are made of, for any logits and any kind of labels."""

import torch
import torch.nn.functional as F  # noqa: N812

from logitmix_nlp.functional.checks import REGRESSION
from logitmix_nlp.functional.mixing import MixPlan, mix
from logitmix_nlp.functional.row_loss import (
    RowFunction,
    RowLoss,
    at_least_float32,
    complete_row_loss,
    tag_weights,
)

__all__ = [
    "SIM_NORMS",
    "confidence_penalty",
    "logit_similarity",
    "mixed_cross_entropy",
    "reduce_rows",
    "supervised_loss",
]

SIM_NORMS = ("mse", "l2")


def supervised_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    problem_type: str | None = None,
    row_loss: RowLoss | RowFunction | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """Plain loss of unmixed rows: cross-entropy, binary cross-entropy or squared error, whichever the labels ask for.

    This is `L_cls` of LogitMix (Eq. 3) with the mean over the batch where the paper adds both partners of a pair
    (twice the mean, since the pairing is a permutation): the paper's form is `cls_weight=2`.

    For token classification each token counts as a row: those of label -100 have loss 0, and the mean is over the
    tagged tokens of the batch.

    Args:
        logits (`torch.Tensor` of shape `(B, num_labels)`): Before softmax, any floating dtype; of shape
            `(B, T, num_labels)` for tokens.
        labels (`torch.Tensor`): As in [`infer_problem_type`]; or class probabilities `(B, num_labels)`, with
            `problem_type="soft_label_classification"`.
        label_smoothing (`float`): ε in `[0, 1)`: `(1 - ε) * nll + ε * mean_k(-log p_k)`, as Transformers'
            `LabelSmoother`. One choice between classes only.
        problem_type (`str`, *optional*): One of `config.problem_type`'s values; inferred when omitted.
        row_loss ([`RowLoss`] or `Callable`, *optional*): A loss of one's own, `(logits, labels) -> (B,)`, in place of
            these; or a [`RowLoss`], which may have class weights.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows. Several outputs of one row are averaged. Class
            weights are in the sum and the rows, and the mean is divided by them.

    Returns:
        `torch.Tensor`: Scalar, or for `"none"` shape `(B,)`, of tokens `(B, T)`; float32 (float64 for float64 logits).

    Raises:
        ValueError: On shapes that do not fit, an unknown problem type, or label smoothing or weights where they have
            no meaning.
    """
    loss = complete_row_loss(row_loss, logits, labels, label_smoothing=label_smoothing, problem_type=problem_type)
    return reduce_rows(loss.rows(logits, labels), reduction, loss.weights(labels))


def mixed_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    plan: MixPlan,
    *,
    label_smoothing: float = 0.0,
    problem_type: str | None = None,
    row_loss: RowLoss | RowFunction | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """Loss of mixed rows, `L_mix = lam * H(y_mix, y_1) + (1 - lam) * H(y_mix, y_2)` (LogitMix, Eq. 2).

    Multi-label targets use binary cross-entropy in place of `H`, a loss of one's own takes its place. Regression is
    the squared error to the mixed target `lam * y_1 + (1 - lam) * y_2`, which is not the same as mixing two squared
    errors.

    For token classification the tokens at one position are mixed. One that only one partner tags (label other than
    -100) has that one's tag with its share; the mean is over the tagged tokens of the unmixed rows `plan.first`.

    Args:
        logits (`torch.Tensor` of shape `(B, num_labels)`): Logits of the mixed rows, any floating dtype; of shape
            `(B, T, num_labels)` for tokens.
        labels (`torch.Tensor`): Labels of the *unmixed* rows, in the row order of the plan.
        plan (`MixPlan`): The plan the rows were mixed by.
        label_smoothing (`float`): See [`supervised_loss`].
        problem_type (`str`, *optional*): See [`supervised_loss`].
        row_loss ([`RowLoss`] or `Callable`, *optional*): See [`supervised_loss`]; called with the mixed logits and the
            labels of each partner.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows. With class weights, the mean is divided by
            those of the unmixed rows `plan.first`: of all mixtures where each row is in two of them, with shares
            that sum to 1.

    Returns:
        `torch.Tensor`: Scalar, or shape `(B,)` for `"none"`.

    Raises:
        ValueError: As [`supervised_loss`].
    """
    loss = complete_row_loss(row_loss, logits, labels, label_smoothing=label_smoothing, problem_type=problem_type)
    if loss.problem_type == REGRESSION and loss.function is None:
        return reduce_rows(loss.rows(logits, mix(at_least_float32(labels), plan)), reduction)
    own, partner = loss.rows(logits, plan.first(labels)), loss.rows(logits, labels[plan.index])
    lam = plan.lam.to(own.dtype).view(-1, *[1] * (own.dim() - 1))
    return reduce_rows(torch.lerp(partner, own, lam), reduction, loss.weights(plan.first(labels)))


def logit_similarity(
    clean_logits: torch.Tensor,
    mixed_logits: torch.Tensor,
    plan: MixPlan,
    *,
    norm: str = "mse",
    reduction: str = "mean",
    labels: torch.Tensor | None = None,
) -> torch.Tensor:
    """Gap between the logits of mixed rows and the mixture of clean logits, `L_sim` (LogitMix, Eq. 3).

    `(lam * f(x_1) + (1 - lam) * f(x_2)) - f(x_mix)`, with gradient through both sides.

    For token classification, tokens that both partners tag have a gap, all others none: there is no logit of padding
    to be like. The mean is over the tagged tokens of the unmixed rows `plan.first`, as that of the other terms.

    Args:
        clean_logits (`torch.Tensor` of shape `(B, num_labels)`): `f(x)`, any floating dtype; of shape
            `(B, T, num_labels)` for tokens.
        mixed_logits (`torch.Tensor` of shape `(B, num_labels)`): `f(x_mix)`, or of tokens.
        plan (`MixPlan`): The plan the rows were mixed by.
        norm (`str`): `"mse"`, the mean square over labels (the authors' code), or `"l2"`, the Euclidean norm of
            Eq. 3, whose gradient at a gap of exactly zero is taken as zero.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows.
        labels (`torch.Tensor` of shape `(B, T)`, *optional*): Of the unmixed rows, to know tagged tokens by; all
            tokens count without. Not used for rows.

    Returns:
        `torch.Tensor`: In squared logit units for `"mse"`, logit units for `"l2"`.

    Raises:
        ValueError: If the shapes differ or `norm` is unknown.
    """
    if plan.first(clean_logits).shape != mixed_logits.shape:
        raise ValueError(
            f"clean and mixed logits must have one shape, got {tuple(clean_logits.shape)} and "
            f"{tuple(mixed_logits.shape)}."
        )
    if norm not in SIM_NORMS:
        raise ValueError(f"norm must be one of {', '.join(SIM_NORMS)}, got {norm!r}.")
    gap = at_least_float32(mixed_logits) - mix(at_least_float32(clean_logits), plan)
    rows = gap.square().mean(-1) if norm == "mse" else torch.linalg.vector_norm(gap, dim=-1)
    tags = None if labels is None else tag_weights(clean_logits, labels)
    if tags is None:
        return reduce_rows(rows, reduction)
    own = plan.first(tags)
    return reduce_rows(rows * own * tags[plan.index], reduction, own)


def confidence_penalty(logits: torch.Tensor, *, reduction: str = "mean") -> torch.Tensor:
    """Negative entropy of the predictions, `-H(p) = sum_c p_c log p_c` (Pereyra et al., 2017, Sec. 3).

    Minimising `cross-entropy + beta * confidence_penalty` keeps predictions from becoming certain. Single-label
    classification only.

    Args:
        logits (`torch.Tensor` of shape `(B, num_labels)`): Of unmixed rows, before softmax, any floating dtype.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows.

    Returns:
        `torch.Tensor`: From -log(num_labels), uniform, to 0, certain; in nats.
    """
    logp = F.log_softmax(at_least_float32(logits), dim=-1)
    return reduce_rows((logp.exp() * logp).sum(-1), reduction)


def reduce_rows(rows: torch.Tensor, reduction: str, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return the `"mean"` or the `"sum"` of values by row, or with `"none"` the values.

    With weights the mean is the sum over the sum of the weights, by which the values are to be multiplied already.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")
    if reduction == "mean" and weights is not None:
        total = weights.sum()
        return rows.sum() / torch.where(total > 0, total, 1.0)  # of nothing, the sum is 0 too
    return rows if reduction == "none" else getattr(rows, reduction)()
