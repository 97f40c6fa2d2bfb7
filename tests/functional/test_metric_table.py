# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from sklearn import metrics as sk

from logitmix_nlp import functional as f
from logitmix_nlp.functional import METRICS, Predictions, metric_intervals, metric_values

GENERATOR = torch.Generator().manual_seed(0)
LOGITS, LABELS = torch.randn(60, 3, generator=GENERATOR), torch.randint(3, (60,), generator=GENERATOR)
ALONE = {
    "accuracy": lambda logits, labels: (logits.argmax(-1) == labels).double().mean(),
    "balanced_accuracy": lambda logits, labels: torch.tensor(
        sk.balanced_accuracy_score(labels.numpy(), logits.argmax(-1).numpy())
    ),
    "macro_f1": lambda logits, labels: torch.tensor(
        sk.f1_score(labels.numpy(), logits.argmax(-1).numpy(), average="macro")
    ),
    "matthews_correlation": lambda logits, labels: torch.tensor(
        sk.matthews_corrcoef(labels.numpy(), logits.argmax(-1).numpy())
    ),
    "ece": lambda *rows: f.expected_calibration_error(*rows, 7, from_logits=True),
    "mce": lambda *rows: f.maximum_calibration_error(*rows, 7, from_logits=True),
    "adaptive_ece": lambda *rows: f.adaptive_calibration_error(*rows, 7, from_logits=True),
    "classwise_ece": lambda *rows: f.classwise_calibration_error(*rows, 7, from_logits=True),
    "oe": lambda *rows: f.overconfidence_error(*rows, 7, from_logits=True),
    "nll": lambda *rows: f.negative_log_likelihood(*rows, from_logits=True),
    "brier": lambda *rows: f.brier_score(*rows, from_logits=True),
    "auroc": lambda *rows: f.confidence_auroc(*rows, from_logits=True),
    "aurc": lambda *rows: f.area_under_risk_coverage(*rows, from_logits=True),
}


@pytest.mark.parametrize("name", METRICS)
def test_each_value_is_that_of_the_library(name):
    assert metric_values(LOGITS, LABELS, 7)[name] == pytest.approx(ALONE[name](LOGITS, LABELS).item())


GROUPS = torch.arange(60).sqrt().long()  # of 1, 3, 5, … rows


@pytest.mark.parametrize("groups", [torch.arange(60), GROUPS], ids=["rows", "groups"])
@pytest.mark.parametrize("name", [name for name in METRICS if name != "mce"])
def test_each_interval_is_that_of_the_repeated_rows(name, groups, monkeypatch):
    rows = LOGITS.round(), LABELS  # many confidences are equal
    members = [(groups == group).nonzero().flatten() for group in groups.unique()]

    def of_drawn(drawn):
        places = torch.cat([members[group] for group in drawn])
        return ALONE[name](*(values[places] for values in rows))

    monkeypatch.setattr("logitmix_nlp.functional.bootstrap.CHUNK_ENTRIES", 700)  # in several pieces
    method = METRICS[name].interval
    generator = torch.Generator().manual_seed(5)
    numbers = torch.arange(len(members))
    expected = f.bootstrap_interval(of_drawn, numbers, n_resamples=40, method=method, generator=generator)
    given = None if len(members) == 60 else groups
    found = metric_intervals(*rows, 7, n_resamples=40, seed=5, groups=given)[name]
    assert found.value == pytest.approx(expected.value)
    low, high = (max(end, 0) if method == "basic" else end for end in (expected.low, expected.high))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_no_interval_of_an_error_ends_below_0():
    """20 rows of each confidence, as many right as it says: the ECE is 0, and every resample has more."""
    shares = torch.tensor([0.6, 0.7, 0.8, 0.9], dtype=torch.float64).repeat_interleave(20)
    labels = (torch.arange(20) >= (20 * shares).round().view(4, 20)).long().flatten()
    found = metric_intervals(torch.stack([shares, 1 - shares], 1).log(), labels, n_resamples=40)["ece"]
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-9)


def test_names_choose_and_order_the_metrics():
    names = ["nll", "accuracy"]
    assert list(metric_intervals(LOGITS, LABELS, names=names, n_resamples=40)) == names
    assert list(metric_values(LOGITS, LABELS)) == list(METRICS)


@pytest.mark.parametrize("name", ["ece", "oe"])
def test_confidences_on_the_edge_of_a_bin_lie_below_it(name):
    """Confidence 1/2 with two bins lies in (0, 1/2], on resamples too."""
    rows = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 9.0]]), torch.tensor([1, 1, 1])
    predictions = Predictions(*rows, n_bins=2)
    repeated = [rows[0][[0, 2, 2]], rows[1][[0, 2, 2]]]
    counts = torch.tensor([[1.0], [0.0], [2.0]], dtype=torch.float64)
    assert METRICS[name].resampled(predictions)(counts).item() == pytest.approx(metric_values(*repeated, 2)[name])


def test_what_does_not_exist_is_nan():
    right = LOGITS.argmax(-1)
    found = metric_intervals(LOGITS, right, n_resamples=40)
    assert math.isnan(found["auroc"].value)
    assert math.isnan(metric_intervals(LOGITS, LABELS, n_resamples=0)["ece"].low)
    assert math.isnan(metric_intervals(LOGITS, LABELS, n_resamples=40)["mce"].high)
    one_wrong = right.clone()
    one_wrong[0] = (right[0] + 1) % 3
    found = metric_intervals(LOGITS, one_wrong, n_resamples=40)["auroc"]
    assert 0 <= found.value <= 1
    assert math.isnan(found.low)  # some resamples lack the wrong row


def test_intervals_of_several_figures_come_from_the_same_draws():
    twice = f.bootstrap_intervals(
        lambda x: {"mean": x.mean(), "double": 2 * x.mean()}, LOGITS[:, 0].double(), n_resamples=40
    )
    assert twice["double"] == pytest.approx([2 * end for end in twice["mean"]])
    with pytest.raises(ValueError, match='method must be "percentile" or "basic"'):
        f.bootstrap_intervals(lambda x: {"mean": x.mean()}, LOGITS, methods={"mean": "t"})
