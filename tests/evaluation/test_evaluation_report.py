# SPDX-License-Identifier: Apache-2.0
"""Tables and plots of a study that is written out by hand."""

import numpy as np
import pytest
import torch

from logitmix_nlp.evaluation import report
from logitmix_nlp.evaluation.report import evaluation_report, evaluation_tables, make_plots
from logitmix_nlp.evaluation.study import SHOWN, Study
from logitmix_nlp.functional.bootstrap import Interval


@pytest.fixture
def study():
    """Three rows of two classes, the least confident of which is wrong, and one row from outside."""
    scores, labels = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), torch.tensor([0, 1, 1])
    metrics = {"plain": {name: Interval(0.5, 0.25, 0.75) for name in SHOWN}}
    classes = {"plain": {name: {"rows": 1, "accuracy": 0.5, "f1": None, "ece": 0.25} for name in ("no", "yes")}}
    outside = {name: 0.5 for name in ("in_confidence", "in_entropy", *report.OUTSIDE_METRICS)}
    outer = {"noise": {"plain": torch.zeros(1, 2)}}
    return Study({"plain": scores}, labels, metrics, classes, outer, {"noise": {"plain": outside}}, {}, 15)


def test_heads_and_rows_of_the_tables(study):
    tables = evaluation_tables(study, "x.csv")
    assert list(tables) == ["calibration", "classes", "ood"]
    heads = {name: [column.title for column in table.columns] for name, table in tables.items()}
    assert heads["classes"] == ["accuracy ↑", "F1 ↑", "ECE ↓"]
    assert heads["ood"] == [
        "mean confidence", "mean entropy, nats", "AUROC ↑", "FPR95 ↓", "AUROC by entropy ↑", "FPR95 by entropy ↓",
        "AUROC by energy ↑", "FPR95 by energy ↓",
    ]  # fmt: skip
    assert [name for name, _ in tables["ood"].rows] == ["in distribution", "noise"]
    assert [name for name, _ in tables["classes"].rows] == ["no (1 row)", "yes (1 row)"]
    printed = {
        name: [[" ".join([c.text, *c.details]) for c in row] for _, row in t.cells()] for name, t in tables.items()
    }
    assert printed["calibration"] == [["0.5000 [0.2500, 0.7500]"]] * len(SHOWN)
    assert printed["classes"] == [["0.5000", "–", "0.2500"]] * 2
    assert printed["ood"] == [["0.5000"] * 2 + ["–"] * 6, ["0.5000"] * 8]
    assert [table.title for table in tables.values()] == [
        "Accuracy and calibration", "Class by class", "Rows from outside the training distribution",
    ]  # fmt: skip
    assert tables["ood"].notes[0] == "Rows: in distribution 3, noise 1."
    assert tables["calibration"].notes[-1] == "The temperature was fitted on x.csv."


def test_mean_probabilities_have_no_energy(study):
    outside = {name: value for name, value in study.outside["noise"]["plain"].items() if "energy" not in name}
    table = evaluation_tables(study._replace(outside={"noise": {"plain": outside}}), None)["ood"]
    (_, cells) = table.rows[-1]
    assert [cell is None for cell in cells] == [False] * 6 + [True] * 2


def test_curves_hold_every_row_and_say_what_they_are(study, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "learning_curves", lambda panels, target, **options: drawn.extend(panels))
    plots = make_plots(study)
    assert {name: (plot.width, plot.dark) for name, plot in plots.items()} == {
        "reliability": (540, True), "risk_coverage": (520, True), "confidence": (520, True),
    }  # fmt: skip
    page = evaluation_report(study, "T", [("a", "b")], plots)
    assert (page.title, page.facts) == ("T", (("a", "b"),))
    assert [(part.name, part.title, len(part.tables), len(part.plots)) for part in page.sections] == [
        ("calibration", "Calibration", 1, 0), ("classes", "Class by class", 1, 0), ("diagrams", "Diagrams", 0, 2),
        ("ood", "Out of distribution", 1, 1),
    ]  # fmt: skip
    for name in ("risk_coverage", "confidence"):
        plots[name].draw(None)
    risk, confidence = drawn
    words = ["share of rows kept, the most confident first", "error rate among them"]
    assert list(risk[1:3]) == words
    assert list(confidence[:3]) == ["plain", "confidence", "share of rows at least that sure"]
    curve = risk.curves["plain"]
    np.testing.assert_allclose(curve.x, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(curve.mean, [0, 0, 1 / 3])
    noise = confidence.curves["noise"]
    assert (noise.x[0], noise.x[-1], len(noise.x)) == (0, 1, 51)
    np.testing.assert_allclose(noise.mean, noise.x <= 0.5)
