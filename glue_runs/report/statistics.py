# SPDX-License-Identifier: Apache-2.0
"""Means over seeds, paired differences, and a bootstrap over evaluated rows and seeds together."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from scipy import sparse

from logitmix_nlp.functional import row_confidences
from logitmix_nlp.reports.tables import Estimate

__all__ = [
    "SCORERS", "bootstrap_scores", "difference_interval", "estimate", "holm", "paired_difference",
    "resampled_differences", "two_sided_p",
]  # fmt: skip

CHUNK_ENTRIES = 2_000_000  # rows times resamples held at once, 16 MB
# From counts `(N, B)`, how often each of N rows was drawn in each of B resamples, to one score per resample `(B,)`.
Scorer = Callable[[np.ndarray], np.ndarray]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and sample standard deviation of one value per seed, at least one."""
    values = np.asarray(values, dtype=np.float64)
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Estimate(float(values.mean()), std, len(values))


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate | None:
    """Difference `first - second` over the seeds that both have.

    Args:
        first (`Mapping[int, float]`): Figure of each seed.
        second (`Mapping[int, float]`): Figure of each seed.

    Returns:
        `Estimate`: Mean and standard deviation of the differences; `None` if no seed is shared.
    """
    shared = sorted(set(first) & set(second))
    return estimate([first[seed] - second[seed] for seed in shared]) if shared else None


def bootstrap_scores(
    scorers: Sequence[Scorer], n_rows: int | Sequence[int], n_resamples: int, seed: int = 0
) -> np.ndarray:
    """Score the same resamples of the rows with every scorer.

    Args:
        scorers (`Sequence` of callables): Made by `SCORERS`, one per run; all over the same rows in the same order.
        n_rows (`int` or `Sequence[int]`): Number of rows; or of each of several sets, which follow each other in the
            counts and are drawn from one by one, so that each keeps its size.
        n_resamples (`int`): Number of resamples, each of `n_rows` rows drawn with replacement.
        seed (`int`): Of the draws; the same seed and `n_rows` give the same resamples.

    Returns:
        `np.ndarray` of shape `(n_resamples, len(scorers))`: The scores.
    """
    chunks = _row_counts([n_rows] if isinstance(n_rows, int) else n_rows, n_resamples, seed)
    return np.concatenate([np.stack([scorer(counts) for scorer in scorers], axis=1) for counts in chunks])


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
    """Mean difference `first - second` on every resample, with the seeds drawn anew in each.

    Args:
        first (`np.ndarray` of shape `(B, S)`): See [`difference_interval`].
        second (`np.ndarray` of shape `(B, S)`): See [`difference_interval`].
        seed (`int`): Of the draws of seeds.

    Returns:
        `np.ndarray` of shape `(B,)`: The mean differences.
    """
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


def _accuracy(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> Scorer:
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    return lambda counts: correct @ counts / len(labels)


def _matthews(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> Scorer:
    """Matthews correlation of any number of classes, from the counts of (true, predicted) pairs."""
    classes, n_rows = logits.shape[1], len(labels)
    pairs = _grouped(labels.astype(np.int64) * classes + logits.argmax(axis=1), np.ones(n_rows), classes**2)

    def score(counts: np.ndarray) -> np.ndarray:
        confusion = (pairs @ counts).reshape(classes, classes, -1)
        true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
        right = np.trace(confusion)
        spread = (n_rows**2 - (true**2).sum(axis=0)) * (n_rows**2 - (predicted**2).sum(axis=0))
        covariance = n_rows * right - (true * predicted).sum(axis=0)
        return np.divide(covariance, np.sqrt(spread), out=np.zeros_like(spread), where=spread > 0)

    return score


def _spearman(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> Scorer:
    """Spearman correlation, ranked anew within each resample; tied rows share their mean rank."""
    predictions, n_rows = logits.reshape(-1), len(labels)

    def score(counts: np.ndarray) -> np.ndarray:
        first, second = _centred_ranks(predictions, counts), _centred_ranks(labels, counts)
        product = (counts * first * second).sum(axis=0)
        spread = (counts * first**2).sum(axis=0) * (counts * second**2).sum(axis=0)
        return np.divide(product, np.sqrt(spread), out=np.zeros_like(spread), where=spread > 0)

    def _centred_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
        distinct, group = np.unique(values, return_inverse=True)
        sizes = _grouped(group, np.ones(n_rows), len(distinct)) @ counts
        return (sizes.cumsum(axis=0) - (sizes - 1) / 2 - (n_rows + 1) / 2)[group]

    return score


def _ece(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> Scorer:
    confidence, correct, bins = _confidence(logits, labels, n_bins)
    gaps = _grouped(bins, correct - confidence, n_bins)
    return lambda counts: np.abs(gaps @ counts).sum(axis=0) / len(labels)


def _oe(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> Scorer:
    confidence, correct, bins = _confidence(logits, labels, n_bins)
    excess, mass, size = (
        _grouped(bins, values, n_bins) for values in (confidence - correct, confidence, 0 * bins + 1)
    )

    def score(counts: np.ndarray) -> np.ndarray:
        mean_confidence = mass @ counts / np.maximum(size @ counts, 1)
        return (mean_confidence * np.maximum(excess @ counts, 0)).sum(axis=0) / len(labels)

    return score


def _confidence(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, correctness and bin of each row, as [`functional.confidence_bins`] has them."""
    rows = row_confidences(torch.from_numpy(logits), torch.from_numpy(labels), from_logits=True)
    confidence, correct = rows.confidence.numpy(), rows.correct.numpy().astype(np.float64)
    return confidence, correct, np.searchsorted(np.arange(1, n_bins) / n_bins, confidence, side="left")


def _grouped(groups: np.ndarray, values: np.ndarray, n_groups: int) -> sparse.csr_array:
    """Matrix `(n_groups, N)` that sums `values * counts` within groups."""
    return sparse.csr_array((values, (groups, np.arange(len(groups)))), shape=(n_groups, len(groups)))


# Figure -> maker of a scorer from logits `(N, C)`, labels `(N,)` and the number of confidence bins.
SCORERS: Mapping[str, Callable[[np.ndarray, np.ndarray, int], Scorer]] = {
    "accuracy": _accuracy,
    "matthews_correlation": _matthews,
    "spearmanr": _spearman,
    "ece": _ece,
    "oe": _oe,
}
