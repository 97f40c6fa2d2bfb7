# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from scipy import stats

import glue_runs.report.statistics
from glue_runs.report.statistics import (
    bootstrap_scores,
    difference_interval,
    holm,
    paired_difference,
    resampled,
    resampled_differences,
    two_sided_p,
)
from glue_runs.tasks.scores import SCORES
from logitmix_nlp.functional import expected_calibration_error, overconfidence_error
from logitmix_nlp.functional.bootstrap import value_of
from logitmix_nlp.reports.tables import Estimate, estimate

NAMES = ("accuracy", "matthews_correlation", "spearmanr", "ece", "oe")
CALIBRATION = {"ece": expected_calibration_error, "oe": overconfidence_error}


def oracle(name, logits, labels, n_bins):
    """The figure as the rest of the library computes it."""
    if name in CALIBRATION:
        return CALIBRATION[name](torch.from_numpy(logits), torch.from_numpy(labels), n_bins, from_logits=True).item()
    predictions = logits.reshape(-1) if name == "spearmanr" else logits.argmax(axis=1)
    return SCORES[name](predictions, labels)


def sample(name, rows=50, seed=0):
    rng = np.random.default_rng(seed)
    if name == "spearmanr":
        labels = np.round(rng.uniform(0, 5, rows))  # many ties
        return np.round(labels + rng.normal(size=rows), 1)[:, None].astype(np.float32), labels
    labels = rng.integers(3, size=rows)
    return (2 * (rng.normal(size=(rows, 3)) + np.eye(3)[labels])).astype(np.float32), labels


def test_mean_and_deviation():
    """(1 + 2 + 4) / 3 = 7/3; squares about it 16/9 + 1/9 + 25/9 = 42/9, halved 7/3."""
    assert estimate([1, 2, 4]) == pytest.approx((7 / 3, math.sqrt(7 / 3), 3, None, None))
    assert estimate([5.0]) == Estimate(5.0, None, 1)


def test_differences_are_taken_seed_by_seed():
    """Shared seeds 1 and 2: 0.9 - 0.5 and 0.6 - 0.4, mean 0.3, deviation sqrt(2 * 0.1**2)."""
    found = paired_difference({1: 0.9, 2: 0.6, 3: 0.1}, {2: 0.4, 1: 0.5, 4: 0.0})
    assert found == pytest.approx((0.3, math.sqrt(0.02), 2, None, None))
    assert paired_difference({1: 0.9}, {2: 0.9}) is None


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_resamples_are_those_of_the_repeated_rows(name):
    logits, labels = sample(name)
    draws = np.random.default_rng(1).integers(50, size=(20, 50))
    counts = np.stack([np.bincount(draw, minlength=50) for draw in draws], axis=1).astype(float)
    expected = [oracle(name, logits[draw], labels[draw], 7) for draw in draws]
    assert resampled(name, logits, labels, 7)(torch.from_numpy(counts)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["matthews_correlation", "spearmanr"])
def test_correlations_of_constant_predictions_are_zero(name):
    logits = np.zeros((4, 1 if name == "spearmanr" else 2), dtype=np.float32)
    assert value_of(resampled(name, logits, np.array([0, 1, 1, 0])), 4) == 0.0


def scores_of(names, n_resamples=200, seed=0, rows=50):
    scorers = [resampled(name, *sample(name, rows, place), 15) for place, name in enumerate(names)]
    return bootstrap_scores(scorers, rows, n_resamples, seed)


def test_every_resample_has_as_many_rows():
    labels = np.arange(40) % 2
    scores = bootstrap_scores([resampled("accuracy", np.eye(2)[labels], labels, 15)], 40, 30)
    assert scores.tolist() == [[1.0]] * 30


def test_equal_seeds_give_equal_resamples_whatever_the_memory(monkeypatch):
    first = scores_of(["accuracy", "ece"])
    monkeypatch.setattr(glue_runs.report.statistics, "CHUNK_ENTRIES", 50 * 7)
    assert np.array_equal(scores_of(["accuracy", "ece"]), first)
    assert not np.array_equal(scores_of(["accuracy", "ece"], seed=1), first)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_does_not_differ_from_itself(name):
    logits, labels = sample(name)
    scorers = [resampled(name, logits, labels, 15)] * 2
    scores = bootstrap_scores(scorers, 50, 100)
    assert difference_interval(scores[:, :1], scores[:, 1:]) == (0.0, 0.0)


def test_the_interval_turns_with_its_sign():
    scores = scores_of(["accuracy"] * 4)
    low, high = difference_interval(scores[:, :2], scores[:, 2:])
    assert difference_interval(scores[:, 2:], scores[:, :2]) == pytest.approx((-high, -low))
    assert low < high


def test_seeds_are_resampled_too():
    """No spread over rows; seeds differ by 0 and 1, so that means are 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    first = np.tile([0.0, 1.0], (400, 1))
    assert difference_interval(first, np.zeros_like(first)) == (0.0, 1.0)
    assert difference_interval(first, np.zeros_like(first), level=0.4) == (0.5, 0.5)


def test_the_interval_of_one_seed_is_scipys_and_the_normal_one():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    right = rng.random((2, 400)) < np.array([[0.8], [0.7]])
    logits = [np.eye(2)[np.where(row, labels, 1 - labels)] for row in right]
    scores = bootstrap_scores([resampled("accuracy", rows, labels, 15) for rows in logits], 400, 4000)
    found = difference_interval(scores[:, :1], scores[:, 1:])
    difference = right[0].astype(float) - right[1]
    scipys = stats.bootstrap((difference,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    margin = 1.96 * difference.std() / math.sqrt(400)
    assert found == pytest.approx((scipys.low, scipys.high), abs=0.006)
    assert found == pytest.approx((difference.mean() - margin, difference.mean() + margin), abs=0.006)


def test_intervals_hold_the_true_difference_about_as_often_as_they_say():
    """300 samples of 200 rows with true accuracies 0.8 and 0.7: coverage is 95% within 3 standard errors (3.8%)."""
    rng, hits = np.random.default_rng(0), 0
    labels = np.zeros(200, dtype=int)
    for trial in range(300):
        right = rng.random((2, 200)) < np.array([[0.8], [0.7]])
        scorers = [resampled("accuracy", np.eye(2)[(~row).astype(int)], labels, 15) for row in right]
        scores = bootstrap_scores(scorers, 200, 200, seed=trial)
        low, high = difference_interval(scores[:, :1], scores[:, 1:], seed=trial)
        hits += low <= 0.1 <= high
    assert 0.91 <= hits / 300 <= 0.99


def test_each_set_of_rows_keeps_its_size():
    counts = []
    scores = bootstrap_scores([lambda drawn: counts.append(drawn) or drawn[:3].sum(0)], [3, 5], 20)
    assert (scores == 3).all()
    assert all((drawn[3:].sum(0) == 5).all() for drawn in counts)
    one, other = (bootstrap_scores([lambda drawn: drawn[0]], rows, 50, seed=7) for rows in (6, [6]))
    assert (one == other).all()


def test_corrected_p_values_by_hand():
    """Sorted .01, .02, .03, .04: times 4, 3, 2, 1 are .04, .06, .06, .04; none below the one before it."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_two_sided_p_by_hand():
    """One of 9 resamples at or below 0: 2 (1 + 1) / (9 + 1); half below: no more than 1."""
    assert two_sided_p(np.array([-1.0, *[1.0] * 8])) == pytest.approx(0.4)
    assert two_sided_p(np.array([1.0] * 9)) == pytest.approx(0.2)
    assert two_sided_p(np.array([-1.0, 1.0])) == 1.0


def test_seeds_are_drawn_anew_in_each_resample():
    first, second = np.tile([1.0, 4.0], (4000, 1)), np.zeros((4000, 2))
    found = resampled_differences(first, second)
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [1.0, 2.5, 4.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
