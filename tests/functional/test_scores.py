# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from logitmix_nlp.functional import brier_score, negative_log_likelihood, score_sums


def data(n=2000, classes=6):
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, classes)) * 4, rng.integers(classes, size=n)


def test_both_scores_against_loops_and_scikit_learn():
    logits, labels = data()
    probs = np.exp(log_softmax(logits, axis=1))
    nll = sum(-np.log(row[label]) for row, label in zip(probs, labels, strict=True)) / len(labels)
    brier = sum(
        sum((p - (c == label)) ** 2 for c, p in enumerate(row)) for row, label in zip(probs, labels, strict=True)
    ) / len(labels)
    for scores in (logits, probs):
        assert negative_log_likelihood(scores, labels).item() == pytest.approx(nll, abs=1e-12)
        assert brier_score(scores, labels).item() == pytest.approx(brier, abs=1e-12)
    assert nll == pytest.approx(log_loss(labels, probs, labels=range(6)), abs=1e-9)


def test_logits_far_apart_lose_nothing():
    logits, labels = torch.tensor([[0.0, 1000.0], [-60.0, 0.0]], dtype=torch.float64), torch.tensor([0, 1])
    expected = (1000 + np.log1p(np.exp(-60.0))) / 2
    assert negative_log_likelihood(logits, labels).item() == pytest.approx(expected, rel=1e-15)
    assert brier_score(logits, labels).item() == pytest.approx((1 + 1) / 2)


def test_sums_of_shards_are_those_of_the_whole():
    logits, labels = data(1001)
    one, other = score_sums(logits[:400], labels[:400]), score_sums(logits[400:], labels[400:])
    total = one + other
    assert total.count == 1001
    assert total.negative_log_likelihood().item() == pytest.approx(
        negative_log_likelihood(logits, labels).item(), rel=1e-14
    )
    assert total.brier_score().item() == pytest.approx(brier_score(logits, labels).item(), rel=1e-14)


def test_impossible_input_is_refused():
    with pytest.raises(ValueError, match="No rows"):
        score_sums(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
