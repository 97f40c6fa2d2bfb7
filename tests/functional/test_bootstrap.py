# SPDX-License-Identifier: Apache-2.0
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from logitmix_nlp.functional import (
    bootstrap_interval,
    brier_score,
    classwise_calibration_error,
    confidence_auroc,
    expected_calibration_error,
)


def mean(values: torch.Tensor) -> torch.Tensor:
    return values.mean()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ends_are_those_of_all_resamples():
    """Four rows have 256 resamples: the ends of many random ones are the quantiles of all."""
    values = torch.tensor([0.0, 1.0, 4.0, 10.0], dtype=torch.float64)
    means = [np.mean(draw) for draw in product(values.tolist(), repeat=4)]
    interval = bootstrap_interval(mean, values, level=0.8, n_resamples=4000, generator=seeded())
    low, high = np.quantile(means, [0.1, 0.9])
    assert interval.value == 3.75
    assert interval.low == pytest.approx(low, abs=0.26)  # one step between neighbouring means
    assert interval.high == pytest.approx(high, abs=0.26)


@pytest.mark.parametrize("method", ["percentile", "basic"])
def test_against_scipy(method):
    values = np.random.default_rng(0).exponential(size=200)
    theirs = bootstrap(
        (values,), np.mean, method=method, n_resamples=5000, rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap_interval(mean, torch.from_numpy(values), n_resamples=5000, method=method, generator=seeded())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_basic_mirrors_percentile_at_the_value():
    logits, labels = torch.randn(100, 3, generator=seeded(1)), torch.arange(100) % 3
    one, other = (
        bootstrap_interval(brier_score, logits, labels, n_resamples=100, method=method, generator=seeded())
        for method in ("percentile", "basic")
    )
    assert other.low == pytest.approx(2 * one.value - one.high)
    assert other.high == pytest.approx(2 * one.value - one.low)


def test_rows_stay_together_and_options_are_passed():
    logits, labels = torch.randn(300, 3, generator=seeded(2)), torch.randint(3, (300,), generator=seeded(3))
    for figure in (expected_calibration_error, classwise_calibration_error, confidence_auroc):
        options = {} if figure is confidence_auroc else {"n_bins": 5}
        interval = bootstrap_interval(
            figure, logits, labels, n_resamples=100, generator=seeded(), from_logits=True, **options
        )
        assert interval.value == figure(logits, labels, from_logits=True, **options).item()
        assert interval.low < interval.high
    same = bootstrap_interval(lambda one, other: (one - other).abs().sum(), logits, logits.clone(), n_resamples=50)
    assert same == (0.0, 0.0, 0.0)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator = seeded(4)
    hits = 0
    for _ in range(200):
        interval = bootstrap_interval(
            mean, torch.randn(60, generator=generator), level=0.9, n_resamples=100, generator=generator
        )
        hits += interval.low <= 0.0 <= interval.high
    assert 0.82 < hits / 200 < 0.96


def test_a_generator_repeats_the_interval():
    values = torch.randn(50, generator=seeded())
    first, again, other = (bootstrap_interval(mean, values, generator=seeded(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_impossible_input_is_refused():
    values = torch.ones(4)
    for options, message in (
        ({"level": 95}, r"\(0, 1\)"),
        ({"n_resamples": 10}, "at least 40"),
        ({"method": "bca"}, '"percentile" or "basic"'),
    ):
        with pytest.raises(ValueError, match=message):
            bootstrap_interval(mean, values, **options)
    with pytest.raises(ValueError, match=r"lengths \[4, 3\]"):
        bootstrap_interval(mean, values, values[:3])
    with pytest.raises(ValueError, match="one length"):
        bootstrap_interval(mean)
    with pytest.raises(ValueError, match="All 4 predictions are right"):
        bootstrap_interval(confidence_auroc, torch.eye(2).repeat(2, 1) * 3, torch.tensor([0, 1, 0, 1]))
