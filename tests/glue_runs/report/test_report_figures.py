# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import run_samples
import torch

import glue_runs.report.plots
from glue_runs.report.grid import load_grid
from glue_runs.report.plots import learning_plots, reliability_plots
from logitmix_nlp.functional import confidence_bins


@pytest.fixture
def drawn(monkeypatch):
    """What is handed to the two drawing functions for wide screens, instead of pictures."""
    calls = []

    def draw(content, stream, **options):
        calls.extend([content] * ("max_columns" not in options))

    for name in ("reliability_diagrams", "learning_curves"):
        monkeypatch.setattr(glue_runs.report.plots, name, draw)
    return calls


def test_bins_are_added_over_seeds(tmp_path, drawn):
    for seed in (1, 2):
        run_samples.write_run(tmp_path, "rte", "vanilla", seed)
    run_samples.write_run(tmp_path, "rte", "mixup", 1, keep=False)
    run_samples.write_run(tmp_path, "stsb", "vanilla", 1)
    (plot,) = reliability_plots(load_grid(tmp_path), 15)
    plot.draw(None)
    assert (plot.caption, plot.width) == ("RTE", 540)
    labels, logits = zip(*(run_samples.sample_predictions("rte", 60, 10 * seed, 2.0) for seed in (1, 2)), strict=True)
    expected = confidence_bins(torch.from_numpy(np.concatenate(logits)), torch.from_numpy(np.concatenate(labels)), 15)
    assert list(drawn[0]) == ["vanilla"]
    torch.testing.assert_close(tuple(drawn[0]["vanilla"]), tuple(expected))


def test_learning_curves_hold_what_was_logged(tmp_path, drawn):
    """Losses 1.0 and 2.0 at step 5 of the two seeds: 1.5; the score in percent; a score logged once is no curve."""
    for seed in (1, 2):
        log = [{"loss": float(seed * place), "step": 5 * place, "epoch": place / 2} for place in (1, 2)]
        log += [{"eval_accuracy": 0.5 * place, "step": 5 * place, "epoch": float(place)} for place in (1, 2)]
        run_samples.write_run(tmp_path, "rte", "vanilla", seed, history=log)
        run_samples.write_run(tmp_path, "qnli", "vanilla", seed, history=log[:3])
    plots = learning_plots(load_grid(tmp_path))
    for plot in plots:
        plot.draw(None)
    assert [plot.caption for plot in plots] == ["QNLI", "RTE"]
    assert [plot.narrow for plot in plots] == [False, True]  # of several panels
    assert [plot.width for plot in plots] == [400, 800]
    assert [panel[1:3] for panel in drawn[1]] == [("step", "loss"), ("epoch", "accuracy, in percent")]
    assert [[panel.title for panel in panels] for panels in drawn] == [["training loss"], ["training loss", "RTE"]]
    loss, score = (panel.curves["vanilla"] for panel in drawn[1])
    assert (loss.x.tolist(), loss.mean.tolist()) == ([5, 10], [1.5, 3.0])
    assert (score.x.tolist(), score.mean.tolist(), score.std.tolist()) == ([1, 2], [50, 100], [0, 0])


def test_runs_without_a_log_have_no_curves(tmp_path):
    run_samples.write_run(tmp_path, "rte", "vanilla", 1)
    assert learning_plots(load_grid(tmp_path)) == []
