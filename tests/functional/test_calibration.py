# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss

from logitmix_nlp.functional import (
    brier_score,
    confidence_bins,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)


def reference(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> tuple[float, float, float]:
    """ECE, OE and NLL in float64, one bin after the other."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    probs = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    confidence, right = probs.max(1), probs.argmax(1) == labels
    ece = oe = 0.0
    for m in range(n_bins):
        inside = (confidence > m / n_bins) & (confidence <= (m + 1) / n_bins)
        if inside.any():
            acc, conf = right[inside].mean(), confidence[inside].mean()
            ece += inside.mean() * abs(acc - conf)
            oe += inside.mean() * conf * max(conf - acc, 0)
    return ece, oe, -np.log(probs[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("n_bins", [1, 10, 15, 100])
@pytest.mark.parametrize(("classes", "scale"), [(2, 1.0), (10, 3.0), (100, 12.0)])
def test_random_rows_against_a_float64_reference(classes, scale, n_bins):
    rng = np.random.default_rng(classes)
    logits = (rng.standard_normal((100_000, classes)) * scale).astype(np.float32)
    labels = np.where(rng.random(len(logits)) < 0.6, logits.argmax(1), rng.integers(classes, size=len(logits)))
    ece, oe, nll = reference(logits, labels, n_bins)
    assert expected_calibration_error(logits, labels, n_bins).item() == pytest.approx(ece, abs=1e-7)
    assert overconfidence_error(logits, labels, n_bins).item() == pytest.approx(oe, abs=1e-7)
    assert negative_log_likelihood(logits, labels).item() == pytest.approx(nll, abs=1e-7)


def binary(*confidences: float, dtype=torch.float32) -> torch.Tensor:
    """Probabilities that predict class 1 with these confidences."""
    confidence = torch.tensor(confidences, dtype=dtype)
    return torch.stack([1 - confidence, confidence], dim=1)


def test_the_definition_written_out():
    probs = binary(0.62, 0.64, 0.93, 0.97, 0.99)
    labels = torch.tensor([1, 0, 1, 0, 0])
    gaps = abs(1 / 2 - 0.63), abs(1 / 3 - (0.93 + 0.97 + 0.99) / 3)
    assert expected_calibration_error(probs, labels, 10).item() == pytest.approx(
        2 / 5 * gaps[0] + 3 / 5 * gaps[1], abs=1e-7
    )
    excess = 2 / 5 * 0.63 * (0.63 - 0.5) + 3 / 5 * (2.89 / 3) * (2.89 / 3 - 1 / 3)
    assert overconfidence_error(probs, labels, 10).item() == pytest.approx(excess, abs=1e-7)


def test_underconfidence_counts_for_ece_only():
    probs, labels = binary(0.6, 0.6), torch.tensor([1, 1])
    assert expected_calibration_error(probs, labels).item() == pytest.approx(0.4, abs=1e-7)
    assert overconfidence_error(probs, labels).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("confidences", "labels", "expected"),
    [
        ((0.5, 0.55), (0, 1), 0.475),  # .5 closes (.4, .5]: |0 - .5| / 2 + |1 - .55| / 2
        ((1.0, 1.0, 0.95, 0.95), (1, 0, 1, 0), 0.475),  # 1.0 shares (.9, 1]: |1/2 - .975|
        ((0.6, 0.65), (0, 1), 0.475),  # .6 in float32 is above .6 in float64, but closes (.5, .6]
        ((0.7, 0.75), (0, 1), 0.475),
    ],
)
def test_bins_are_open_below_and_closed_above(confidences, labels, expected, dtype):
    value = expected_calibration_error(binary(*confidences, dtype=dtype), torch.tensor(labels), 10)
    assert value.item() == pytest.approx(expected, abs=1e-6)


def test_every_edge_of_every_dtype_closes_the_bin_below():
    for n_bins in (3, 7, 10, 15, 20):
        for dtype in (torch.float32, torch.float64):
            first = n_bins // 2 + 1
            edges = [m / n_bins for m in range(first, n_bins + 1)]
            count = confidence_bins(
                binary(*edges, dtype=dtype), torch.ones(len(edges), dtype=torch.long), n_bins
            ).count
            assert count.tolist() == [0.0] * (first - 1) + [1.0] * len(edges)


def test_saturated_logits_count_as_confidence_one():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [80.0, 0.0]])
    assert confidence_bins(logits, torch.tensor([0, 0, 0]), 10).count.tolist() == [0.0] * 9 + [3.0]
    assert expected_calibration_error(logits, torch.tensor([0, 1, 0])).item() == pytest.approx(0.0, abs=1e-12)


def test_equal_logits_of_many_classes_fall_into_the_first_bin():
    bins = confidence_bins(torch.zeros(4, 1000), torch.tensor([0, 1, 2, 3]), 15)
    assert bins.count[0] == 4
    assert bins.mean_confidence()[0].item() == pytest.approx(1e-3)
    assert bins.accuracy()[1:].sum() == 0


def test_probabilities_and_their_logits_give_one_value():
    logits, labels = torch.randn(500, 5, dtype=torch.float64), torch.randint(5, (500,))
    for figure in (expected_calibration_error, overconfidence_error, negative_log_likelihood, brier_score):
        torch.testing.assert_close(figure(logits, labels), figure(logits.softmax(-1), labels))


def test_logits_that_happen_to_lie_between_zero_and_one_are_logits():
    logits, labels = torch.rand(500, 5), torch.randint(5, (500,))
    torch.testing.assert_close(
        expected_calibration_error(logits, labels), expected_calibration_error(logits - 7.0, labels)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_probabilities_are_recognised(dtype):
    probs, labels = torch.randn(500, 5).softmax(-1).to(dtype), torch.randint(5, (500,))
    assert expected_calibration_error(probs, labels).item() == pytest.approx(
        expected_calibration_error(probs.double() / probs.double().sum(-1, keepdim=True), labels).item(), abs=2e-2
    )


def test_what_the_scores_are_can_be_said():
    probs, labels = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 0])
    as_logits = expected_calibration_error(probs, labels, from_logits=True)
    torch.testing.assert_close(as_logits, expected_calibration_error(probs - 3.0, labels))
    assert expected_calibration_error(probs, labels, from_logits=False) == expected_calibration_error(probs, labels)
    with pytest.raises(ValueError, match=r"no probabilities: .* row sums in \[1, 1.1\]"):
        overconfidence_error(torch.tensor([[0.9, 0.1], [0.3, 0.8]]), labels, from_logits=False)


def test_rounded_probabilities_are_not_taken_for_logits():
    logits, labels = torch.randn(500, 10), torch.randint(10, (500,))
    rounded = (logits.softmax(-1) * 1000).round() / 1000
    with pytest.raises(ValueError, match="look like probabilities, but their sums are off 1 by up to 0.00"):
        expected_calibration_error(rounded, labels)
    exact = expected_calibration_error(logits, labels).item()
    assert expected_calibration_error(rounded, labels, from_logits=False).item() == pytest.approx(exact, abs=0.02)


def test_bins_of_shards_add_up_to_the_whole():
    logits, labels = torch.randn(1000, 4), torch.randint(4, (1000,))
    whole = confidence_bins(logits, labels)
    parts = [confidence_bins(logits[half], labels[half]) for half in (slice(0, 300), slice(300, None))]
    for total, one, other in zip(whole, *parts, strict=True):
        torch.testing.assert_close(one + other, total, rtol=0, atol=1e-10)


def test_brier_score_written_out():
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = ((0.3**2 + 0.2**2 + 0.1**2) + (1 + 0 + 1)) / 2
    assert brier_score(probs, torch.tensor([0, 1])).item() == pytest.approx(expected, abs=1e-12)


def test_brier_score_of_two_classes_is_twice_that_of_scikit_learn():
    logits, labels = torch.randn(500, 2, dtype=torch.float64), torch.randint(2, (500,))
    half = brier_score_loss(labels.numpy(), logits.softmax(-1)[:, 1].numpy())
    assert brier_score(logits, labels).item() == pytest.approx(2 * half, abs=1e-12)


def test_impossible_true_class_gives_infinite_nll():
    assert negative_log_likelihood(binary(1.0), torch.tensor([0])).item() == float("inf")


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.empty(0, 3), torch.empty(0, dtype=torch.long), "No rows"),
        (torch.tensor([[0.1, float("nan")], [0.0, 1.0]]), torch.tensor([0, 1]), "1 rows hold NaN.*row 0"),
        (torch.tensor([[0.0, 1.0], [float("inf"), 0.0]]), torch.tensor([0, 1]), "row 1"),
        (torch.randn(3, 2), torch.tensor([0, 1, 2]), r"outside \[0, 2\), the first is 2 in row 2"),
        (torch.randn(3, 2), torch.tensor([0, 1, -1]), "leave unlabelled rows out"),
        (torch.randn(3, 2), torch.tensor([0, 1]), "Expected 3 integer labels"),
        (torch.randn(3, 2), torch.tensor([0.0, 1.0, 1.0]), "integer labels"),
        (torch.randn(3, 1), torch.tensor([0, 0, 0]), "C >= 2"),
        (torch.randn(3), torch.tensor([0, 0, 0]), "shape"),
        (torch.ones(3, 2, dtype=torch.long), torch.tensor([0, 0, 0]), "floating point"),
    ],
)
def test_impossible_input_is_refused(scores, labels, message):
    for figure in (expected_calibration_error, overconfidence_error, negative_log_likelihood, brier_score):
        with pytest.raises(ValueError, match=message):
            figure(scores, labels)


def test_impossible_bin_count_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        expected_calibration_error(torch.randn(3, 2), torch.tensor([0, 1, 0]), n_bins=0)
