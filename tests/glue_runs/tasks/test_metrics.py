# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from transformers import EvalPrediction

from glue_runs.tasks.scores import (
    accuracy,
    f1,
    make_compute_metrics,
    matthews_correlation,
    predicted,
)
from logitmix_nlp.calibration.metrics import calibration_metrics

RANDOM = np.random.default_rng(0)


def evaluation(outputs, labels):
    return EvalPrediction(predictions=outputs, label_ids=np.asarray(labels))


def test_scores_by_hand():
    predictions, labels = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 1, 0])
    assert accuracy(predictions, labels) == 3 / 5
    assert f1(predictions, labels) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert matthews_correlation(predictions, labels) == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))


def test_classification_adds_calibration():
    logits, labels = RANDOM.normal(size=(50, 2)), RANDOM.integers(2, size=50)
    scores = make_compute_metrics(("accuracy", "f1"), False, n_bins=7)(evaluation(logits, labels))
    assert list(scores) == ["accuracy", "f1", "combined_score", "ece", "oe", "nll", "brier"]
    assert scores["combined_score"] == pytest.approx((scores["accuracy"] + scores["f1"]) / 2)
    assert {name: scores[name] for name in ("ece", "oe", "nll", "brier")} == calibration_metrics(
        logits, labels, n_bins=7
    )
    assert all(type(value) is float for value in scores.values())


def test_one_score_has_no_combination():
    scores = make_compute_metrics(("matthews_correlation",), False)(evaluation(np.eye(2), [0, 1]))
    assert list(scores) == ["matthews_correlation", "ece", "oe", "nll", "brier"]
    assert scores["matthews_correlation"] == 1.0


def test_f1_follows_the_positive_class_into_another_label_order():
    logits, labels = RANDOM.normal(size=(50, 2)), RANDOM.integers(2, size=50)
    usual = make_compute_metrics(("f1",), False)(evaluation(logits, labels))
    swapped = make_compute_metrics(("f1",), False, positive_label=0)(evaluation(logits[:, ::-1].copy(), 1 - labels))
    assert swapped["f1"] == usual["f1"]


def test_logits_are_the_first_of_several_outputs():
    logits, labels = RANDOM.normal(size=(9, 3)), RANDOM.integers(3, size=9)
    compute = make_compute_metrics(("accuracy",), False)
    assert compute(evaluation((logits, np.zeros((9, 5))), labels)) == compute(evaluation(logits, labels))


def test_regression_has_no_calibration():
    scores = make_compute_metrics(("pearson", "spearmanr"), True)(evaluation(np.array([[1.0], [2], [4]]), [0, 1, 2]))
    assert list(scores) == ["pearson", "spearmanr", "combined_score"]
    assert scores["spearmanr"] == pytest.approx(1.0)


def test_regression_on_one_row():
    scores = make_compute_metrics(("pearson", "spearmanr"), True)(evaluation(np.array([[3.0]]), [2.0]))
    assert scores == {"pearson": 0.0, "spearmanr": 0.0, "combined_score": 0.0}


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        ([[0.0, 1.0], [np.nan, 1.0]], [0, 1], "NaN or infinite in 1 of 2 rows, first in row 2"),
        ([[0.0, np.inf]], [0], "NaN or infinite"),
        ([[0.0, 1.0]], [-1], r"labels \[-1\], the model has the classes 0 to 1"),
        ([[0.0, 1.0]], [2], r"labels \[2\]"),
        ([[0.0, 1.0]], [0, 1], "1 predictions and 2 labels"),
        (np.zeros((0, 2)), [], "0 predictions"),
    ],
)
def test_what_cannot_be_scored_is_refused(outputs, labels, message):
    with pytest.raises(ValueError, match=message):
        make_compute_metrics(("accuracy",), False)(evaluation(np.array(outputs), labels))


def test_nan_score_is_refused_in_regression():
    compute = make_compute_metrics(("pearson",), True)
    with pytest.raises(ValueError, match="NaN or infinite in 1 of 2 rows"):
        compute(evaluation(np.array([[0.0], [np.nan]]), [0, 1]))
    with pytest.raises(ValueError, match="labels hold NaN"):
        compute(evaluation(np.array([[0.0], [1.0]]), [0, np.nan]))


def test_predicted_classes_and_scores():
    assert predicted(np.array([[0.1, 0.2], [3.0, 1.0]]), False).tolist() == [1, 0]
    assert predicted((np.array([[0.5]]),), True).tolist() == [0.5]


def test_unknown_metric_lists_those_that_exist():
    with pytest.raises(ValueError, match="mse; choose from: accuracy, f1"):
        make_compute_metrics(("mse",), True)
