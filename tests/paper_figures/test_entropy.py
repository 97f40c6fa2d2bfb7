# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy import integrate, stats

from logitmix_nlp.paper_figures.entropy import (
    entropy_quantile,
    entropy_shares,
    label_entropy,
    mean_label_entropy,
    sampled_label_entropy,
)

ALPHAS = (0.1, 0.4, 1.0, 3.0, 8.0)


def plain_entropy(lam: float) -> float:
    return -sum(p * math.log(p) for p in (lam, 1 - lam) if p > 0)


def test_entropy_of_a_label():
    assert label_entropy([0.0, 1.0, 0.5]) == pytest.approx([0, 0, math.log(2)])
    assert label_entropy(0.2) == pytest.approx(plain_entropy(0.2))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_mean_entropy_against_quadrature(alpha):
    """Half the integral of h(lam) * density, with lam = t^(1/alpha) / 2 to take the pole at 0 away."""

    def integrand(t):
        lam = t ** (1 / alpha) / 2
        if lam == 0:
            return 0.0
        slope = lam / (alpha * t)
        return plain_entropy(lam) * stats.beta.pdf(lam, alpha, alpha) * slope

    half, _ = integrate.quad(integrand, 0, 1, limit=200, epsabs=1e-12)
    assert mean_label_entropy(alpha) == pytest.approx(2 * half, abs=1e-9)


def test_uniform_lambda_has_mean_entropy_one_half():
    assert mean_label_entropy(1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_shares_and_quantiles_against_drawn_lambdas(alpha):
    drawn = label_entropy(np.random.default_rng(0).beta(alpha, alpha, 200_000))
    shares = entropy_shares(alpha, 8)
    assert shares.sum() == pytest.approx(1)
    counted, _ = np.histogram(drawn, np.linspace(0, math.log(2) * (1 + 1e-12), 9))
    assert shares == pytest.approx(counted / len(drawn), abs=0.005)
    for share in (0.1, 0.5, 0.9):
        assert (drawn <= entropy_quantile(alpha, share)).mean() == pytest.approx(share, abs=0.005)


def test_drawn_labels_have_the_exact_mean():
    for alpha in ALPHAS:
        assert sampled_label_entropy(alpha, 100_000, seed=3) == pytest.approx(mean_label_entropy(alpha), abs=0.003)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_bad_alpha(alpha):
    with pytest.raises(ValueError, match="alpha must be above 0"):
        mean_label_entropy(alpha)
