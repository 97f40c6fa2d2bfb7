# SPDX-License-Identifier: Apache-2.0
"""Other libraries, torchmetrics as it is installed and netcal as it was recorded: where they agree, and where not."""

import json
import warnings

import netcal_values
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
        from torchmetrics.functional.classification import multiclass_calibration_error
    return multiclass_calibration_error


@pytest.fixture(scope="module")
def netcal() -> dict:
    """The values of netcal, recorded by `netcal_values`; the rows here must be the same."""
    values = json.loads(netcal_values.VALUES.read_text())
    assert netcal_values.fingerprint() == pytest.approx(values["fingerprint"], rel=1e-12), "other rows: record anew"
    return values


@pytest.fixture(scope="module")
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    return netcal_values.rows()


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


@pytest.mark.parametrize("n_bins", netcal_values.BINS)
def test_netcal_agrees(netcal, rows, n_bins):
    for name, figure in (
        ("ece", expected_calibration_error),
        ("mce", maximum_calibration_error),
        ("classwise_ece", classwise_calibration_error),
    ):
        assert figure(*rows, n_bins).item() == pytest.approx(netcal[f"{name}_{n_bins}"], abs=1e-8)


def test_netcal_agrees_on_bins_of_equal_mass(netcal, rows):
    assert adaptive_calibration_error(*rows, 10).item() == pytest.approx(netcal["adaptive_ece_10"], abs=1e-8)


def test_netcal_agrees_at_the_edges(netcal):
    for edge, theirs in zip(netcal_values.EDGES, netcal["edges"], strict=True):
        ours = expected_calibration_error(*netcal_values.edge_rows(*edge), 10)
        assert ours.item() == pytest.approx(theirs, abs=1e-8)
