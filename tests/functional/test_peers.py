# SPDX-License-Identifier: Apache-2.0
"""Other libraries, where they are installed and their definitions agree; and where they do not."""

import warnings

import numpy as np
import pytest
import torch

from logitmix_nlp.functional import (
    adaptive_calibration_error,
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
)


@pytest.fixture(scope="module")
def torchmetrics_error():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torchmetrics")
        from torchmetrics.functional.classification import multiclass_calibration_error
    return multiclass_calibration_error


@pytest.fixture(scope="module")
def netcal_metrics():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("netcal.metrics")


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 probabilities on no edge of a bin, and labels; 5000 rows fill 10 bins of equal mass."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5000, 6, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(6, (5000,), generator=generator)
    right = torch.rand(5000, generator=generator) < 0.6
    return logits.softmax(-1), torch.where(right, logits.argmax(1), labels)


@pytest.mark.parametrize("n_bins", [10, 15])
def test_torchmetrics_agrees_off_the_edges(torchmetrics_error, rows, n_bins):
    for norm, figure in (("l1", expected_calibration_error), ("max", maximum_calibration_error)):
        theirs = torchmetrics_error(*rows, 6, n_bins, norm).item()
        assert figure(*rows, n_bins).item() == pytest.approx(theirs, abs=1e-6)  # float32 sums


@pytest.mark.parametrize(
    ("confidences", "labels", "theirs", "ours"),
    [
        ((0.5, 0.55), (1, 1), 0.025, 0.475),  # bins [a, b)
        ((1.0, 1.0, 0.95, 0.95), (1, 0, 1, 1), 0.275, 0.225),  # a bin for 1.0 alone
        ((0.6, 0.65), (0, 1), 0.125, 0.475),
    ],
)
def test_torchmetrics_closes_bins_below(torchmetrics_error, confidences, labels, theirs, ours):
    confidence, classes = torch.tensor(confidences), torch.tensor(labels)
    probs = torch.stack([1 - confidence, confidence], 1)
    assert torchmetrics_error(probs, classes, 2, 10).item() == pytest.approx(theirs, abs=1e-6)
    assert expected_calibration_error(probs, classes, 10).item() == pytest.approx(ours, abs=1e-6)


@pytest.mark.parametrize("n_bins", [10, 15])
def test_netcal_agrees(netcal_metrics, rows, n_bins):
    probs, labels = rows[0].numpy(), rows[1].numpy()
    for theirs, ours in (
        (netcal_metrics.ECE(n_bins).measure(probs, labels), expected_calibration_error(*rows, n_bins)),
        (netcal_metrics.MCE(n_bins).measure(probs, labels), maximum_calibration_error(*rows, n_bins)),
    ):
        assert ours.item() == pytest.approx(theirs, abs=1e-8)
    per_class = [
        netcal_metrics.ECE(n_bins).measure(probs[:, label], (labels == label).astype(int)) for label in range(6)
    ]
    assert classwise_calibration_error(*rows, n_bins).item() == pytest.approx(np.mean(per_class), abs=1e-8)


def test_netcal_agrees_on_bins_of_equal_mass(netcal_metrics, rows):
    probs, labels = rows[0].numpy(), rows[1].numpy()
    theirs = netcal_metrics.ECE(10, equal_intervals=False).measure(probs, labels)
    assert adaptive_calibration_error(*rows, 10).item() == pytest.approx(theirs, abs=1e-8)


def test_netcal_agrees_at_the_edges(netcal_metrics):
    for confidences, classes in (((0.5, 0.55), (1, 1)), ((1.0, 1.0, 0.95, 0.95), (1, 0, 1, 1)), ((0.6, 0.65), (0, 1))):
        confidence = torch.tensor(confidences, dtype=torch.float64)
        probs, labels = torch.stack([1 - confidence, confidence], 1), torch.tensor(classes)
        theirs = netcal_metrics.ECE(10).measure(probs.numpy(), labels.numpy())
        assert expected_calibration_error(probs, labels, 10).item() == pytest.approx(theirs, abs=1e-8)
