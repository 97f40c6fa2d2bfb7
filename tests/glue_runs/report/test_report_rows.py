# SPDX-License-Identifier: Apache-2.0
"""Runs are compared row by row: by the ids of the rows, wherever they stand in a file, and on the same labels only."""

import numpy as np
import pyarrow.parquet
import pytest
import run_samples

from glue_runs.report.differences import difference_tables, kept_predictions
from glue_runs.report.grid import load_grid


@pytest.fixture
def root(tmp_path):
    for method, scale in (("vanilla", 6.0), ("mixup", 1.5)):
        for seed in (1, 2):
            run_samples.write_run(tmp_path, "rte", method, seed, scale=scale)
    return tmp_path


def rewrite(root, order, change=lambda labels: labels):
    """Write the rows of one run in another order, with other labels."""
    path = root / "rte" / "mixup" / "seed-2" / "eval_predictions.parquet"
    rows = pyarrow.parquet.read_table(path)
    labels, logits = change(rows["label"].to_numpy().copy()), np.stack(rows["logits"].to_numpy())
    run_samples.save_predictions(path, rows["idx"].to_numpy()[order], labels[order], logits[order])


def test_predictions_are_aligned_by_id(root):
    before, kept = difference_tables(load_grid(root), 100, 15), run_of(root)
    rewrite(root, np.random.default_rng(0).permutation(60))
    assert difference_tables(load_grid(root), 100, 15) == before
    for one, other in zip(run_of(root), kept, strict=True):
        assert np.array_equal(one, other)


def test_a_seed_that_one_of_two_methods_lacks_is_left_out(root):
    before = difference_tables(load_grid(root), 100, 15)
    run_samples.write_run(root, "rte", "mixup", 3, scale=0.5)
    assert difference_tables(load_grid(root), 100, 15) == before


def run_of(root):
    return kept_predictions(load_grid(root).runs["rte", "mixup", 2], "eval")


def test_two_runs_of_other_labels_are_not_compared(root):
    """Two rows change their labels, so that the mean figures may stay what they are."""

    def swap(labels):
        first, second = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[0]
        labels[[first, second]] = 1, 0
        return labels

    rewrite(root, np.arange(60), swap)
    with pytest.raises(ValueError, match=r"were evaluated on different rows or labels; differences need the same"):
        difference_tables(load_grid(root), 100, 15)
