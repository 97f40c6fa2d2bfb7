# SPDX-License-Identifier: Apache-2.0
"""How far a metric may be off because the test set is small: bootstrap confidence intervals."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

__all__ = [
    "Interval", "Resampled", "bootstrap_interval", "bootstrap_intervals", "check_resamples", "interval_of", "levels",
    "resampled_aurc", "resampled_auroc", "resampled_mean", "resampled_spearman", "row_counts", "steps", "value_of",
]  # fmt: skip

CHUNK_ENTRIES = 2_000_000  # rows times resamples held at once, 16 MB
# From counts `(N, B)`, how often each of N rows was drawn in each of B resamples, to one value per resample `(B,)`.
Resampled = Callable[[torch.Tensor], torch.Tensor]


class Interval(NamedTuple):
    """A metric with its confidence interval.

    Args:
        value (`float`): The value of all rows.
        low (`float`): Lower end.
        high (`float`): Upper end.
    """

    value: float
    low: float
    high: float


def bootstrap_interval(
    metric: Callable[..., torch.Tensor],
    *rows: torch.Tensor,
    level: float = 0.95,
    n_resamples: int = 1000,
    method: str = "percentile",
    generator: torch.Generator | None = None,
    **options: Any,
) -> Interval:
    """Bootstrap interval of any metric of rows: they are drawn again with replacement (Efron & Tibshirani, 1993).

    Example:
        `bootstrap_interval(expected_calibration_error, logits, labels, n_bins=15, from_logits=True)`

    Args:
        metric (`Callable`): Takes `rows` and `options`, returns a scalar; any metric of this package.
        rows (`torch.Tensor`): Tensors of equal length, such as logits and labels; NumPy arrays are taken too.
        level (`float`): Coverage of the interval, in `(0, 1)`.
        n_resamples (`int`): How often the rows are drawn; at least `2 / (1 - level)`, so that the ends are seen.
        method (`str`): `"percentile"`, the middle of the resampled values; or `"basic"`, that interval mirrored at
            the value, `2 * value - …`. Drawing rows again adds noise, and noise raises ECE, adaptive and class-wise
            ECE and MCE: of those, percentile intervals lie too high, and basic ones, which may reach below 0, take
            that bias off.
        generator (`torch.Generator`, *optional*): Source of the draws, on the CPU; torch's global one if not given.
        options (`Any`): Passed to `metric` by name.

    Returns:
        `Interval`: Value and ends, as floats.

    Raises:
        ValueError: On tensors of unequal length, no rows, or `level`, `n_resamples` or `method` out of range; and what
            `metric` raises, also on a resample it cannot be computed for (AUROC without wrong rows, say).
    """
    (interval,) = bootstrap_intervals(
        lambda *drawn: {"metric": metric(*drawn, **options)},
        *rows,
        level=level,
        n_resamples=n_resamples,
        methods={"metric": method},
        generator=generator,
    ).values()
    return interval


def bootstrap_intervals(
    metrics: Callable[..., Mapping[str, torch.Tensor]],
    *rows: torch.Tensor,
    level: float = 0.95,
    n_resamples: int = 1000,
    methods: Mapping[str, str] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Interval]:
    """Bootstrap intervals of several metrics from the same resamples, see [`bootstrap_interval`].

    Args:
        metrics (`Callable`): Takes `rows`, returns named scalars: of all rows, and of every resample, the same names.
        rows (`torch.Tensor`): Tensors of equal length; NumPy arrays are taken too.
        level (`float`): Coverage of each interval, in `(0, 1)`.
        n_resamples (`int`): How often the rows are drawn.
        methods (`Mapping[str, str]`, *optional*): `"percentile"` or `"basic"` by name; `"percentile"` if not given.
        generator (`torch.Generator`, *optional*): Source of the draws, on the CPU; torch's global one if not given.

    Returns:
        `dict[str, Interval]`: Value and ends of each metric. An interval is NaN at both ends if the metric was NaN in
        a resample.

    Raises:
        ValueError: See [`bootstrap_interval`].
    """
    check_resamples(n_resamples, level)
    for method in (methods or {}).values():
        if method not in ("percentile", "basic"):
            raise ValueError(f'method must be "percentile" or "basic", got {method!r}.')
    rows = tuple(torch.as_tensor(tensor) for tensor in rows)
    lengths = [len(tensor) for tensor in rows]
    if not rows or len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"Expected tensors of one length, at least 1, got lengths {lengths}.")
    values = {name: float(value) for name, value in metrics(*rows).items()}
    resampled = torch.empty(n_resamples, len(values), dtype=torch.float64)
    for draw in range(n_resamples):
        index = torch.randint(lengths[0], (lengths[0],), generator=generator)
        drawn = metrics(*(tensor[index.to(tensor.device)] for tensor in rows))
        resampled[draw] = torch.tensor([float(drawn[name]) for name in values], dtype=torch.float64)
    return {
        name: interval_of(value, column, (methods or {}).get(name, "percentile"), level)
        for (name, value), column in zip(values.items(), resampled.T, strict=True)
    }


def check_resamples(n_resamples: int, level: float = 0.95) -> None:
    """Raise a `ValueError` unless so many resamples show the ends of an interval."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}.")
    if n_resamples < 2 / (1 - level):
        raise ValueError(
            f"n_resamples={n_resamples} is too few to see the ends of a {level:.0%} interval: "
            f"give at least {2 / (1 - level):.0f}."
        )


def interval_of(value: float, resampled: torch.Tensor, method: str = "percentile", level: float = 0.95) -> Interval:
    """Interval of a value from those of its resamples, `(B,)`; see [`bootstrap_interval`] for the methods."""
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = resampled.quantile(ends).tolist()
    return Interval(value, 2 * value - high, 2 * value - low) if method == "basic" else Interval(value, low, high)


def row_counts(
    n_rows: int, n_resamples: int, generator: torch.Generator, entries: int | None = None
) -> Iterator[torch.Tensor]:
    """How often each row is drawn in each resample, `(N, B)`, in pieces that fit into memory.

    `entries` says how many numbers are made of those of one resample, if not `n_rows`.
    """
    for piece in torch.arange(n_resamples).split(max(1, CHUNK_ENTRIES // (entries or n_rows))):
        draws = (torch.randint(n_rows, (n_rows,), generator=generator) for _ in piece)
        yield torch.stack([torch.bincount(draw, minlength=n_rows) for draw in draws], dim=1).double()


def value_of(resampled: Resampled, n_rows: int) -> float:
    """The value of the rows themselves: of the resample that holds each of them once."""
    return resampled(torch.ones(n_rows, 1, dtype=torch.float64)).item()


def resampled_mean(values: torch.Tensor) -> Resampled:
    """Mean of a value of each row, `(N,)`."""
    values = values.double()
    return lambda counts: values @ counts / counts.sum(0)


def resampled_auroc(score: torch.Tensor, positive: torch.Tensor) -> Resampled:
    """Chance that a positive row has a higher score than another one, ties counting half; NaN without one of each.

    Args:
        score (`torch.Tensor` of shape `(N,)`): What ranks the rows.
        positive (`torch.Tensor` of shape `(N,)`): Booleans.
    """
    order, ends = levels(score)
    positive = positive.double()[order, None]

    def area(counts: torch.Tensor) -> torch.Tensor:
        drawn = counts[order]
        upto, all_upto = (positive * drawn).cumsum(0)[ends], drawn.cumsum(0)[ends]
        others = all_upto - upto
        wins = steps(upto) * (others[-1] - others + steps(others) / 2)
        return wins.sum(0) / (upto[-1] * others[-1])

    return area


def resampled_aurc(confidence: torch.Tensor, correct: torch.Tensor) -> Resampled:
    """Area under the risk-coverage curve, see [`area_under_risk_coverage`]; equal confidences in random order.

    Among the rows of one confidence, `a` rows with `r` right ones before them, right predictions are a share `p`:
    `sum_k (r + (k - a) p) / k` over their places `k` has a closed form with harmonic numbers.
    """
    order, ends = levels(confidence)
    right = correct.double()[order, None]

    def area(counts: torch.Tensor) -> torch.Tensor:
        drawn = counts[order]
        places = torch.arange(1, int(drawn.sum(0).max()) + 1, dtype=torch.float64)
        harmonic = torch.cat([places.new_zeros(1), places.reciprocal().cumsum(0)])
        upto, right_upto = drawn.cumsum(0)[ends], (right * drawn).cumsum(0)[ends]
        size, share = steps(upto), steps(right_upto)
        share = share / size.clamp(min=1)
        before, harmonics = upto - size, steps(harmonic[upto.long()])
        kept = (right_upto - share * size - before * share) * harmonics + share * size
        return 1 - kept.sum(0) / upto[-1]

    return area


def resampled_spearman(predictions: torch.Tensor, targets: torch.Tensor) -> Resampled:
    """Spearman correlation, ranked anew within each resample; tied rows share their mean rank; 0 for constants."""
    columns = [(values, *levels(values), values.unique(return_inverse=True)[1]) for values in (predictions, targets)]

    def correlation(counts: torch.Tensor) -> torch.Tensor:
        ranks = []
        for _, order, ends, group in columns:
            upto = counts[order].cumsum(0)[ends]
            level = upto - (steps(upto) - 1) / 2 - (upto[-1] + 1) / 2
            ranks.append(-level.flip(0)[group])  # levels fall, groups rise
        first, second = ranks
        product = (counts * first * second).sum(0)
        spread = (counts * first**2).sum(0) * (counts * second**2).sum(0)
        return torch.where(spread > 0, product / spread.sqrt(), 0.0)

    return correlation


def levels(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of the values, falling, and in that order the last place of each distinct one."""
    order = values.argsort(descending=True, stable=True)
    return order, values[order].unique_consecutive(return_counts=True)[1].cumsum(0) - 1


def steps(upto: torch.Tensor) -> torch.Tensor:
    """What each level adds to sums over all levels up to it."""
    return upto.diff(dim=0, prepend=upto.new_zeros(1, upto.shape[1]))
