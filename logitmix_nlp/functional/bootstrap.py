# SPDX-License-Identifier: Apache-2.0
"""How far a figure may be off because the test set is small: bootstrap confidence intervals."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

__all__ = ["Interval", "bootstrap_interval"]


class Interval(NamedTuple):
    """A figure with its confidence interval.

    Args:
        value (`float`): The figure of all rows.
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
    """Bootstrap interval of any figure of rows: they are drawn again with replacement (Efron & Tibshirani, 1993).

    Example:
        `bootstrap_interval(expected_calibration_error, logits, labels, n_bins=15, from_logits=True)`

    Args:
        figure (`Callable`): Takes `rows` and `options`, returns a scalar; any figure of this package.
        rows (`torch.Tensor`): Tensors of equal length, such as logits and labels; NumPy arrays are taken too.
        level (`float`): Coverage of the interval, in `(0, 1)`.
        n_resamples (`int`): How often the rows are drawn; at least `2 / (1 - level)`, so that the ends are seen.
        method (`str`): `"percentile"`, the middle of the resampled figures; or `"basic"`, that interval mirrored at
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
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}.")
    if n_resamples < 2 / (1 - level):
        raise ValueError(
            f"n_resamples={n_resamples} is too few to see the ends of a {level:.0%} interval: "
            f"give at least {2 / (1 - level):.0f}."
        )
    if method not in ("percentile", "basic"):
        raise ValueError(f'method must be "percentile" or "basic", got {method!r}.')
    rows = tuple(torch.as_tensor(tensor) for tensor in rows)
    lengths = [len(tensor) for tensor in rows]
    if not rows or len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"Expected tensors of one length, at least 1, got lengths {lengths}.")
    value = float(figure(*rows, **options))
    resampled = torch.empty(n_resamples, dtype=torch.float64)
    for draw in range(n_resamples):
        index = torch.randint(lengths[0], (lengths[0],), generator=generator)
        resampled[draw] = float(figure(*(tensor[index.to(tensor.device)] for tensor in rows), **options))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = resampled.quantile(ends).tolist()
    if method == "basic":
        low, high = 2 * value - high, 2 * value - low
    return Interval(value, low, high)
