# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk

import logitmix_nlp
from logitmix_nlp.calibration.metrics import calibration_metrics

RANDOM = np.random.default_rng(0)
LOGITS, LABELS = 2 * RANDOM.normal(size=(200, 3)), RANDOM.integers(3, size=200)
FIGURES = ["ece", "oe", "nll", "brier"]


@pytest.fixture(scope="module")
def calibration():
    from logitmix_nlp import CalibrationMetric  # `evaluate` takes seconds to import

    return CalibrationMetric


def binned(probs, labels, n_bins):
    """ECE and OE row by row and bin by bin."""
    bins = [[] for _ in range(n_bins)]
    for row, label in zip(probs, labels, strict=True):
        bins[max(int(np.ceil(row.max() * n_bins)) - 1, 0)].append((row.max(), row.argmax() == label))
    ece = oe = 0.0
    for rows in filter(None, bins):
        confidence, accuracy = np.mean(rows, axis=0)
        ece += len(rows) / len(labels) * abs(accuracy - confidence)
        oe += len(rows) / len(labels) * confidence * max(confidence - accuracy, 0)
    return ece, oe


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_calibration_equals_independent_references(n_bins):
    probs = softmax(LOGITS, axis=-1)
    figures = calibration_metrics(LOGITS, LABELS, n_bins)
    assert list(figures) == FIGURES
    assert (figures["ece"], figures["oe"]) == pytest.approx(binned(probs, LABELS, n_bins), abs=1e-9)
    assert figures["nll"] == pytest.approx(sk.log_loss(LABELS, probs), abs=1e-12)
    assert figures["nll"] == pytest.approx(-log_softmax(LOGITS, -1)[np.arange(200), LABELS].mean(), abs=1e-12)
    assert figures["brier"] == pytest.approx(((probs - np.eye(3)[LABELS]) ** 2).sum(-1).mean(), abs=1e-12)


def test_calibration_by_hand():
    probs, labels = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), np.array([0, 1, 1])
    figures = calibration_metrics(probs, labels, n_bins=2, from_logits=False)
    confidence, accuracy = (0.9 + 0.8 + 0.7) / 3, 2 / 3  # all rows lie in (0.5, 1]
    assert figures["ece"] == pytest.approx(confidence - accuracy)
    assert figures["oe"] == pytest.approx(confidence * (confidence - accuracy))
    assert figures["nll"] == pytest.approx(-(np.log(0.9) + np.log(0.2) + np.log(0.7)) / 3)
    assert figures["brier"] == pytest.approx((2 * 0.1**2 + 2 * 0.8**2 + 2 * 0.3**2) / 3)


def test_what_the_scores_are_can_be_said_or_recognised():
    probs = softmax(LOGITS, axis=-1)
    said = calibration_metrics(probs, LABELS, from_logits=False)
    assert calibration_metrics(probs, LABELS, from_logits=None) == said
    assert said == pytest.approx(calibration_metrics(LOGITS, LABELS), abs=1e-12)
    assert calibration_metrics(probs, LABELS)["nll"] == pytest.approx(sk.log_loss(LABELS, softmax(probs, -1)))
    with pytest.raises(ValueError, match="rows are no probabilities"):
        calibration_metrics(LOGITS, LABELS, from_logits=False)


def test_read_only_and_reversed_arrays_are_taken():
    logits, labels = LOGITS[:, ::-1], LABELS.copy()
    labels.flags.writeable = False
    assert calibration_metrics(logits, labels) == calibration_metrics(logits.copy(), LABELS)


def test_the_metric_gives_the_same_figures(calibration):
    assert logitmix_nlp.CalibrationMetric is calibration
    expected = calibration_metrics(LOGITS, LABELS, n_bins=7)
    metric = calibration(n_bins=7)
    assert metric.compute(predictions=LOGITS, references=LABELS) == expected
    assert metric.compute(predictions=LOGITS.tolist(), references=LABELS.tolist()) == expected
    assert metric.compute(predictions=torch.tensor(LOGITS), references=torch.tensor(LABELS)) == expected
    for start in range(0, 200, 64):  # the last batch is shorter
        metric.add_batch(predictions=LOGITS[start : start + 64], references=LABELS[start : start + 64])
    assert len(metric) == 200
    assert metric.compute() == expected
    for logits, label in zip(LOGITS, LABELS, strict=True):
        metric.add(prediction=logits, reference=label)
    assert metric.compute() == expected
    assert len(metric) == 0


def test_precision_is_that_of_the_rows(calibration):
    """0.6 in float32 is above the float64 edge 0.6 of five bins, and on the float32 one."""
    probs, labels = np.array([[0.6, 0.4], [0.7, 0.3]], dtype=np.float32), np.array([0, 1])
    metric, ours = calibration(n_bins=5), calibration_metrics(probs, labels, 5, from_logits=None)
    assert metric.compute(predictions=probs, references=labels) == ours
    assert ours["ece"] == pytest.approx((0.4 + 0.7) / 2, abs=1e-6)  # two bins; in one it would be |1.3 - 1| / 2
    half = torch.tensor(LOGITS).bfloat16()
    assert calibration().compute(predictions=half, references=LABELS) == calibration_metrics(half.float(), LABELS)


def test_whole_numbers_are_logits(calibration):
    metric = calibration()
    metric.add(prediction=[2, 0], reference=0)
    assert metric.compute()["nll"] == pytest.approx(np.log(1 + np.exp(-2)))


def test_probabilities_are_recognised_unless_told_otherwise(calibration):
    probs = softmax(LOGITS, axis=-1)
    assert calibration().compute(predictions=probs, references=LABELS) == calibration_metrics(
        probs, LABELS, from_logits=False
    )
    assert calibration(from_logits=True).compute(predictions=probs, references=LABELS) == calibration_metrics(
        probs, LABELS
    )


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (None, None, "no rows to score"),
        (np.zeros((0, 2)), np.zeros(0, int), "no rows to score"),
        (LOGITS[:3], LABELS[:2], "3 predictions and 2 references"),
        (LOGITS[:3], None, "no references"),
        (None, LABELS[:3], "no predictions"),
        ([[0.0, np.nan]], [0], "1 rows hold NaN"),
        ([[0.0, 1.0]], [2], r"1 labels lie outside \[0, 2\)"),
        ([[0.0, 1.0]], [0.0], "Expected 1 integer labels"),
        ([0.5, 1.5], [0, 1], r"shape \(N, C\)"),
        ([[[0.5, 1.5]]], [0], r"got the shapes \(1, 1, 2\) and \(1,\)"),
        ([["a", "b"]], [0], "type <U1; predictions and references must be numbers"),
        ([[0.5, 1.5], [1.0]], [0, 1], "inhomogeneous"),
    ],
)
def test_what_cannot_be_scored_is_refused_and_forgotten(calibration, predictions, references, message):
    metric = calibration()
    with pytest.raises(ValueError, match=message) as error:
        metric.compute(predictions=predictions, references=references)
    assert "\n" not in str(error.value)
    assert metric.compute(predictions=LOGITS, references=LABELS) == calibration_metrics(LOGITS, LABELS)


def test_rows_of_another_form_are_refused_and_those_before_kept(calibration):
    metric = calibration()
    metric.add_batch(predictions=LOGITS, references=LABELS)
    with pytest.raises(ValueError, match=r"shape \(2, 2\) after some of shape \(200, 3\)"):
        metric.add_batch(predictions=np.zeros((2, 2)), references=[0, 1])
    assert metric.compute() == calibration_metrics(LOGITS, LABELS)


def test_no_number_of_processes_is_taken(calibration):
    with pytest.raises(TypeError, match="num_process"):
        calibration(num_process=2)


def test_nothing_is_written(calibration, tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "metrics"))
    metric = calibration()
    metric.add_batch(predictions=LOGITS, references=LABELS)
    assert sorted(metric.compute()) == sorted(FIGURES)
    assert not list(tmp_path.iterdir())
