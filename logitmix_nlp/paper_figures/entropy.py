# SPDX-License-Identifier: Apache-2.0
"""Entropy of the labels that mixup trains on (Thulasidasan et al., 2019: zero without mixing, up to log 2 with it)."""

import math

import numpy as np
import torch
from scipy import optimize, special, stats

from logitmix_nlp.functional.mixing import sample_plan

__all__ = ["entropy_quantile", "entropy_shares", "label_entropy", "mean_label_entropy", "sampled_label_entropy"]


def label_entropy(lam: np.ndarray) -> np.ndarray:
    """Entropy in nats of the label `lam * y_1 + (1 - lam) * y_2` of two different classes, in `[0, log 2]`."""
    return special.entr(lam) + special.entr(1 - np.asarray(lam))


def mean_label_entropy(alpha: np.ndarray | float) -> np.ndarray | float:
    """Mean entropy over λ ~ Beta(α, α), in nats: `psi(2 alpha + 1) - psi(alpha + 1)` with the digamma function ψ.

    From `E[lam log lam] = E[lam] * (psi(alpha + 1) - psi(2 alpha + 1))`, for λ and 1 - λ alike.

    Args:
        alpha (`float` or `np.ndarray`): α, above 0.

    Returns:
        `float` or `np.ndarray`: In `(0, log 2)`: towards 0 for small α, towards log 2 for large.

    Raises:
        ValueError: If an α is not above 0.
    """
    if not np.all(np.asarray(alpha) > 0):
        raise ValueError(f"alpha must be above 0, got {alpha}.")
    return special.digamma(2 * alpha + 1) - special.digamma(alpha + 1)


def entropy_quantile(alpha: float, share: float) -> float:
    """Entropy that this share of the labels does not exceed.

    The entropy does not exceed `h(t)`, `t <= 1/2`, if λ is at most `t` or at least `1 - t`: probability
    `2 I_t(alpha, alpha)`, with the distribution function I of Beta(α, α).

    Args:
        alpha (`float`): α, above 0.
        share (`float`): In `[0, 1]`.
    """
    return float(label_entropy(stats.beta.ppf(share / 2, alpha, alpha)))


def entropy_shares(alpha: float, n_bins: int) -> np.ndarray:
    """Share of the labels in each of equal bins of entropy from 0 to log 2, exactly.

    Args:
        alpha (`float`): α, above 0.
        n_bins (`int`): Number of bins.

    Returns:
        `np.ndarray` of shape `(n_bins,)`: Sums to 1.
    """
    edges = np.linspace(0, math.log(2), n_bins + 1)[1:-1]
    lams = [optimize.brentq(lambda lam, edge=edge: label_entropy(lam) - edge, 0.0, 0.5, xtol=1e-15) for edge in edges]
    return np.diff(2 * special.betainc(alpha, alpha, [0.0, *lams, 0.5]))


def sampled_label_entropy(alpha: float, rows: int, seed: int) -> float:
    """Mean entropy of labels drawn as training draws them, as a check on the exact one.

    Args:
        alpha (`float`): α, above 0.
        rows (`int`): How many λ are drawn.
        seed (`int`): Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    lam = sample_plan(rows, alpha, per_sample=True, generator=generator).lam.double().numpy()
    return float(label_entropy(lam).mean())
