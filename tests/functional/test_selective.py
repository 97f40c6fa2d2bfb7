# SPDX-License-Identifier: Apache-2.0
"""Figures of the order of confidences, against loops, every order of tied rows, and scikit-learn."""

from functools import reduce
from itertools import permutations
from operator import add

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from logitmix_nlp.functional import (
    RowConfidences,
    adaptive_calibration_error,
    area_under_risk_coverage,
    confidence_auroc,
    expected_calibration_error,
    row_confidences,
)

FIGURES = (adaptive_calibration_error, area_under_risk_coverage, confidence_auroc)


def rows(confidence, correct) -> RowConfidences:
    return RowConfidences(torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct, dtype=torch.bool))


def aurc_of(correct) -> float:
    """Mean over k of the share of wrong rows among the first k."""
    return float(np.mean([np.mean([not right for right in correct[:k]]) for k in range(1, len(correct) + 1)]))


def adaptive_of(confidence, correct, n_bins: int) -> float:
    n, total = len(confidence), 0.0
    for m in range(n_bins):
        part = slice(m * n // n_bins, (m + 1) * n // n_bins)
        total += abs(sum(confidence[part]) - sum(correct[part])) / n
    return total


def test_random_rows_against_plain_loops():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((997, 4)) * 2, rng.integers(4, size=997)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    order = np.argsort(-probs.max(1))
    confidence, correct = probs.max(1)[order], (probs.argmax(1) == labels)[order]
    assert area_under_risk_coverage(logits, labels).item() == pytest.approx(aurc_of(correct), abs=1e-12)
    for n_bins in (1, 10, 15, 996, 2000):
        expected = adaptive_of(confidence.tolist(), correct.tolist(), n_bins)
        assert adaptive_calibration_error(logits, labels, n_bins).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_against_scikit_learn(ties):
    rng = np.random.default_rng(1)
    confidence, correct = rng.random(5000) / 2 + 0.5, rng.random(5000) < 0.7
    if ties:
        confidence = np.round(confidence, 2)
    value = rows(confidence, correct).auroc().item()
    assert value == pytest.approx(roc_auc_score(correct, confidence), abs=1e-12)


def test_ties_count_as_every_order_of_them_on_average():
    confidence, correct = [0.9, 0.8, 0.8, 0.8, 0.6, 0.6], [True, True, False, False, False, True]
    orders = [
        [correct[0], *(correct[i] for i in middle), *(correct[i] for i in last)]
        for middle in permutations((1, 2, 3))
        for last in permutations((4, 5))
    ]
    tied = rows(confidence, correct)
    assert tied.area_under_risk_coverage().item() == pytest.approx(np.mean([aurc_of(order) for order in orders]))
    # Two bins of three rows cut through the tie at .8: a third of it is right, on either side of the cut.
    expected = (abs(0.9 + 0.8 + 0.8 - (1 + 2 / 3)) + abs(0.8 + 0.6 + 0.6 - (1 / 3 + 1))) / 6
    assert tied.adaptive_calibration_error(2).item() == pytest.approx(expected, abs=1e-12)


def test_risk_coverage_written_out():
    curve = rows([0.6, 0.9, 0.8, 0.8], [False, True, False, True]).risk_coverage()
    assert curve.threshold.tolist() == [0.9, 0.8, 0.6]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0.0, 1 / 3, 1 / 2])


def test_risk_coverage_against_a_loop_over_thresholds():
    rng = np.random.default_rng(2)
    confidence, correct = np.round(rng.random(500), 2), rng.random(500) < 0.6
    curve = rows(confidence, correct).risk_coverage()
    for threshold, coverage, risk in zip(*(column.tolist() for column in curve), strict=True):
        kept = confidence >= threshold
        assert coverage == pytest.approx(kept.mean())
        assert risk == pytest.approx((~correct[kept]).mean())
    assert curve.threshold.tolist() == sorted(set(confidence.tolist()), reverse=True)


def test_the_best_order_has_the_least_risk_at_every_coverage():
    confidence = torch.linspace(0.99, 0.5, 100)
    right_first, right_last = torch.arange(100) < 80, torch.arange(100) >= 20
    best, worst = RowConfidences(confidence, right_first), RowConfidences(confidence, right_last)
    assert best.auroc() == 1.0
    assert worst.auroc() == 0.0
    assert best.area_under_risk_coverage() < 0.03 < 0.2 < worst.area_under_risk_coverage()
    assert best.risk_coverage().risk[-1].item() == pytest.approx(0.2)


def test_one_bin_is_one_bin_whatever_its_kind():
    logits, labels = torch.randn(300, 3), torch.randint(3, (300,))
    assert adaptive_calibration_error(logits, labels, 1).item() == pytest.approx(
        expected_calibration_error(logits, labels, 1).item(), abs=1e-9
    )


def test_all_right_or_all_wrong():
    for correct, risk in ((True, 0.0), (False, 1.0)):
        alike = rows([0.5, 0.6, 0.6], [correct] * 3)
        assert alike.area_under_risk_coverage().item() == pytest.approx(risk)
        with pytest.raises(ValueError, match=f"All 3 predictions are {'right' if correct else 'wrong'}"):
            alike.auroc()


@pytest.mark.parametrize("decimals", [None, 1])
def test_shards_in_any_order_give_the_whole_bitwise(decimals):
    logits, labels = torch.randn(3000, 3), torch.randint(3, (3000,))
    logits = logits if decimals is None else logits.round(decimals=decimals)
    whole, order = row_confidences(logits, labels), torch.randperm(3000)
    joined = reduce(add, (row_confidences(logits[part], labels[part]) for part in order.split([1, 1700, 1299])))
    for figure in (
        RowConfidences.auroc,
        RowConfidences.area_under_risk_coverage,
        RowConfidences.adaptive_calibration_error,
    ):
        assert figure(joined).item() == figure(whole).item()
    for mine, theirs in zip(joined.risk_coverage(), whole.risk_coverage(), strict=True):
        assert torch.equal(mine, theirs)


def test_impossible_input_is_refused():
    for figure in FIGURES:
        with pytest.raises(ValueError, match="No rows"):
            figure(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
        with pytest.raises(ValueError, match="NaN"):
            figure(torch.tensor([[float("nan"), 0.0]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="at least 1"):
        adaptive_calibration_error(torch.randn(3, 2), torch.tensor([0, 1, 0]), n_bins=0)
