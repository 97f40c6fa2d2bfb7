# SPDX-License-Identifier: Apache-2.0
"""Checks at the edge of the functional core: each says what was given, what is allowed and what to do."""

from typing import Any

import torch

__all__ = [
    "IGNORED",
    "MOST_BINS",
    "MULTI_LABEL",
    "ONE_CLASS",
    "PROBLEM_TYPES",
    "REGRESSION",
    "SINGLE_LABEL",
    "SOFT_LABEL",
    "are_probabilities",
    "bad_labels",
    "check_bins",
    "check_images",
    "check_label_values",
    "check_out",
    "check_pairs",
    "check_passes",
    "check_penalty",
    "check_row_loss",
    "check_smoothing",
    "check_soft_labels",
    "check_targets",
    "check_weights",
]

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
SOFT_LABEL = "soft_label_classification"
PROBLEM_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION, SOFT_LABEL)
ONE_CLASS = (SINGLE_LABEL, SOFT_LABEL)  # one choice between classes
IGNORED = -100  # label of a token that has none, as in Transformers and PyTorch
SUM_SLACK = 0.01 + 1e-6  # how far the sum of a soft label, rounded to a few decimals, may be off 1
MOST_BINS = 1_000_000  # more would only fill the memory: 15 are usual


def check_weights(mix_weight: float, cls_weight: float, sim_weight: float) -> None:
    """Refuse negative, non-finite and all-zero weights.

    Raises:
        ValueError: Naming the three weights and what they may be.
    """
    weights = {"mix_weight": mix_weight, "cls_weight": cls_weight, "sim_weight": sim_weight}
    if not all(0.0 <= weight < float("inf") for weight in weights.values()) or not any(weights.values()):
        given = ", ".join(f"{name}={weight}" for name, weight in weights.items())
        raise ValueError(f"Loss weights must be finite, at least 0 and not all 0, got {given}.")


def check_bins(n_bins: int, name: str = "n_bins") -> None:
    """Refuse a number of confidence bins outside `[1, MOST_BINS]`.

    Raises:
        ValueError: Naming it.
    """
    if not 1 <= n_bins <= MOST_BINS:
        raise ValueError(f"{name} must be at least 1 and at most {MOST_BINS:,}, got {n_bins}.")


def check_smoothing(label_smoothing: float, problem_type: str) -> None:
    """Refuse label smoothing out of range, or where it has no meaning.

    Raises:
        ValueError: If `label_smoothing` lies outside `[0, 1)`, or is set where labels are not one class.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}.")
    if label_smoothing and problem_type not in ONE_CLASS:
        raise ValueError(
            f"label_smoothing={label_smoothing} has no meaning for {problem_type}: set it to 0 "
            "(it moves probability from one class to the others)."
        )


def check_penalty(penalty_weight: float, problem_type: str) -> None:
    """Refuse a confidence penalty out of range, or where it has no meaning.

    Raises:
        ValueError: If it is negative or not finite, or set where labels are not one class.
    """
    if not 0.0 <= penalty_weight < float("inf"):
        raise ValueError(f"penalty_weight must be finite and at least 0, got {penalty_weight}.")
    if penalty_weight and problem_type not in ONE_CLASS:
        raise ValueError(
            f"penalty_weight={penalty_weight} has no meaning for {problem_type}: set it to 0 (it is the entropy of "
            "one choice between classes)."
        )


def check_soft_labels(beta: float, problem_type: str, *, own_loss: bool = False) -> None:
    """Refuse a share of the labels out of range, and global soft labels (LaMix) where they have no meaning.

    Raises:
        ValueError: If `beta` lies outside `(0, 1]`, or below 1 where labels are not one class, or with a loss of
            one's own.
    """
    if not 0.0 < beta <= 1.0:
        raise ValueError(f"beta (lamix_beta) must lie in (0, 1], got {beta}: it is the share of the labels.")
    if beta < 1.0 and problem_type not in ONE_CLASS:
        raise ValueError(
            f"beta={beta} (lamix_beta) has no meaning for {problem_type}: set it to 1 (the global soft label of LaMix "
            "is a distribution over classes)."
        )
    if beta < 1.0 and own_loss:
        raise ValueError(
            f"beta={beta} (lamix_beta) mixes the targets of cross-entropy, which row_loss replaces: set it to 1, or "
            "leave row_loss out."
        )


def check_passes(passes: int, problem_type: str, *, alone: bool) -> None:
    """Refuse several stochastic passes (VWCI) where they have no meaning.

    Raises:
        ValueError: If there is none, or several for labels that are not one choice between classes, or not `alone`:
            beside other terms than the clean loss.
    """
    if passes < 1:
        raise ValueError(f"passes (vwci_passes) must be at least 1, got {passes}.")
    if passes > 1 and (problem_type not in ONE_CLASS or not alone):
        why = f"has no meaning for {problem_type}" if alone else "goes with the clean loss alone (weight cls_weight)"
        raise ValueError(f"passes={passes} (vwci_passes) {why}: set it to 1, or leave out the other terms.")


def check_row_loss(loss: Any, num_labels: int) -> None:
    """Refuse parts of a [`RowLoss`] that have no meaning for its labels, or beside each other.

    Raises:
        ValueError: Naming the part, and what to set instead.
    """
    kind, own = loss.problem_type, loss.function is not None
    if kind not in PROBLEM_TYPES:
        raise ValueError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {kind!r}.")
    check_smoothing(loss.label_smoothing, kind)
    if own and loss.label_smoothing:
        raise ValueError(
            f"label_smoothing={loss.label_smoothing} smooths the targets of cross-entropy, which row_loss replaces: "
            "set it to 0, and smooth in row_loss."
        )
    if own and loss.pos_weight is not None:
        raise ValueError("pos_weight belongs to binary cross-entropy, which row_loss replaces: use it in row_loss.")
    for name, given, kinds, other in (
        ("class_weights", loss.class_weights, ONE_CLASS, "leave it out, or use pos_weight for several labels a row"),
        ("pos_weight", loss.pos_weight, (MULTI_LABEL,), "leave it out, or use class_weights for one class a row"),
    ):
        if given is not None and kind not in kinds:
            raise ValueError(f"{name} has no meaning for {kind}: {other}.")
        if given is not None and given.shape != (num_labels,):
            raise ValueError(f"{name} must hold one number for each of {num_labels} labels, got {given.numel()}.")


def check_targets(logits: torch.Tensor, labels: torch.Tensor, problem_type: str) -> None:
    """Refuse an unknown problem type and shapes that do not fit it.

    Raises:
        ValueError: Naming both shapes.
    """
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {problem_type!r}.")
    if logits.dim() != 2 and not (logits.dim() == 3 and problem_type == SINGLE_LABEL):
        raise ValueError(
            "logits must have shape (batch, num_labels), or of tokens (batch, tokens, num_labels) with one label for "
            f"each, got {tuple(logits.shape)} for {problem_type}."
        )
    fits = {SINGLE_LABEL: labels.shape == logits.shape[:-1], SOFT_LABEL: labels.shape == logits.shape}
    fits = fits.get(problem_type, labels.numel() == logits.numel())
    if not fits or len(labels) != len(logits):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)} "
            f"for {problem_type}."
        )


def check_label_values(
    labels: torch.Tensor, num_labels: int, problem_type: str | None = None, where: str = "a batch"
) -> None:
    """Refuse class indices outside `[0, num_labels)`, scores that are not finite and probabilities that are none.

    Reads the values, so on a GPU it waits for them.

    Args:
        labels (`torch.Tensor`): Class indices `(B,)`, or of tokens `(B, T)` with -100 for those without a tag, or
            floating point targets of any shape.
        num_labels (`int`): Number of outputs of the model.
        problem_type (`str`, *optional*): If one class is to be chosen, floats `(B, num_labels)` are probabilities.
        where (`str`): What the rows are of, for the error.

    Raises:
        ValueError: Naming the first offending value and its row.
    """
    bad, allowed = bad_labels(labels, num_labels, problem_type)
    if bad.any():
        row = bad.nonzero()[0, 0].item()
        value = labels[row] if labels.is_floating_point() else labels[row][bad[row]].flatten()[0]
        raise ValueError(
            f"Training labels must be {allowed}, got {value.tolist()} in row {row} of {where}: "
            "check the dataset, and leave unlabelled rows out."
        )


def bad_labels(labels: torch.Tensor, num_labels: int, problem_type: str | None = None) -> tuple[torch.Tensor, str]:
    """Which labels, or rows of them, [`check_label_values`] refuses, and what is allowed."""
    if labels.is_floating_point():
        bad, allowed = ~torch.isfinite(labels), "finite"
        if labels.dim() == 2 and problem_type in ONE_CLASS:
            bad, allowed = ~are_probabilities(labels), "probabilities of the classes, which sum to 1"
    elif num_labels > 1:
        bad, allowed = (labels < 0) | (labels >= num_labels), f"in [0, {num_labels})"
        if labels.dim() == 2:
            bad, allowed = bad & (labels != IGNORED), f"{allowed}, or {IGNORED} for tokens without a tag"
    else:
        bad, allowed = torch.zeros_like(labels, dtype=torch.bool), "numbers"
    return bad, allowed


def are_probabilities(rows: torch.Tensor) -> torch.Tensor:
    """Whether the numbers of each row are at least 0 and sum to 1 within 0.01, booleans `(B,)` for `(B, C)`."""
    return (rows >= 0).all(1) & ((rows.double().sum(1) - 1).abs() <= SUM_SLACK)


def check_pairs(x: torch.Tensor, plan: Any) -> None:
    """Refuse a plan for another number of rows; one with rows of its `own` fits any that has these.

    Raises:
        ValueError: Naming the three shapes.
    """
    index, lam = plan
    if not plan.first(x).shape[:1] == index.shape == lam.shape:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, but the plan is for {len(index)} rows and has lam of shape "
            f"{tuple(lam.shape)}: all three must agree on the number of rows."
        )


def check_images(images: torch.Tensor) -> None:
    """Refuse anything but a batch of floating point images.

    Raises:
        TypeError: If the pixels are integers.
        ValueError: If the shape is not `(B, C, H, W)`, or a side is 0.
    """
    if not images.is_floating_point():
        raise TypeError(f"Images must be floating point, got {images.dtype}: scale bytes by 1/255 first.")
    if images.dim() != 4 or not images.numel():
        raise ValueError(f"Images must have shape (B, C, H, W) with no side of 0, got {tuple(images.shape)}.")


def check_out(out: torch.Tensor, x: torch.Tensor) -> None:
    """Refuse a buffer of another kind than `x`, or one that shares memory with it.

    Raises:
        ValueError: Naming what differs.
    """
    if (out.shape, out.dtype, out.device) != (x.shape, x.dtype, x.device):
        raise ValueError(
            f"out must be {x.dtype} of shape {tuple(x.shape)} on {x.device} like the input, got {out.dtype} of shape "
            f"{tuple(out.shape)} on {out.device}."
        )
    (first, first_end), (second, second_end) = _span(out), _span(x)
    if out.numel() and first < second_end and second < first_end:
        raise ValueError("out shares memory with the input, which must stay as it is: pass another buffer.")


def _span(x: torch.Tensor) -> tuple[int, int]:
    """First address of a tensor, and the one behind its last element."""
    reach = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return x.data_ptr(), x.data_ptr() + (reach + 1) * x.element_size()
