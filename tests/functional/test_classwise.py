# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from logitmix_nlp.functional import class_confidence_bins, classwise_calibration_error, confidence_bins


def reference(probs: np.ndarray, labels: np.ndarray, n_bins: int) -> float:
    """Class after class, bin after bin, in float64."""
    total = 0.0
    for label in range(probs.shape[1]):
        for m in range(n_bins):
            low = -1.0 if m == 0 else m / n_bins
            inside = (probs[:, label] > low) & (probs[:, label] <= (m + 1) / n_bins)
            if inside.any():
                total += inside.mean() * abs((labels[inside] == label).mean() - probs[inside, label].mean())
    return total / probs.shape[1]


@pytest.mark.parametrize(("classes", "n_bins"), [(2, 15), (5, 10), (40, 7)])
def test_against_loops_over_classes_and_bins(classes, n_bins):
    rng = np.random.default_rng(classes)
    logits = rng.standard_normal((3000, classes)) * 2
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.where(rng.random(3000) < 0.5, logits.argmax(1), rng.integers(classes, size=3000))
    expected = reference(probs, labels, n_bins)
    assert classwise_calibration_error(logits, labels, n_bins).item() == pytest.approx(expected, abs=1e-8)
    assert classwise_calibration_error(probs, labels, n_bins).item() == pytest.approx(expected, abs=1e-8)


def test_the_definition_written_out():
    probs = torch.tensor([[0.7, 0.3, 0.0], [0.8, 0.0, 0.2]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    # Two bins (0, .5] and (.5, 1]. Class 0: both above, |1 - 1.5|. Class 1: both below, |0 - .3|. Class 2: |1 - .2|.
    assert classwise_calibration_error(probs, labels, 2).item() == pytest.approx((0.5 + 0.3 + 0.8) / (2 * 3), abs=1e-9)
    bins = class_confidence_bins(probs, labels, 2)
    assert bins.count.tolist() == [[0, 2], [2, 0], [2, 0]]
    assert bins.correct.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_two_classes_mirror_each_other():
    """With an odd number of bins and no edge hit, both classes have the same gaps."""
    logits, labels = torch.randn(2000, 2, dtype=torch.float64), torch.randint(2, (2000,))
    bins = class_confidence_bins(logits, labels, 15)
    gaps = (bins.correct - bins.confidence).abs()
    torch.testing.assert_close(gaps[0], gaps[1].flip(0), rtol=0, atol=1e-5)


def test_confident_class_probabilities_are_those_of_the_prediction():
    """Above 1/2 only the predicted class has probability, so those cells add up to its bins."""
    logits, labels = torch.randn(2000, 4, dtype=torch.float64) * 3, torch.randint(4, (2000,))
    by_class, predicted = class_confidence_bins(logits, labels, 10), confidence_bins(logits, labels, 10)
    for mine, theirs in zip(by_class, predicted, strict=True):
        torch.testing.assert_close(mine.sum(0)[5:], theirs[5:], rtol=0, atol=1e-6)


def test_shards_in_any_order_give_the_whole_bitwise():
    logits, labels = torch.randn(5000, 7), torch.randint(7, (5000,))
    whole, order = class_confidence_bins(logits, labels), torch.randperm(5000)
    one, two, three = (class_confidence_bins(logits[part], labels[part]) for part in order.split([11, 3000, 1989]))
    for total, parts in zip(whole, three + one + two, strict=True):
        assert torch.equal(total, parts)


def test_impossible_bin_count_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        classwise_calibration_error(torch.randn(3, 2), torch.tensor([0, 1, 0]), n_bins=0)
    with pytest.raises(ValueError, match="No rows"):
        classwise_calibration_error(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
