# SPDX-License-Identifier: Apache-2.0
"""Bins of confidence: edges, exact sums over shards in any order, rows that do not see their neighbours."""

import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
import torch.distributed as dist

from logitmix_nlp.functional import (
    ConfidenceBins,
    confidence_bins,
    expected_calibration_error,
    maximum_calibration_error,
    overconfidence_error,
    row_confidences,
)
from logitmix_nlp.functional import predictions as module
from logitmix_nlp.functional.calibration import bin_index


def data(n: int, classes: int, seed: int = 0, accuracy: float = 0.6) -> tuple[torch.Tensor, torch.Tensor]:
    """Float32 logits and labels of which about this share are predicted rightly."""
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((n, classes)) * 3).astype(np.float32)
    labels = np.where(rng.random(n) < accuracy, logits.argmax(1), rng.integers(classes, size=n))
    return torch.from_numpy(logits), torch.from_numpy(labels)


def binary(*confidences: float, dtype=torch.float32) -> torch.Tensor:
    confidence = torch.tensor(confidences, dtype=dtype)
    return torch.stack([1 - confidence, confidence], dim=1)


def assert_equal(one: ConfidenceBins, other: ConfidenceBins) -> None:
    for name, mine, theirs in zip(one._fields, one, other, strict=True):
        assert torch.equal(mine, theirs), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n_bins", [1, 2, 3, 7, 10, 15, 100, 1000])
def test_bin_index_is_a_search_among_the_edges(n_bins, dtype):
    edges = (torch.arange(1, n_bins, dtype=torch.float64) / n_bins).to(dtype)
    step = torch.tensor(torch.finfo(dtype).eps, dtype=dtype)
    probs = torch.cat([torch.rand(2000, dtype=torch.float64).to(dtype), edges, edges * (1 - step), edges * (1 + step)])
    probs = torch.cat([probs, torch.tensor([0.0, torch.finfo(dtype).tiny, 0.5, 1.0], dtype=dtype)]).clamp(0, 1)
    expected = [sum(prob > edge for edge in edges.tolist()) for prob in probs[-50:].tolist()]
    assert bin_index(probs, n_bins)[-50:].tolist() == expected
    assert torch.equal(bin_index(probs, n_bins), torch.bucketize(probs, edges))


def test_probability_zero_lies_in_the_first_bin_and_one_in_the_last():
    assert bin_index(torch.tensor([0.0, 1e-30, 0.1, 0.9, 1.0]), 10).tolist() == [0, 0, 0, 8, 9]


@pytest.mark.parametrize(
    ("confidences", "labels", "ece", "mce", "oe"),
    [
        # .5 wrong (the first class is predicted) closes (.4, .5], .55 right: bins [a, b) say .025
        ((0.5, 0.55), (1, 1), 0.475, 0.5, 0.5 * 0.5 * 0.5),
        # 1.0 shares a bin with .95: |3/4 - .975|; a bin of its own says .275
        ((1.0, 1.0, 0.95, 0.95), (1, 0, 1, 1), 0.225, 0.225, 0.975 * 0.225),
        # .95 right, 1.0 wrong: |1/2 - .975|; a bin of its own says .525
        ((0.95, 1.0), (1, 0), 0.475, 0.475, 0.975 * 0.475),
        # .6 in float32 lies above .6 in float64, and closes (.5, .6]
        ((0.6, 0.65), (0, 1), 0.475, 0.6, 0.5 * 0.6 * 0.6),
        # an empty bin has no error, not |0 - .05|
        ((1.0,), (1,), 0.0, 0.0, 0.0),
    ],
)
def test_edges_where_implementations_disagree(confidences, labels, ece, mce, oe):
    for dtype in (torch.float32, torch.float64):
        probs, classes = binary(*confidences, dtype=dtype), torch.tensor(labels)
        assert expected_calibration_error(probs, classes, 10).item() == pytest.approx(ece, abs=1e-7)
        assert maximum_calibration_error(probs, classes, 10).item() == pytest.approx(mce, abs=1e-7)
        assert overconfidence_error(probs, classes, 10).item() == pytest.approx(oe, abs=1e-7)


def test_maximum_is_that_of_the_worst_bin():
    probs, labels = binary(0.62, 0.64, 0.93, 0.97, 0.99), torch.tensor([1, 0, 1, 0, 0])
    assert maximum_calibration_error(probs, labels, 10).item() == pytest.approx(2.89 / 3 - 1 / 3, abs=1e-7)
    assert maximum_calibration_error(*data(5000, 4)) >= expected_calibration_error(*data(5000, 4))


def test_sums_of_a_million_confidences_do_not_drift():
    logits, labels = data(1_000_000, 2, seed=5)
    bins = confidence_bins(logits, labels, 1)
    exact = math.fsum(logits.double().softmax(-1).amax(-1).tolist())
    assert bins.confidence.item() / 1e6 == pytest.approx(exact / 1e6, abs=1e-12)  # float32 sums are 1e-5 off


def test_counts_go_on_beyond_the_whole_numbers_of_float32():
    many = ConfidenceBins(*(torch.tensor([2.0**24], dtype=torch.float64) for _ in range(3)))
    assert (many + confidence_bins(binary(1.0), torch.tensor([1]), 1)).count.item() == 2**24 + 1


@pytest.mark.parametrize("classes", [2, 3, 10, 101])
def test_shards_in_any_order_give_the_whole_bitwise(classes):
    logits, labels = data(20_000, classes)
    whole = confidence_bins(logits, labels)
    generator = torch.Generator().manual_seed(classes)
    for size in (1, 333, 6667):
        rows = torch.randperm(len(labels), generator=generator)[: 50 if size == 1 else None]
        rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, rows, False)
        shards = [confidence_bins(logits[part], labels[part]) for part in rows.split(size)]
        if rest.any():
            shards.append(confidence_bins(logits[rest], labels[rest]))
        assert_equal(reduce(add, shards), whole)
        assert_equal(reduce(add, reversed(shards)), whole)


@pytest.mark.parametrize("classes", [3, 10, 37])
def test_a_confidence_does_not_depend_on_the_rows_beside_it(classes):
    logits, labels = data(5003, classes)
    whole = row_confidences(logits, labels).confidence
    for size in (3, 50, 777):
        rows = torch.randperm(5003, generator=torch.Generator().manual_seed(size))[:300]
        parts = [row_confidences(logits[part], labels[part]).confidence for part in rows.split(size)]
        assert torch.equal(torch.cat(parts), whole[rows])


def test_probabilities_rounded_above_one_count_as_one():
    bins = confidence_bins(torch.tensor([[1.00005, 0.0]]), torch.tensor([0]), 10)
    assert bins.confidence.tolist() == [0.0] * 9 + [1.0]


def test_chunks_of_any_size_give_the_whole_bitwise(monkeypatch):
    logits, labels = data(3000, 5)
    whole = confidence_bins(logits, labels)
    for elements in (1, 64, 1001):
        monkeypatch.setitem(module.CHUNK, "cpu", elements)
        assert_equal(confidence_bins(logits, labels), whole)
        probs = logits.double().softmax(-1)
        assert expected_calibration_error(probs, labels).item() == pytest.approx(
            whole.calibration_error().item(), abs=1e-9
        )


def test_gloo_ranks_add_their_bins_bitwise():
    """The collective that processes use, between two threads."""
    logits, labels = data(2001, 5)
    store, whole = dist.HashStore(), confidence_bins(logits, labels)

    def rank(number: int) -> torch.Tensor:
        mine = slice(0, 700) if number == 0 else slice(700, None)
        bins = torch.stack(confidence_bins(logits[mine], labels[mine]))
        group = dist.ProcessGroupGloo(store, number, 2, timedelta(seconds=60))
        group.allreduce([bins]).wait()
        return bins

    with ThreadPoolExecutor(2) as threads:
        for total in threads.map(rank, range(2)):
            assert_equal(ConfidenceBins(*total), whole)


def test_bins_of_different_counts_are_not_added():
    logits, labels = data(10, 2)
    with pytest.raises(ValueError, match="same n_bins"):
        confidence_bins(logits, labels, 10) + confidence_bins(logits, labels, 15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_predicted_class_is_the_first_of_those_tied(dtype):
    logits = torch.randint(3, (4000, 6), generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = torch.randint(6, (4000,), generator=torch.Generator().manual_seed(1))
    right = torch.from_numpy(logits.float().numpy().argmax(1)) == labels
    assert confidence_bins(logits, labels).correct.sum() == right.sum()
    assert confidence_bins(logits.double().softmax(-1), labels).correct.sum() == right.sum()


@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_the_scores_are_left_as_they_are(layout):
    logits, labels = data(500, 4)
    logits = logits.double()
    if layout == "columns":
        logits = logits.T.contiguous().T
    elif layout == "strided":
        logits = logits.repeat_interleave(2, 1)[:, ::2]
    before = logits.clone()
    bins = confidence_bins(logits, labels)
    assert torch.equal(logits, before)
    assert_equal(bins, confidence_bins(before.contiguous(), labels))
