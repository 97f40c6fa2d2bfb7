# SPDX-License-Identifier: Apache-2.0
"""How far a metric may be off because the test set is small: bootstrap confidence intervals."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

__all__ = ["Interval", "bootstrap_interval", "bootstrap_intervals"]


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
    figure: Callable[..., torch.Tensor],
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
        figure (`Callable`): Takes `rows` and `options`, returns a scalar; any metric of this package.
        rows (`torch.Tensor`): Tensors of equal length, such as logits and labels; NumPy arrays are taken too.
        level (`float`): Coverage of the interval, in `(0, 1)`.
        n_resamples (`int`): How often the rows are drawn; at least `2 / (1 - level)`, so that the ends are seen.
        method (`str`): `"percentile"`, the middle of the resampled values; or `"basic"`, that interval mirrored at
            the value, `2 * value - …`. Drawing rows again adds noise, and noise raises ECE, adaptive and class-wise
            ECE and MCE: of those, percentile intervals lie too high, and basic ones, which may reach below 0, take
            that bias off.
        generator (`torch.Generator`, *optional*): Source of the draws, on the CPU; torch's global one if not given.
        options (`Any`): Passed to `figure` by name.

    Returns:
        `Interval`: Value and ends, as floats.

    Raises:
        ValueError: On tensors of unequal length, no rows, or `level`, `n_resamples` or `method` out of range; and what
            `figure` raises, also on a resample it cannot be computed for (AUROC without wrong rows, say).
    """
    methods = {"figure": method}
    (found,) = bootstrap_intervals(
        lambda *drawn: {"figure": figure(*drawn, **options)},
        *rows,
        level=level,
        n_resamples=n_resamples,
        methods=methods,
        generator=generator,
    ).values()
    return found


def bootstrap_intervals(
    figures: Callable[..., Mapping[str, torch.Tensor]],
    *rows: torch.Tensor,
    level: float = 0.95,
    n_resamples: int = 1000,
    methods: Mapping[str, str] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Interval]:
    """Bootstrap intervals of several metrics from the same resamples, see [`bootstrap_interval`].

    Args:
        figures (`Callable`): Takes `rows`, returns named scalars: of all rows, and of every resample, the same names.
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
    values = {name: float(value) for name, value in figures(*rows).items()}
    resampled = torch.empty(n_resamples, len(values), dtype=torch.float64)
    for draw in range(n_resamples):
        index = torch.randint(lengths[0], (lengths[0],), generator=generator)
        found = figures(*(tensor[index.to(tensor.device)] for tensor in rows))
        resampled[draw] = torch.tensor([float(found[name]) for name in values], dtype=torch.float64)
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
