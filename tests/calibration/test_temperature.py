# SPDX-License-Identifier: Apache-2.0
"""Scalers fitted to held-out logits: the optimum, its bounds, its report, and what is refused."""

import json
import logging

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.special import log_softmax, softmax

from logitmix_nlp.calibration.temperature import TemperatureScaler, VectorScaler, vector_nll
from logitmix_nlp.functional import expected_calibration_error


def data(n: int = 4000, classes: int = 4, temperature: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from `softmax(logits / temperature)`."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, classes)) * 2 * temperature
    probs = softmax(logits / temperature, axis=1)
    return logits, (probs.cumsum(1) < rng.random((n, 1))).sum(1)


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("truth", [0.05, 0.3, 1.0, 1.5, 6.5, 40.0])
def test_the_temperature_of_the_labels_is_found(truth):
    logits, labels = data(20_000, temperature=truth)
    scaler = TemperatureScaler().fit(logits, labels)
    assert scaler.temperature == pytest.approx(truth, rel=0.03)
    assert not scaler.report["at_bound"]


@pytest.mark.parametrize("truth", [0.3, 6.5])
def test_no_other_temperature_is_better(truth):
    logits, labels = data(500, temperature=truth)
    best = TemperatureScaler().fit(logits, labels).temperature
    grid = np.concatenate([np.geomspace(0.011, 99, 400), best * (1 + np.array([-1e-4, -1e-5, 1e-5, 1e-4]))])
    assert nll(logits / best, labels) <= min(nll(logits / other, labels) for other in grid)


def test_a_stopped_search_and_a_diverged_one_are_not_repeated():
    """Starts at 1.5 end there, or run off, in other code: the same rows scaled by s have s times the temperature."""
    logits, labels = data(800)
    best = TemperatureScaler().fit(logits, labels).temperature
    for scale in (0.02, 0.1, 3.0, 50.0):
        assert TemperatureScaler().fit(logits * scale, labels).temperature == pytest.approx(best * scale, rel=1e-9)


def test_against_scikit_learn():
    pytest.importorskip("sklearn", minversion="1.8")
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Logits(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            self.classes_ = np.unique(y)
            return self

        def decision_function(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

    logits, labels = data(2000, temperature=2.5)
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits().fit(logits, labels)), method="temperature")
    probs = theirs.fit(logits, labels).predict_proba(logits)
    ours = softmax(TemperatureScaler().fit(logits, labels).transform(logits), axis=1)
    np.testing.assert_allclose(ours, probs, atol=1e-4)


def test_the_report_says_what_was_gained():
    logits, labels = data(2000, temperature=3.0)
    scaler = TemperatureScaler().fit(torch.from_numpy(logits), torch.from_numpy(labels))
    scaled, report = scaler.transform(logits), scaler.report
    assert report["rows"] == 2000
    assert report["nll_before"] == pytest.approx(nll(logits, labels), abs=1e-12)
    assert report["nll_after"] == pytest.approx(nll(scaled, labels), abs=1e-12)
    assert report["ece_before"] == expected_calibration_error(logits, labels, 15).item()
    assert report["ece_after"] == expected_calibration_error(scaled, labels, 15).item()
    assert report["nll_after"] < report["nll_before"] - 0.1
    assert report["ece_after"] < 0.03 < 0.1 < report["ece_before"]
    assert (scaled.argmax(1) == logits.argmax(1)).all()


@pytest.mark.parametrize("seed", range(20))
def test_never_worse_on_its_own_rows(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((7, 3)) * rng.uniform(0.1, 30), np.arange(7) % 3
    for scaler in (TemperatureScaler(), VectorScaler()):
        report = scaler.fit(logits, labels).report
        assert report["nll_after"] <= report["nll_before"]
        assert report["nll_after"] == pytest.approx(nll(scaler.transform(logits), labels), abs=1e-9)


def test_rows_all_right_stop_at_the_lower_bound(caplog):
    logits, labels = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]]), np.array([0, 1, 0])
    scaler = TemperatureScaler().fit(logits, labels)
    assert scaler.temperature == pytest.approx(0.01)
    assert scaler.report["at_bound"]
    assert "Every held-out row is predicted rightly" in caplog.text
    assert TemperatureScaler().fit(logits, labels, min_temperature=0.5).temperature == pytest.approx(0.5)


def test_rows_all_tied_at_the_top_count_as_right():
    """Five classes share the top of each row: the slope at the bound is 0, or its rounding, and no root between."""
    logits, labels = np.hstack([np.full((5, 5), 0.4), np.zeros((5, 1))]), np.arange(5)
    scaler = TemperatureScaler().fit(logits, labels)
    assert scaler.temperature == pytest.approx(0.01)
    assert scaler.report["nll_after"] == pytest.approx(np.log(5))


def test_logits_that_mislead_stop_at_the_upper_bound(caplog):
    logits, labels = data(500)
    scaler = TemperatureScaler().fit(-logits, labels)
    assert scaler.temperature == pytest.approx(100.0)
    assert scaler.report["at_bound"]
    assert "no more about the labels than chance" in caplog.text


@pytest.mark.parametrize("logits", [np.zeros((4, 3)), np.eye(4, 3) * 1e4])
def test_nothing_to_gain_leaves_temperature_one(logits, caplog):
    labels = np.array([0, 1, 2, 0])
    report = TemperatureScaler().fit(logits, labels).report
    assert report["nll_after"] == report["nll_before"]
    with caplog.at_level(logging.WARNING):
        assert TemperatureScaler().fit(logits, labels).temperature == 1.0
    assert caplog.text == ""


def test_vector_gradient_against_finite_differences():
    rng = np.random.default_rng(0)
    logits, labels = data(50)
    parameters = rng.standard_normal(8)
    _, gradient = vector_nll(parameters, logits, labels)
    numeric = approx_fprime(parameters, lambda p: vector_nll(p, logits, labels)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_vector_scaling_undoes_a_scale_and_a_bias_per_class(size):
    rng = np.random.default_rng(1)
    honest, labels = data(20_000)
    scale, bias = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
    scaler = VectorScaler().fit((honest - bias) / scale * size, labels, max_scale=1e3)
    np.testing.assert_allclose(scaler.scale * size, scale, rtol=0.08)
    np.testing.assert_allclose(scaler.bias, bias - bias.mean(), atol=0.08)
    assert scaler.bias.sum() == pytest.approx(0, abs=1e-12)


def test_vector_scaling_ends_where_the_slope_is_flat():
    logits, labels = data(1000, temperature=4.0)
    scaler = VectorScaler().fit(logits, labels)
    _, gradient = vector_nll(np.concatenate([scaler.scale, scaler.bias]), logits, labels)
    assert np.abs(gradient).max() < 1e-6
    assert scaler.report["nll_after"] <= TemperatureScaler().fit(logits, labels).report["nll_after"]


def test_vector_scaling_of_separable_rows_is_bounded_and_said(caplog):
    logits, labels = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]]), np.array([0, 1, 0])
    scaler = VectorScaler().fit(logits, labels, max_scale=5.0)
    assert scaler.scale.max() == 5.0
    assert scaler.report["at_bound"]
    assert "beyond the bounds" in caplog.text


@pytest.mark.parametrize("kind", [TemperatureScaler, VectorScaler])
def test_scalers_survive_json(kind):
    logits, labels = data(200)
    scaler = kind().fit(logits, labels)
    again = kind.from_dict(json.loads(json.dumps(scaler.to_dict())))
    np.testing.assert_array_equal(again.transform(logits), scaler.transform(logits))
    assert again.report == scaler.report
    with pytest.raises(ValueError, match="Expected a state of method"):
        kind.from_dict({**scaler.to_dict(), "method": "matrix"})


@pytest.mark.parametrize("kind", [TemperatureScaler, VectorScaler])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_goes_in_comes_out(kind, dtype):
    logits, labels = data(300)
    scaler, before = kind().fit(torch.from_numpy(logits).to(dtype), labels), logits.copy()
    assert scaler.transform(torch.from_numpy(logits).to(dtype)).dtype == dtype
    assert scaler.transform(logits.astype(np.float32)).dtype == np.float32
    np.testing.assert_array_equal(logits, before)
    expected = scaler.transform(logits)
    np.testing.assert_allclose(scaler.transform(torch.from_numpy(logits)).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [TemperatureScaler, VectorScaler])
@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.array([[np.nan, 0.0], [0.0, 1.0]]), [0, 1], "NaN or infinite"),
        (np.array([[np.inf, 0.0], [0.0, 1.0]]), [0, 1], "NaN or infinite"),
        (np.array([[1.0, 0.0], [0.5, 1.0]]), [1, 1], "All 2 labels are of class 1"),
        (np.array([[1.0, 0.5]]), [0], "All 1 labels are of class 0"),
        (np.array([[1.0, 0.0], [0.5, 1.0]]), [0, 2], r"outside \[0, 2\)"),
        (np.array([[1.0, 0.0], [0.5, 1.0]]), [0, 1, 1], "integer labels"),
        (np.array([[0.9, 0.1], [0.2, 0.8]]), [0, 1], "rows are probabilities"),
        (np.empty((0, 2)), np.empty(0, dtype=int), "No rows"),
        (np.array([1.0, 2.0]), [0, 1], "shape"),
    ],
)
def test_impossible_input_is_refused(kind, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        kind().fit(logits, np.asarray(labels))


def test_logits_whose_rows_sum_to_one_are_logits():
    assert TemperatureScaler().fit([[1.5, -0.5], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1]).report["rows"] == 3


def test_a_bias_at_its_bound_is_said(caplog):
    logits, labels = data(200)
    scaler = VectorScaler().fit(logits + np.array([9.0, 0.0, 0.0, 0.0]), labels, max_bias=2.0)
    assert scaler.report["at_bound"]
    assert "beyond the bounds" in caplog.text


def test_impossible_settings_are_refused():
    logits, labels = data(50)
    for temperature in (0.0, np.inf):
        with pytest.raises(ValueError, match="finite and above 0"):
            TemperatureScaler(temperature)
    for bounds in ((2.0, 3.0), (0.0, 3.0), (0.1, 0.9), (0.1, np.inf)):
        with pytest.raises(ValueError, match="must hold 1"):
            TemperatureScaler().fit(logits, labels, *bounds)
    assert TemperatureScaler().fit(logits, labels, 1.0, 1.0).temperature == 1.0
    VectorScaler().fit(logits, labels, max_scale=1.0)
    with pytest.raises(ValueError, match="No rows of class 4"):
        VectorScaler().fit(np.hstack([logits, logits[:, :1]]), labels)
    for bound in ({"max_scale": 0.5}, {"max_bias": 0.0}):
        with pytest.raises(ValueError, match="max_scale must be at least 1 and max_bias above 0"):
            VectorScaler().fit(logits, labels, **bound)
    for scale, bias in (([1.0, 1.0], [0.0]), ([1.0, 1.0], None), ([[1.0]], [[1.0]])):
        with pytest.raises(ValueError, match="one length"):
            VectorScaler(scale, bias)
    with pytest.raises(ValueError, match="call fit first"):
        VectorScaler().transform(logits)
    with pytest.raises(ValueError, match="call fit first"):
        VectorScaler().to_dict()
    with pytest.raises(ValueError, match="Fitted to 4 classes"):
        VectorScaler().fit(logits, labels).transform(logits[:, :3])
