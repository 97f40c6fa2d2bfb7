# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from logitmix_nlp.functional import brier_score, metric_values, negative_log_likelihood, score_sums


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


@pytest.mark.parametrize("from_logits", [True, False])
def test_soft_labels_take_the_place_of_one_and_zeros(from_logits):
    generator = torch.Generator().manual_seed(2)
    logits, soft = (torch.randn(50, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    soft, p = (2 * soft).softmax(-1), logits.softmax(-1)
    scores = logits if from_logits else p
    cells = zip(soft.flatten().tolist(), p.flatten().tolist(), strict=True)
    nll = -sum(y * math.log(q) for y, q in cells)
    found = score_sums(scores, soft, from_logits=from_logits)
    assert found.nll.item() == pytest.approx(nll, rel=1e-9)
    assert found.brier.item() == pytest.approx((p - soft).square().sum().item(), rel=1e-9)
    table = metric_values(logits, soft)
    assert table["nll"] == pytest.approx(nll / 50, rel=1e-9)
    hard = metric_values(logits, soft.argmax(-1))
    assert {name: table[name] for name in table if name not in ("nll", "brier")} == pytest.approx(
        {name: hard[name] for name in hard if name not in ("nll", "brier")}, nan_ok=True
    )
    one_hot = torch.nn.functional.one_hot(soft.argmax(-1), 4).double()
    assert metric_values(logits, one_hot) == pytest.approx(hard, nan_ok=True)


def test_soft_labels_that_are_no_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"sum to 1 in each row, got \[1.0, 1.0\] in row 1"):
        score_sums(torch.zeros(2, 2), torch.tensor([[0.5, 0.5], [1.0, 1.0]]))
    with pytest.raises(ValueError, match=r"must have shape \(2, 3\), as scores, got \(2, 2\)"):
        score_sums(torch.zeros(2, 3), torch.full((2, 2), 0.5))
