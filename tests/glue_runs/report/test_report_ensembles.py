# SPDX-License-Identifier: Apache-2.0
"""`python -m glue_runs report DIR --ensemble`: a row for the averaged seeds of each method."""

import csv

import numpy as np
import pytest
import run_samples
from scipy.special import softmax
from scipy.stats import spearmanr

from glue_runs.report.command import main
from glue_runs.report.ensembles import with_ensembles
from glue_runs.report.grid import load_grid
from glue_runs.report.tables import calibration_tables, score_table
from logitmix_nlp.reports.tables import to_csv


def printed(table):
    return {name: [" ".join([cell.text, *cell.details]) for cell in row] for name, row in table.cells()}


def keep(root, task, method, seed, labels, probs):
    """Replace the predictions of a made-up run; its rows are written in the order of the seed."""
    folder = root / task / method / f"seed-{seed}"
    order = np.random.default_rng(seed).permutation(len(labels))
    logits = np.log(np.array(probs, np.float32)) + seed  # a shift changes no probability
    run_samples.save_predictions(folder / "eval_predictions.parquet", order, np.array(labels)[order], logits[order])


def test_mean_probabilities_by_hand(tmp_path):
    """Two rows of label 1, three seeds: means (.9 + .6 + .3) / 3 = .6 and (.2 + .4 + .6) / 3 = .4.

    The first is right, the second wrong: accuracy 50%, NLL -(log .6 + log .4) / 2 = .714, Brier score of each row
    twice the square of what is missing: (2 * .16 + 2 * .36) / 2 = .52. ECE: (.4 + .6) / 2 = .5 in two bins.
    """
    for seed, (first, second) in enumerate(((0.9, 0.2), (0.6, 0.4), (0.3, 0.6)), start=1):
        run_samples.write_run(tmp_path, "rte", "vanilla", seed, eval_accuracy=0.5 + seed / 10)
        keep(tmp_path, "rte", "vanilla", seed, [1, 1], [[1 - first, first], [1 - second, second]])
    run_samples.write_run(tmp_path, "rte", "mixup", 1, eval_accuracy=0.4)
    grid = with_ensembles(load_grid(tmp_path), 15)
    assert grid.ensembles == ("vanilla, seeds averaged",)
    table = score_table(grid)
    rows = {"vanilla": ["70.00 ± 10.00"], "vanilla, 3 seeds averaged": ["50.00"], "mixup": ["40.00 (n=1)"]}
    assert printed(table) == rows
    assert list(printed(table)) == list(rows)
    assert "one prediction" in table.notes[-1]
    calibration = {table.name: printed(table) for table in calibration_tables(grid, 15)}
    assert calibration["nll"]["vanilla, 3 seeds averaged"] == ["0.714"]
    assert calibration["brier"]["vanilla, 3 seeds averaged"] == ["0.520"]
    assert calibration["ece"]["vanilla, 3 seeds averaged"] == ["0.500"]


def test_the_report_has_a_row_per_method_and_keeps_its_others(tmp_path, capsys):
    for seed in (1, 2, 3):
        for task, method in (("rte", "vanilla"), ("rte", "mixup"), ("mnli", "vanilla"), ("stsb", "vanilla")):
            if (task, seed) != ("mnli", 3):
                run_samples.write_run(tmp_path, task, method, seed, train_runtime=None)
    plain = to_csv([score_table(load_grid(tmp_path)), *calibration_tables(load_grid(tmp_path), 15)])
    assert main([str(tmp_path), "--n_bootstrap", "100", "--ensemble"]) == 0
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    others = [row for row in rows if "seeds averaged" not in row["row"]]
    assert [row for row in csv.DictReader(plain.splitlines()) if row not in others] == []
    found = {(row["table"], row["row"], row["column"]): row for row in rows if row not in others}
    names = {(row, column) for _, row, column in found}
    assert names == {
        ("mixup, 3 seeds averaged", "RTE"),
        *(("vanilla, 2–3 seeds averaged", column) for column in ("MNLI-m", "MNLI-mm", "STS-B", "RTE")),
    }
    kept = [run_samples.sample_predictions("rte", 60, 10 * seed, 2.0) for seed in (1, 2, 3)]
    right = np.mean([softmax(logits, -1) for _, logits in kept], 0).argmax(1) == kept[0][0]
    assert float(found["scores", "mixup, 3 seeds averaged", "RTE"]["mean"]) == right.mean()
    kept = [run_samples.sample_predictions("stsb", 60, 10 * seed, 2.0) for seed in (1, 2, 3)]
    rank = spearmanr(np.mean([scores[:, 0] for _, scores in kept], 0), kept[0][0]).statistic
    score = found["scores", "vanilla, 2–3 seeds averaged", "STS-B"]
    assert float(score["mean"]) == pytest.approx(rank)
    assert score["std"] == score["n"] == ""
    assert "vanilla, 2–3 seeds averaged" in (tmp_path / "report.html").read_text()


def test_what_cannot_be_averaged_is_one_line(tmp_path, capsys):
    def error(root):
        assert main([str(root), "--n_bootstrap", "100", "--ensemble"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    run_samples.write_run(tmp_path, "rte", "vanilla", 1)
    assert "has one seed of each" in error(tmp_path)
    folder = run_samples.write_run(tmp_path, "rte", "vanilla", 2, keep=False)
    assert f"{folder / 'eval_predictions.parquet'} is not there" in error(tmp_path)
    keep(tmp_path, "rte", "vanilla", 2, [1, 1], [[0.5, 0.5], [0.5, 0.5]])
    assert "were evaluated on different rows or labels" in error(tmp_path)
