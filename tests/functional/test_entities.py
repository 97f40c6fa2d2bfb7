# SPDX-License-Identifier: Apache-2.0
"""Named entities: a table by hand, and seqeval itself where it is installed."""

import random

import pytest

from logitmix_nlp.calibration.evaluate_metrics import EntityMetric
from logitmix_nlp.functional.entities import are_entity_tags, count_entities, entities, entity_scores

SPANS = {
    "O O": [],
    "B-x I-x O B-y": [("x", 0, 1), ("y", 3, 3)],
    "B-x B-x": [("x", 0, 0), ("x", 1, 1)],
    "O I-x I-x": [("x", 1, 2)],  # the lenient rule: I- behind O begins one
    "I-x I-y": [("x", 0, 0), ("y", 1, 1)],
    "B-x I-y I-x": [("x", 0, 0), ("y", 1, 1), ("x", 2, 2)],
    "B-x I-x E-x I-x": [("x", 0, 2), ("x", 3, 3)],
    "S-x S-x E-x": [("x", 0, 0), ("x", 1, 1), ("x", 2, 2)],
    "B-x-1 I-x-1 I-x-2": [("x-1", 0, 1), ("x-2", 2, 2)],
    "": [],
}
TRUE = [["B-x", "I-x", "O", "B-y"], ["O", "B-x", "O"], ["O"], ["B-y"]]
FOUND = [["B-x", "I-x", "O", "B-x"], ["O", "B-x", "I-x"], ["B-y"], ["B-y"]]


@pytest.mark.parametrize("tags", SPANS)
def test_spans_are_those_of_the_table(tags):
    assert entities(tags.split()) == SPANS[tags]


def test_scores_by_hand():
    """Right: x in the first, y in the last sentence; predicted: 5, of which 2 of x wrong; there: 4."""
    counts = count_entities(FOUND, TRUE)
    assert entity_scores(counts) == pytest.approx({"precision": 2 / 5, "recall": 2 / 4, "f1": 4 / 9})
    assert entity_scores(count_entities([["O"]], [["O"]])) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    with pytest.raises(ValueError, match="Sentence 2 has 1 predicted and 2 true tags"):
        count_entities([["O"], ["O"]], [["O"], ["O", "O"]])


def test_the_metric_is_that_of_evaluate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metric = EntityMetric()
    metric.add_batch(predictions=FOUND[:2], references=TRUE[:2])
    scores = metric.compute(predictions=FOUND[2:], references=TRUE[2:])
    assert scores["x"] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 2 / 5, "number": 2})
    assert scores["y"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "number": 2})
    overall = {name: scores[f"overall_{name}"] for name in ("precision", "recall", "f1", "accuracy")}
    assert overall == pytest.approx({"precision": 2 / 5, "recall": 2 / 4, "f1": 4 / 9, "accuracy": 6 / 9})
    assert list(tmp_path.iterdir()) == []


def test_names_that_mark_no_entities_are_recognised():
    assert are_entity_tags(["O", "B-x", "I-x"])
    assert not are_entity_tags(["O"])
    assert not are_entity_tags(["NOUN", "VERB"])
    assert not are_entity_tags(["O", "B-", "I-x"])


def test_seqeval_counts_the_same():
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    draw = random.Random(0)
    tags = ["O", "O", *(f"{mark}-{kind}" for mark in "BIES" for kind in "xy")]
    for _ in range(2000):
        row = draw.choices(tags, k=draw.randint(1, 9))
        assert entities(row) == labeling.get_entities(row)
