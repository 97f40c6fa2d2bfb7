# SPDX-License-Identifier: Apache-2.0
"""Paired differences over seeds, and a bootstrap over evaluated rows and seeds together."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from logitmix_nlp.functional.bootstrap import CHUNK_ENTRIES, Resampled, resampled_spearman
from logitmix_nlp.functional.metrics import METRICS, Predictions
from logitmix_nlp.reports.tables import Estimate, estimate

__all__ = [
    "bootstrap_scores", "difference_interval", "holm", "paired_difference", "resampled", "resampled_differences",
    "two_sided_p",
]  # fmt: skip


def resampled(name: str, logits: np.ndarray, labels: np.ndarray, n_bins: int = 15) -> Resampled:
    """What gives a metric's values on resamples: one of `METRICS`, or `spearmanr` of a regression.

    Args:
        name (`str`): The metric.
        logits (`np.ndarray` of shape `(N, C)`): Of a regression, its predictions, `(N, 1)`.
        labels (`np.ndarray` of shape `(N,)`): Class ids, or scores.
        n_bins (`int`): Confidence bins.
    """
    if name == "spearmanr":
        return resampled_spearman(torch.from_numpy(logits).reshape(-1), torch.from_numpy(labels))
    return METRICS[name].resampled(Predictions(logits, labels, n_bins))


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
    """Mean and deviation of `first - second`, values by seed, over the seeds that both have; `None` without any."""
    shared = sorted(set(first) & set(second))
    return estimate([first[seed] - second[seed] for seed in shared]) if shared else None


def bootstrap_scores(
    scorers: Sequence[Resampled], n_rows: int | Sequence[int], n_resamples: int, seed: int = 0
) -> np.ndarray:
    """Score the same resamples of the rows with every scorer.

    Args:
        scorers (`Sequence` of callables): See [`resampled`], one per run; all over the same rows in the same order.
        n_rows (`int` or `Sequence[int]`): Number of rows; or of each of several sets, which follow each other in the
            counts and are drawn from one by one, so that each keeps its size.
        n_resamples (`int`): Number of resamples, each of `n_rows` rows drawn with replacement.
        seed (`int`): Of the draws; the same seed and `n_rows` give the same resamples.

    Returns:
        `np.ndarray` of shape `(n_resamples, len(scorers))`: The scores.
    """
    chunks = _row_counts([n_rows] if isinstance(n_rows, int) else n_rows, n_resamples, seed)
    pieces = [torch.stack([scorer(counts) for scorer in scorers], dim=1) for counts in map(torch.from_numpy, chunks)]
    return torch.cat(pieces).numpy()


def difference_interval(
    first: np.ndarray, second: np.ndarray, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean difference, with rows and seeds resampled together.

    Each resample draws the seeds anew, with replacement, and averages their differences on its rows.

    Args:
        first (`np.ndarray` of shape `(B, S)`): Scores of one method's `S` seeds on `B` resamples of the rows.
        second (`np.ndarray` of shape `(B, S)`): The same of the other method: same seeds, same resamples.
        seed (`int`): Of the draws of seeds.
        level (`float`): Share of the resampled differences that the interval holds.

    Returns:
        `tuple[float, float]`: Lower and upper end of `first - second`.
    """
    low, high = np.quantile(resampled_differences(first, second, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_differences(first: np.ndarray, second: np.ndarray, seed: int = 0) -> np.ndarray:
    """Mean difference on every resample `(B,)`, with the seeds drawn anew in each; see [`difference_interval`]."""
    differences = first - second
    draws = np.random.default_rng([seed, 1]).integers(differences.shape[1], size=differences.shape)
    return np.take_along_axis(differences, draws, axis=1).mean(axis=1)


def two_sided_p(differences: np.ndarray) -> float:
    """Two-sided bootstrap p-value of no difference: twice the smaller tail, each counted with one resample more.

    Args:
        differences (`np.ndarray` of shape `(B,)`): Resampled differences; 0 counts to both tails.

    Returns:
        `float`: In `[2 / (B + 1), 1]` (Davison & Hinkley, Bootstrap Methods, 1997, Eq. 4.11).
    """
    tails = [(np.sum(differences <= 0) + 1), (np.sum(differences >= 0) + 1)]
    return float(min(1.0, 2 * min(tails) / (len(differences) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of a family of comparisons, corrected by Holm's step-down method (Holm, 1979), in their order.

    Args:
        p_values (`Sequence[float]`): In `[0, 1]`.

    Returns:
        `list[float]`: In `[0, 1]`; to reject those below a level keeps the chance of any false one below it.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _row_counts(n_rows: Sequence[int], n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Counts `(sum of n_rows, B)` in pieces that fit into memory; of each set, each column sums to its size."""
    rng, left = np.random.default_rng([seed, 0]), n_resamples
    while left:
        size = min(left, max(1, CHUNK_ENTRIES // sum(n_rows)))
        yield np.concatenate([_counts(rng, rows, size) for rows in n_rows])
        left -= size


def _counts(rng: np.random.Generator, n_rows: int, size: int) -> np.ndarray:
    """How often each row is drawn in each of `size` resamples, `(n_rows, size)`."""
    cells = rng.integers(n_rows, size=(size, n_rows)) * size + np.arange(size)[:, None]
    return np.bincount(cells.reshape(-1), minlength=n_rows * size).reshape(n_rows, size).astype(np.float64)
