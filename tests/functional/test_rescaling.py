# SPDX-License-Identifier: Apache-2.0
"""Prediction with models trained with mixup: the derivation, term by term, by quadrature and by brute force."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import betainc
from scipy.stats import beta

from logitmix_nlp.functional import rescale_inputs, rescale_logits, sample_plan, truncated_beta_mean


def half_beta(alpha: float, nodes: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Beta(alpha, alpha) restricted to [1/2, 1], for smooth functions and alpha >= 1."""
    place, weight = np.polynomial.legendre.leggauss(nodes)
    place = 0.75 + place / 4
    density = beta(alpha, alpha).pdf(place) * weight
    return place, density / density.sum()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.4, 1.0, 3.0, 8.0, 200.0])
def test_mean_share_of_the_larger_part_by_quadrature_and_incomplete_beta(alpha):
    # by symmetry, the part of the integral below 1/2 is that of 1 - t above it; this end has no pole of the density
    lower, _ = quad(lambda t: t * beta(alpha, alpha).pdf(t), 0, 0.5, epsabs=1e-12)
    below, _ = quad(lambda u: beta(alpha, alpha).cdf(u), 0, 0.5)  # E[(1/2 - t)+]
    assert truncated_beta_mean(alpha) == pytest.approx(1 - 2 * lower, abs=1e-7)
    assert truncated_beta_mean(alpha) == pytest.approx(0.5 + 2 * below, abs=1e-9)
    assert truncated_beta_mean(alpha) == pytest.approx(1 - betainc(alpha + 1, alpha, 0.5), abs=1e-13)


def test_mean_share_written_out():
    assert truncated_beta_mean(1) == pytest.approx(3 / 4, abs=1e-15)
    assert truncated_beta_mean(2) == pytest.approx(1 / 2 + math.gamma(2.5) / (4 * math.sqrt(math.pi)), abs=1e-15)
    assert truncated_beta_mean(1e-12) == pytest.approx(1.0)
    around = [truncated_beta_mean(alpha) for alpha in (99_999.9, 100_000.0, 1e300)]
    assert around[0] == pytest.approx(around[1], abs=1e-9)
    assert around[2] == 0.5


def test_mean_share_is_that_of_the_plans_drawn_in_training():
    plan = sample_plan(200_000, 0.4, per_sample=True, generator=torch.Generator().manual_seed(0))
    larger = torch.maximum(plan.lam, 1 - plan.lam).double()
    assert larger.mean().item() == pytest.approx(truncated_beta_mean(0.4), abs=4 * larger.std().item() / 200_000**0.5)


def test_mixup_is_training_on_shrunk_rows_plus_noise_of_mean_zero():
    """Theorem 1 by brute force, for a loss that is not even convex: over λ in [0, 1] as over the larger share."""
    rng, alpha = np.random.default_rng(0), 2.0
    x, y, w = rng.standard_normal((5, 3)), rng.standard_normal(5), rng.standard_normal(3)

    def loss(rows, targets):
        return ((np.tanh(rows @ w) - targets) ** 2 * np.cos(targets)).mean()

    share, weight = half_beta(alpha)
    theta = truncated_beta_mean(alpha)
    whole = restricted = 0.0
    for i in range(5):
        shrunk_row, shrunk_label = x.mean(0) + theta * (x[i] - x.mean(0)), y.mean() + theta * (y[i] - y.mean())
        noise = noise_label = 0.0
        for j in range(5):
            for s, p in zip(share, weight, strict=True):
                mixed, label = s * x[i] + (1 - s) * x[j], s * y[i] + (1 - s) * y[j]
                noise, noise_label = noise + p * (mixed - shrunk_row), noise_label + p * (label - shrunk_label)
                restricted += p * loss(mixed, label)
                other, other_label = (1 - s) * x[i] + s * x[j], (1 - s) * y[i] + s * y[j]
                whole += p * (loss(mixed, label) + loss(other, other_label)) / 2
        assert np.abs(noise).max() < 1e-12
        assert abs(noise_label) < 1e-12
        row = rescale_inputs(torch.from_numpy(x[i : i + 1]), torch.from_numpy(x.mean(0)), theta)
        np.testing.assert_allclose(row[0], shrunk_row, rtol=1e-14)
    assert restricted == pytest.approx(whole, rel=1e-12)


def test_a_linear_model_of_shrunk_rows_predicts_after_rescaling_what_one_of_the_rows_does():
    """With squared loss, least squares on `(m(x), ybar + t (y - ybar))` and Eq. 15 give least squares on `(x, y)`."""
    rng, theta = np.random.default_rng(1), truncated_beta_mean(0.4)
    x, new = rng.standard_normal((40, 4)) + 3, rng.standard_normal((7, 4)) + 3
    y = rng.standard_normal((40, 2)) @ [[1.0, 0.2], [0.0, 2.0]] + 5

    def fit(rows, targets):
        return np.linalg.lstsq(np.column_stack([rows, np.ones(len(rows))]), targets, rcond=None)[0]

    shrunk = fit(x.mean(0) + theta * (x - x.mean(0)), y.mean(0) + theta * (y - y.mean(0)))
    inputs = rescale_inputs(torch.from_numpy(new), torch.from_numpy(x.mean(0)), theta)
    outputs = torch.from_numpy(np.column_stack([inputs, np.ones(7)]) @ shrunk)
    expected = np.column_stack([new, np.ones(7)]) @ fit(x, y)
    np.testing.assert_allclose(rescale_logits(outputs, theta, torch.from_numpy(y.mean(0))), expected, rtol=1e-10)
    alone = np.column_stack([new, np.ones(7)]) @ shrunk  # neither step: the slope is right, the constant is not
    np.testing.assert_allclose(alone - expected, np.broadcast_to((alone - expected)[:1], (7, 2)), atol=1e-10)


def test_equally_frequent_classes_leave_temperature_scaling():
    logits, theta = torch.randn(6, 4, dtype=torch.float64), truncated_beta_mean(1.0)
    full = rescale_logits(logits, theta, torch.full((4,), 0.25))
    torch.testing.assert_close(full.softmax(-1), (logits / 0.75).softmax(-1), rtol=1e-12, atol=0)
    torch.testing.assert_close(rescale_logits(logits, theta), logits / 0.75, rtol=1e-12, atol=0)
    shares = torch.tensor([0.7, 0.1, 0.1, 0.1], dtype=torch.float64)
    by_hand = logits * 4 / 3 + (1 - 4 / 3) * shares
    torch.testing.assert_close(rescale_logits(logits, theta, shares), by_hand, rtol=1e-12, atol=1e-12)


def test_theta_of_one_changes_nothing():
    x, logits = torch.randn(3, 2, 4, 4), torch.randn(3, 5)
    assert rescale_inputs(x, torch.randn(2, 4, 4), 1.0).equal(x)
    assert rescale_logits(logits, 1.0, torch.randn(5)).equal(logits)


def test_a_mean_per_channel_is_broadcast_and_nothing_is_written_to():
    x, mean = torch.randn(3, 2, 4, 4), torch.randn(2, 1, 1)
    before = x.clone()
    by_hand = torch.stack([mean + 0.6 * (row - mean) for row in x])
    torch.testing.assert_close(rescale_inputs(x, mean, 0.6), by_hand)
    assert x.equal(before)


def test_impossible_input_is_refused():
    for alpha in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
            truncated_beta_mean(alpha)
    for theta in (0, -0.5, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"theta must lie in \(0, 1\]"):
            rescale_logits(torch.ones(2, 3), theta)
        with pytest.raises(ValueError, match=r"theta must lie in \(0, 1\]"):
            rescale_inputs(torch.ones(2, 3), torch.ones(3), theta)
    for mean in (torch.ones(2), torch.ones(2, 3), torch.ones(1, 2, 3)):
        with pytest.raises(ValueError, match=r"does not fit rows of shape \(3,\)"):
            rescale_inputs(torch.ones(2, 3), mean, 0.7)
    with pytest.raises(ValueError, match=r"label_mean must have shape \(3,\)"):
        rescale_logits(torch.ones(2, 3), 0.7, torch.ones(2))
