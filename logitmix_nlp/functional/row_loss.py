# SPDX-License-Identifier: Apache-2.0
"""The loss of one row and the weight of its label: what every term with labels is made of."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from logitmix_nlp.functional.checks import (
    IGNORED,
    MULTI_LABEL,
    ONE_CLASS,
    REGRESSION,
    SINGLE_LABEL,
    SOFT_LABEL,
    check_row_loss,
    check_targets,
)

__all__ = ["RowFunction", "RowLoss", "at_least_float32", "complete_row_loss", "infer_problem_type", "tag_weights"]

RowFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def infer_problem_type(logits: torch.Tensor, labels: torch.Tensor) -> str:
    """Name the kind of targets by the rule of Transformers' classification heads.

    Args:
        logits (`torch.Tensor` of shape `(B, num_labels)` or `(B, T, num_labels)`): Only the shape is read.
        labels (`torch.Tensor`): Class indices `(B,)`, or of tokens `(B, T)`; multi-hot floats `(B, num_labels)`; or
            scores `(B,)`/`(B, 1)`.

    Returns:
        `str`: `"regression"` for one output, `"single_label_classification"` for integer labels, else
        `"multi_label_classification"`: the values of `config.problem_type`.
    """
    if logits.shape[-1] == 1:
        return REGRESSION
    return MULTI_LABEL if labels.is_floating_point() else SINGLE_LABEL


class RowLoss(NamedTuple):
    """The loss of one row and the weight of its label, which all terms with labels are made of.

    A mean is `sum_i w_i l_i / sum_i w_i`, as `nn.CrossEntropyLoss(weight=...)` takes it; without class weights all
    `w_i` are 1.

    Args:
        problem_type (`str`, *optional*): One of `config.problem_type`'s values, or `"soft_label_classification"` for
            rows of class probabilities; inferred as [`infer_problem_type`] does when omitted.
        label_smoothing (`float`): ε in `[0, 1)`, as in `nn.CrossEntropyLoss` and Transformers' `LabelSmoother`. One
            choice between classes only.
        class_weights (`torch.Tensor` of shape `(num_labels,)`, *optional*): A row of class `y` weighs
            `class_weights[y]`, one of probabilities `y` their mean `sum_c y_c class_weights[c]`.
        pos_weight (`torch.Tensor` of shape `(num_labels,)`, *optional*): As in `nn.BCEWithLogitsLoss`: how much a
            label that is there counts beside one that is not. Multi-label only; rows weigh alike.
        function (`Callable`, *optional*): A loss of one's own, `(logits (B, num_labels), labels) -> (B,)`, in place of
            cross-entropy, binary cross-entropy or squared error; `logits` are at least float32. Class weights apply
            on top of it.
    """

    problem_type: str | None = None
    label_smoothing: float = 0.0
    class_weights: torch.Tensor | None = None
    pos_weight: torch.Tensor | None = None
    function: RowFunction | None = None

    def weights(self, labels: torch.Tensor) -> torch.Tensor | None:
        """Weight of each label, `(B,)` or of tokens `(B, T)`; `None` where all are 1.

        Args:
            labels (`torch.Tensor`): As for [`supervised_loss`]. Tokens of label -100 have weight 0.
        """
        weights = self.class_weights
        if self.problem_type == SOFT_LABEL:
            return None if weights is None else labels.to(weights.dtype) @ weights
        if weights is not None:
            return torch.where(labels == IGNORED, 0.0, weights[labels.long().clamp(min=0)])
        is_token = self.problem_type == SINGLE_LABEL and labels.dim() == 2
        return (labels != IGNORED).float() if is_token else None

    def rows(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted loss of each row, `(B,)` or of tokens `(B, T)`, float32 (float64 for float64 logits).

        Args:
            logits (`torch.Tensor` of shape `(B, num_labels)` or `(B, T, num_labels)`): Before softmax, any floating
                dtype.
            labels (`torch.Tensor`): As for [`supervised_loss`].

        Raises:
            ValueError: As [`supervised_loss`].
        """
        check_row_loss(self, logits.shape[-1])
        check_targets(logits, labels, self.problem_type)
        logits = at_least_float32(logits)
        if self.function is not None:
            return self._own_rows(logits, labels)
        if self.problem_type in ONE_CLASS:
            targets = labels.long() if self.problem_type == SINGLE_LABEL else labels.to(logits.dtype)
            return F.cross_entropy(
                logits.movedim(-1, 1),  # where PyTorch has the classes of tokens
                targets,
                weight=None if self.class_weights is None else self.class_weights.to(logits.dtype),
                label_smoothing=self.label_smoothing,
                ignore_index=IGNORED,
                reduction="none",
            )
        targets = labels.to(logits.dtype).view_as(logits)
        if self.problem_type == REGRESSION:
            return F.mse_loss(logits, targets, reduction="none").mean(-1)
        pos_weight = None if self.pos_weight is None else self.pos_weight.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight, reduction="none").mean(-1)

    def _own_rows(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The user's loss of each row, or tagged token, with weights."""
        shape, weights = logits.shape[:-1], self.weights(labels)
        if len(shape) == 2:  # a token without a tag is given the first one, and weight 0
            logits, labels = logits.flatten(0, 1), labels.clamp(min=0).flatten()
        rows = self.function(logits, labels)
        if not isinstance(rows, torch.Tensor) or rows.shape != logits.shape[:1]:
            got = f"shape {tuple(rows.shape)}" if isinstance(rows, torch.Tensor) else type(rows).__name__
            raise ValueError(
                f"row_loss must return a loss for each row, shape ({len(logits)},), got {got}: take no mean or sum "
                "over rows in it (reduction='none')."
            )
        rows = rows.view(shape)
        return rows if weights is None else weights.to(rows.dtype) * rows


def complete_row_loss(
    row_loss: RowLoss | RowFunction | None,
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    problem_type: str | None = None,
) -> RowLoss:
    """The [`RowLoss`] that the arguments of a loss stand for, with its problem type."""
    loss = row_loss if isinstance(row_loss, RowLoss) else RowLoss(function=row_loss)
    return loss._replace(
        label_smoothing=label_smoothing or loss.label_smoothing,
        problem_type=problem_type or loss.problem_type or infer_problem_type(logits, labels),
    )


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Return `x` in float32, or in its own dtype if that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def tag_weights(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor | None:
    """1 for each token that has a tag and 0 for those of label -100, `(B, T)`; `None` for logits of whole rows."""
    return (labels != IGNORED).to(at_least_float32(logits).dtype) if logits.dim() == 3 else None
