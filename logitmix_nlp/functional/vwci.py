# SPDX-License-Identifier: Apache-2.0
"""VWCI (Seo et al., CVPR 2019): rows whose stochastic passes disagree are drawn to the uniform distribution."""

import math

import torch
import torch.nn.functional as F  # noqa: N812

from logitmix_nlp.functional.losses import reduce_rows
from logitmix_nlp.functional.row_loss import RowFunction, RowLoss, at_least_float32, complete_row_loss

__all__ = ["normalized_variance", "vwci_parts"]


def normalized_variance(logits: torch.Tensor) -> torch.Tensor:
    """How much `T` stochastic predictions of a row differ ([VWCI](https://arxiv.org/abs/1809.10877)).

    `1 - (1/T) sum_j BC(p_j, mean p)` with the Bhattacharyya coefficient `BC(p, q) = sum_c sqrt(p_c q_c)`.

    Args:
        logits (`torch.Tensor` of shape `(T, B, num_labels)`): Of the passes, before softmax, any floating dtype.

    Returns:
        `torch.Tensor` of shape `(B,)`: α in `[0, 1)`; 0 if all passes agree, so always for `T = 1`.
    """
    logp = F.log_softmax(at_least_float32(logits), dim=-1)
    log_mean = torch.logsumexp(logp, dim=0) - math.log(len(logp))
    # Square roots in log space: their gradient stays finite where a probability vanishes.
    return (1.0 - (0.5 * (logp + log_mean)).exp().sum(-1).mean(0)).clamp(min=0.0)


def vwci_parts(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    row_loss: RowLoss | RowFunction | None = None,
    reduction: str = "mean",
) -> dict[str, torch.Tensor]:
    """Terms of the variance-weighted confidence-integrated loss ([VWCI](https://arxiv.org/abs/1809.10877)).

    `L = (1/T) sum_j (1 - alpha) H(p_j, y) + alpha KL(U || p_j)` with α from [`normalized_variance`] and the uniform
    distribution U. The gradient runs through α too, as the paper's loss is written. `T` passes cost `T` plain steps.

    Args:
        logits (`torch.Tensor` of shape `(T, B, num_labels)`): Logits of the same rows in `T` passes with dropout.
        labels (`torch.Tensor` of shape `(B,)`): Class indices; or, with a [`RowLoss`] that says so, class
            probabilities `(B, num_labels)`.
        label_smoothing (`float`): ε of the cross-entropy, see [`supervised_loss`].
        row_loss ([`RowLoss`] or `Callable`, *optional*): In place of the cross-entropy, see [`supervised_loss`]; the
            weight of a row's label counts for both terms.
        reduction (`str`): `"mean"`, `"sum"` or `"none"` over rows.

    Returns:
        `dict[str, torch.Tensor]`: `loss_cls` and `loss_uniform`, which sum to the loss; scalars, or of shape `(B,)`
        for `"none"`. With `T = 1`, or passes that agree, `loss_cls` is plain cross-entropy and the other zero.

    Raises:
        ValueError: On shapes that do not fit.
    """
    if logits.dim() != 3 or logits.shape[1] != len(labels):
        raise ValueError(f"logits must have shape (T, {len(labels)}, num_labels), got {tuple(logits.shape)}.")
    passes, rows, classes = logits.shape
    alpha = normalized_variance(logits)
    loss = complete_row_loss(row_loss, logits[0], labels, label_smoothing=label_smoothing)
    hard = loss.rows(logits.reshape(passes * rows, classes), torch.cat([labels] * passes))
    logp = F.log_softmax(at_least_float32(logits), dim=-1)
    uniform = -logp.mean((0, 2)) - math.log(classes)  # KL(U || p), averaged over the passes
    weights = loss.weights(labels)
    uniform = uniform if weights is None else weights.to(uniform.dtype) * uniform
    return {
        "loss_cls": reduce_rows((1.0 - alpha) * hard.view(passes, rows).mean(0), reduction, weights),
        "loss_uniform": reduce_rows(alpha * uniform, reduction, weights),
    }
