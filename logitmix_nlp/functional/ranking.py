# SPDX-License-Identifier: Apache-2.0
"""How well a score tells two groups of rows apart, whatever its scale. Ties are counted exactly."""

import math

import torch

__all__ = ["auroc", "false_positive_rate"]


def auroc(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Area under the ROC curve: the chance that a positive row scores above a negative one, ties counting half.

    Args:
        positive (`torch.Tensor` of shape `(P,)`): Scores of the rows that should score high.
        negative (`torch.Tensor` of shape `(Q,)`): Scores of the rows that should score low.

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; 0.5 is chance. Wins are counted in integers, so the value depends
        on the order of the rows not even in the last bit.

    Raises:
        ValueError: If a group is empty, or holds NaN.
    """
    positive, negative = _checked(positive, negative)
    values, group = torch.cat([positive, negative]).unique(return_inverse=True)
    wins = torch.bincount(group[: len(positive)], minlength=len(values))
    losses = torch.bincount(group[len(positive) :], minlength=len(values))
    below = losses.cumsum(0) - losses
    twice_won = (wins * (2 * below + losses)).sum()
    return twice_won.double() / (2 * len(positive) * len(negative))


def false_positive_rate(
    positive: torch.Tensor, negative: torch.Tensor, true_positive_rate: float = 0.95
) -> torch.Tensor:
    """Share of the negative rows that pass the highest threshold which at least 95 % of the positive rows pass.

    `FPR95` of the literature on out-of-distribution rows (Liang et al., 2018). A row passes if its score is at least
    the threshold, and a threshold is the score of a positive row: there is no interpolation between them.

    Args:
        positive (`torch.Tensor` of shape `(P,)`): Scores of the rows that should score high.
        negative (`torch.Tensor` of shape `(Q,)`): Scores of the rows that should score low.
        true_positive_rate (`float`): Share of the positive rows that must pass, in `(0, 1]`.

    Returns:
        `torch.Tensor`: Float64 scalar in `[0, 1]`; 0 is perfect.

    Raises:
        ValueError: If a group is empty or holds NaN, or `true_positive_rate` lies outside `(0, 1]`.
    """
    if not 0 < true_positive_rate <= 1:
        raise ValueError(f"true_positive_rate must lie in (0, 1], got {true_positive_rate}.")
    positive, negative = _checked(positive, negative)
    needed = math.ceil(true_positive_rate * len(positive))
    if (needed - 1) / len(positive) >= true_positive_rate:  # the product was rounded up over a whole number
        needed -= 1
    threshold = positive.sort(descending=True).values[needed - 1]
    return (negative >= threshold).double().mean()


def _checked(positive: torch.Tensor, negative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    positive, negative = (torch.as_tensor(scores).detach().flatten() for scores in (positive, negative))
    for name, scores in (("positive", positive), ("negative", negative)):
        if len(scores) == 0:
            raise ValueError(f"No {name} rows: ranking two groups needs at least one row of each.")
        if scores.isnan().any():
            raise ValueError(f"{scores.isnan().sum()} scores of the {name} rows are NaN.")
    return positive, negative
