# SPDX-License-Identifier: Apache-2.0
"""Comparisons against hand-written numbers, resampled figures against the library's on the repeated rows."""

import io
import json

import numpy as np
import pytest
import study_samples as samples
import torch

from glue_runs.study.analysis import RESAMPLED, Comparison, compare, seeds_of
from glue_runs.study.metrics import kept_columns, run_metrics
from glue_runs.study.page import answer_lines, forest_of, task_tables, write_page
from glue_runs.study.plan import read_study
from logitmix_nlp.functional import area_under_risk_coverage
from logitmix_nlp.functional.bootstrap import value_of
from logitmix_nlp.reports.tables import Estimate, csv_text

LABELS = np.array([0, 1, 0, 1])


@pytest.fixture
def made(tmp_path):
    """`made(scores)`: study, rows of vanilla and longer at the seeds 1 and 2 with these scores, and their file."""

    def make(scores, after_nll=(0.5,) * 4, **changes):
        path = samples.write_study(tmp_path, samples.study_values(tmp_path) | changes)
        choice = samples.rows_of(samples.planned(path, {}, 0), validation_score=[0.5, 0.6], validation_nll=[1.0, 1.0])
        runs = samples.planned(path, choice, 1)
        found = samples.rows_of(runs, score=scores, after_nll=after_nll, ece=[0.1, 0.2, 0.1, 0.2])
        for run, score, nll in zip(runs, scores, after_nll, strict=True):
            predicted = np.where(np.arange(4) < round(4 * score), LABELS, 1 - LABELS)
            columns = {"label": LABELS, "predicted": predicted, "after_nll": np.full(4, nll, np.float16)}
            stream = io.BytesIO()
            np.savez(stream, **columns)
            samples.write_bytes(tmp_path / "rows" / f"{run.digest}.npz", stream.getvalue())
        rows = {digest: choice.get(digest, {}) | row for digest, row in {**choice, **found}.items()}
        return read_study(path), rows, tmp_path / "results.csv"

    return make


def test_differences_are_paired_by_seed(made):
    """Scores of longer .75 and 1 against .5 and .5: the mean of .25 and .5, three quarters of vanilla's."""
    score, nll, ece = compare(*made([0.5, 0.75, 0.5, 1.0]))["a"]
    assert score.difference[:3] == pytest.approx((0.375, np.sqrt(2) / 8, 2))
    assert score.relative == pytest.approx(0.75)
    assert 0 <= score.difference.low < 0.375 < score.difference.high <= 1
    assert 0.01 < score.p < 0.5
    assert score.corrected == pytest.approx(2 * score.p)  # the other one's is 1
    assert (nll.difference.mean, nll.p, nll.verdict) == (0.0, 1.0, "not found")
    assert (ece.difference.mean, ece.difference.low, ece.verdict) == (pytest.approx(0.1), None, "not judged")


def test_too_few_seeds_are_not_judged(made):
    study, rows, results = made([0.5, 0.75, 0.5, 1.0])
    second = [digest for digest, row in rows.items() if row["seed"] == 2 and row["method"] == "longer"]
    score = compare(study, {digest: row for digest, row in rows.items() if digest not in second}, results)["a"][0]
    assert (score.difference.n, score.p, score.verdict) == (1, None, "not judged")
    study.values["analysis"]["min_seeds"] = 1
    assert compare(study, rows, results)["a"][0].p is not None


def test_what_is_not_run_is_listed(made):
    study, rows, results = made([0.5, 0.75, 0.5, 1.0])
    rows = {digest: row for digest, row in rows.items() if row["method"] == "vanilla"}
    comparisons = compare(study, rows, results)["a"]
    assert [one.verdict for one in comparisons] == ["not run"] * 3
    assert answer_lines(comparisons) == ["- not yet run anywhere: longer against vanilla"]
    assert forest_of(comparisons) == ([], [])


def test_rows_of_other_learning_rates_are_left_out(made):
    study, rows, _ = made([0.5, 0.75, 0.5, 1.0])
    found = seeds_of(study, rows)
    assert {row["learning_rate"] for seeds in found.values() for row in seeds.values()} == {0.02}
    assert {key: sorted(seeds) for key, seeds in found.items()} == {
        ("pets", "4", "vanilla"): [1, 2],
        ("pets", "4", "longer"): [1, 2],
    }


def test_kept_rows_that_belong_to_other_figures_are_refused(made):
    study, rows, results = made([0.5, 0.75, 0.5, 1.0])
    next(row for row in rows.values() if row["method"] == "longer")["score"] = 0.5
    with pytest.raises(
        ValueError, match="score of pets, longer, seed 1 is 0.5000, but its kept test rows give 0.7500"
    ):
        compare(study, rows, results)


@pytest.mark.parametrize(
    ("figure", "mean", "corrected", "agree", "verdict"),
    [
        ("score", 0.1, 0.01, True, "better"),
        ("score", -0.1, 0.01, True, "worse"),
        ("after_nll", -0.1, 0.01, True, "better"),
        ("auroc_energy", 0.1, 0.01, True, "better"),
        ("after_nll", 0.1, 0.05, True, "not found"),
        ("after_nll", 0.1, 0.01, False, "not found"),
        ("after_nll", 0.1, None, True, "not judged"),
    ],
)
def test_verdicts(figure, mean, corrected, agree, verdict):
    one = Comparison("t", "r", "m", "n", figure, Estimate(mean, 0.1, 3), None, corrected, corrected, agree)
    assert one.verdict == verdict


@pytest.fixture
def columns():
    """Kept columns of 60 test rows and 40 outside, and the logits they come from."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    logits = {
        "test": (rng.normal(size=(60, 3)) + 1.5 * np.eye(3)[labels]).astype(np.float32),
        "outside": rng.normal(size=(40, 3)).astype(np.float32),
    }
    logits |= {"validation": logits["test"], "misspelt": logits["test"]}
    figures = run_metrics(logits, {"validation": labels, "test": labels, "misspelt": labels}, "accuracy")
    return kept_columns({**logits, "test_labels": labels}, figures["temperature"]), figures


@pytest.mark.parametrize("figure", RESAMPLED)
def test_all_rows_once_give_the_figure_of_the_run(columns, figure):
    kept, figures = columns
    n_rows = 100 if figure.startswith("auroc") else 60
    assert value_of(RESAMPLED[figure](kept, "accuracy"), n_rows) == pytest.approx(figures[figure], abs=5e-4)


@pytest.mark.parametrize("figure", RESAMPLED)
def test_resamples_give_the_figure_of_the_repeated_rows(columns, figure):
    kept, _ = columns
    rng = np.random.default_rng(1)
    parts = {"": rng.integers(60, size=60), "outside_": rng.integers(40, size=40)}
    counts = np.concatenate([np.bincount(parts[""], minlength=60), np.bincount(parts["outside_"], minlength=40)])
    repeated = {
        name: values[np.sort(parts["outside_" if name.startswith("outside_") else ""])]
        for name, values in kept.items()
    }
    counts = counts.astype(np.float64)[:, None]
    if figure == "aurc":
        probability = torch.from_numpy(1 / (1 + np.exp(-repeated["confidence"].astype(np.float64))))
        right = torch.from_numpy(repeated["label"] == repeated["predicted"])
        scores = torch.stack([probability, *[(1 - probability) / 3] * 3], dim=1)  # the largest of 3 is above 1/3
        expected = area_under_risk_coverage(scores, (~right).long(), from_logits=False).item()
    else:
        size = 100 if figure.startswith("auroc") else 60
        expected = value_of(RESAMPLED[figure](repeated, "accuracy"), size)
    rows = counts if figure.startswith("auroc") else counts[:60]
    assert RESAMPLED[figure](kept, "accuracy")(torch.from_numpy(rows)).item() == pytest.approx(expected, abs=1e-9)


def test_the_page_says_what_the_rows_show(made):
    study, rows, results = made([0.5, 0.75, 0.5, 1.0], after_nll=[0.6, 0.4, 0.7, 0.5])
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    samples.write_text(results, csv_text(names, [[row.get(name) for name in names] for row in rows.values()]))
    samples.write_text(results.with_name("reading.md"), "## Reading\n\nLonger is better.\n")
    write_page(study, results)
    page = results.with_name("README.md").read_text()
    assert "5 of 5 planned" in page
    assert "### (a) Is longer better?" in page
    assert "## Reading\n\nLonger is better." in page
    assert "NLL after T: pets (4) −0.200 [−0.200, −0.200], −31%, 2 seeds: *better*" in page
    assert "ECE: pets (4) +0.100, +100%, 2 seeds: not judged" in page
    assert "| longer | **87.5** ± 17.7 |" in page
    summary = json.loads(results.with_name("summary.json").read_text())
    assert summary["learning_rates"] == {"pets": 0.02}
    longer = next(one for one in summary["means"] if one["method"] == "longer")
    assert (longer["seeds"], longer["score"], longer["after_nll"]) == ([1, 2], 0.875, pytest.approx(0.45))
    verdicts = {one["figure"]: one["verdict"] for one in summary["families"]["a"]["comparisons"]}
    assert verdicts == {"score": verdicts["score"], "after_nll": "better", "ece": "not judged"}
    for name in ("forest-a.svg", "forest-a-dark.svg"):
        assert results.with_name(name).read_bytes().startswith(b"<?xml")


def test_a_table_for_each_task_and_regime(made):
    study, rows, _ = made([0.5, 0.75, 0.5, 1.0])
    averaged = {"members": 2.0, "score": 0.8, "after_nll": 0.4}
    (table,) = task_tables(study, rows, {("pets", "4", "longer", 0.02): averaged})
    assert table.title == "pets, 2 classes, 4 labels per class: 8 training rows, learning rate 0.02"
    assert [name for name, _ in table.rows] == ["vanilla", "longer", "longer, 2 seeds averaged"]
    assert table.rows[2][1] == (Estimate(0.8, n=None), Estimate(0.4, n=None), None)


def test_no_page_without_rows(made):
    study, _, results = made([0.5, 0.75, 0.5, 1.0])
    with pytest.raises(FileNotFoundError, match="holds no rows yet"):
        write_page(study, results)
