# SPDX-License-Identifier: Apache-2.0
"""Scores of a classifier, checked and reduced row by row to what the metrics need."""

from collections.abc import Iterator

import torch

from logitmix_nlp.functional.checks import are_probabilities

__all__ = ["checked_predictions", "classes_of", "confidence_chunks", "row_chunks", "row_sums", "softmax_powers"]

ROUNDING = 0.05  # how far the sum of a row of probabilities, rounded to two decimals, say, may be off 1
CHUNK = {"cpu": 2**20}  # scores taken at a time: on a CPU, 8 MB in float64
LARGE_CHUNK = 2**25  # elsewhere, 256 MB in float64


def checked_predictions(
    scores: torch.Tensor, labels: torch.Tensor, from_logits: bool | None
) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Check scores and labels, and tell logits from probabilities.

    Args:
        scores (`torch.Tensor` of shape `(N, C)`): Logits or probabilities; NumPy arrays are taken too.
        labels (`torch.Tensor` of shape `(N,)`): True classes, integers in `[0, C)`.
        from_logits (`bool`, *optional*): Say what the scores are. `None` takes both: rows in `[0, 1]` that sum to 1
            are probabilities, sums a little off are refused, all else is logits, broken probabilities included;
            `False` refuses what are no probabilities.

    Returns:
        `tuple`: Scores, labels on their device as int64, and whether the scores are logits.

    Raises:
        ValueError: See [`confidence_bins`].
    """
    scores, labels = torch.as_tensor(scores).detach(), torch.as_tensor(labels)
    if scores.dim() != 2 or scores.shape[1] < 2 or not scores.is_floating_point():
        raise ValueError(
            "Expected floating point logits or probabilities of shape (N, C) with C >= 2, got "
            f"{scores.dtype} of shape {tuple(scores.shape)}."
        )
    if labels.shape != scores.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"Expected {len(scores)} integer labels of shape (N,), got {labels.dtype} of shape {tuple(labels.shape)}."
        )
    if len(scores) == 0:
        raise ValueError("No rows: a calibration metric needs at least one.")
    low, high = scores.aminmax()
    if not torch.isfinite(low) or not torch.isfinite(high):
        rows = (~torch.isfinite(scores)).any(-1).nonzero().flatten()
        raise ValueError(f"{len(rows)} rows hold NaN or infinite values, the first is row {rows[0].item()}.")
    labels = labels.long().to(scores.device)
    first, last = labels.aminmax()
    if first < 0 or last >= scores.shape[1]:
        outside = ((labels < 0) | (labels >= scores.shape[1])).nonzero().flatten()
        row = outside[0].item()
        raise ValueError(
            f"{len(outside)} labels lie outside [0, {scores.shape[1]}), the first is {labels[row].item()} "
            f"in row {row}; leave unlabelled rows out."
        )
    return scores, labels, _are_logits(scores, from_logits, low, high)


def classes_of(labels: torch.Tensor) -> torch.Tensor:
    """The most probable class of each row of soft labels; any other labels as they are.

    Args:
        labels (`torch.Tensor` of shape `(N,)` or `(N, C)`): Classes, or floats that are probabilities of them.

    Raises:
        ValueError: If numbers of a row are no probabilities.
    """
    labels = torch.as_tensor(labels)
    if labels.dim() != 2 or not labels.is_floating_point():
        return labels
    wrong = (~are_probabilities(labels)).nonzero().flatten()
    if len(wrong):
        raise ValueError(
            f"Soft labels must be at least 0 and sum to 1 in each row, got {labels[wrong[0]].tolist()} in row "
            f"{wrong[0].item()}."
        )
    return labels.argmax(-1)


def row_chunks(scores: torch.Tensor, *others: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Cut tensors of equal length into views of few rows, so that the memory used does not grow with `N`."""
    rows = max(1, CHUNK.get(scores.device.type, LARGE_CHUNK) // scores.shape[1])
    return zip(*(tensor.split(rows) for tensor in (scores, *others)), strict=True)


def row_sums(columns: torch.Tensor) -> torch.Tensor:
    """Sum over the first dimension in one fixed order, whatever the row's place in the batch: half onto half.

    Args:
        columns (`torch.Tensor` of shape `(C, n)`): One column per row of the data; overwritten.

    Returns:
        `torch.Tensor` of shape `(n,)`: The sums, a view of `columns`.
    """
    while len(columns) > 1:
        half = (len(columns) + 1) // 2
        columns[: len(columns) - half] += columns[half:]
        columns = columns[:half]
    return columns[0]


def softmax_powers(logits: torch.Tensor, space: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The numerators of a softmax in float64, class after class so that each step runs along the rows.

    Args:
        logits (`torch.Tensor` of shape `(n, C)`): Logits.
        space (`torch.Tensor`, *optional*): Float64 memory of at least `n * C` numbers to write them into.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: `exp(z_c - max z)` of shape `(C, n)` and `max z` of shape `(n,)`.
    """
    if space is None:
        space = torch.empty(logits.numel(), dtype=torch.float64, device=logits.device)
    powers = space[: logits.numel()].view(logits.shape[::-1]).copy_(logits.T)
    largest = powers.amax(0)
    return powers.sub_(largest).exp_(), largest


def confidence_chunks(
    scores: torch.Tensor, labels: torch.Tensor, logits: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Probability of the predicted class, and whether it is the true one, a few rows at a time.

    The predicted class is the first of the most probable ones. A row's values do not depend on the rows beside it.

    Args:
        scores (`torch.Tensor` of shape `(N, C)`): Checked logits or probabilities.
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        logits (`bool`): What the scores are.

    Yields:
        `tuple[torch.Tensor, torch.Tensor]`: Confidences in `[0, 1]`, float64 from logits and of the scores' dtype
        from probabilities, and booleans; both of shape `(n,)`.
    """
    space = None
    for piece, classes in row_chunks(scores, labels):
        if not logits:
            yield _confidence_of_probs(piece, classes)
            continue
        if space is None:
            space = torch.empty(piece.numel(), dtype=torch.float64, device=piece.device)
        yield _confidence_of_logits(piece, classes, space)


def _confidence_of_probs(probs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    confidence, predicted = probs.max(dim=-1)
    return confidence.clamp(max=1.0), predicted == labels


def _confidence_of_logits(
    logits: torch.Tensor, labels: torch.Tensor, space: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    powers, _ = softmax_powers(logits, space)
    correct = powers.gather(0, labels[None]).squeeze(0) == 1
    top = powers >= 1
    if torch.count_nonzero(top) > len(labels):  # tied, or so close that float64 powers do not tell
        tied = correct & (top.sum(0, dtype=torch.int32) > 1)
        correct[tied] = logits[tied].max(dim=-1).indices == labels[tied]
    return row_sums(powers).reciprocal(), correct


def _are_logits(scores: torch.Tensor, from_logits: bool | None, low: torch.Tensor, high: torch.Tensor) -> bool:
    if from_logits:
        return True
    tolerance = max(1e-4, 2 * torch.finfo(scores.dtype).eps)
    in_range = bool(low >= 0) and bool(high <= 1 + tolerance)
    if not in_range and from_logits is None:
        return True
    ends = torch.stack([torch.stack(piece.double().sum(-1).aminmax()) for (piece,) in row_chunks(scores)])
    smallest, largest = ends[:, 0].min().item(), ends[:, 1].max().item()
    off = max(1 - smallest, largest - 1)
    if in_range and off <= (tolerance if from_logits is None else ROUNDING):
        return False
    if from_logits is False:
        raise ValueError(
            f"from_logits=False, but the rows are no probabilities: entries lie in [{low:.4g}, {high:.4g}], "
            f"row sums in [{smallest:.4g}, {largest:.4g}]. Pass softmax outputs, or logits with from_logits=True."
        )
    if off <= ROUNDING:
        raise ValueError(
            f"The rows look like probabilities, but their sums are off 1 by up to {off:.2g}: say "
            "from_logits=False if they are rounded probabilities, from_logits=True if they are logits."
        )
    return True
