# SPDX-License-Identifier: Apache-2.0
import evaluate
import numpy as np
import pytest
from transformers import EvalPrediction

from glue_runs.tasks.evaluate_metric import GlueMetric
from glue_runs.tasks.glue import GLUE_TASKS, get_task
from glue_runs.tasks.scores import make_compute_metrics
from logitmix_nlp import CalibrationMetric

RANDOM = np.random.default_rng(0)
SCORED = sorted(name for name, task in GLUE_TASKS.items() if task.evaluation_splits)


def rows(task, count=40):
    """Random logits and labels of a task."""
    if task.label_names is None:
        return RANDOM.normal(size=(count, 1)), RANDOM.uniform(0, 5, size=count)
    return RANDOM.normal(size=(count, len(task.label_names))), RANDOM.integers(len(task.label_names), size=count)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCORED)
def test_the_scores_are_those_of_the_trainer(name, dtype):
    task = get_task(name)
    logits, labels = rows(task)
    logits, is_regression = logits.astype(dtype), task.label_names is None
    expected = make_compute_metrics(task.metrics, is_regression)(EvalPrediction(logits, labels))
    metrics = [GlueMetric(name)] if is_regression else [GlueMetric(name), CalibrationMetric()]
    combined = evaluate.combine(metrics)
    assert combined.compute(predictions=logits, references=labels) == expected
    combined.add_batch(predictions=logits[:30], references=labels[:30])
    for row, label in zip(logits[30:], labels[30:], strict=True):
        combined.add(row, label)
    assert combined.compute() == expected
    flat = logits[:, 0] if is_regression else logits.argmax(-1)
    alone = GlueMetric(name).compute(predictions=flat, references=labels)
    assert alone == {key: expected[key] for key in alone}
    assert ("combined_score" in alone) == (len(task.metrics) == 2)


def test_score_by_hand():
    metric = GlueMetric("mrpc")
    for prediction, reference in [(1, 1), (1, 0), (0, 1), (1, 1)]:
        metric.add(prediction=prediction, reference=reference)
    f1 = 2 * 2 / (2 * 2 + 1 + 1)
    assert metric.compute() == pytest.approx({"accuracy": 0.5, "f1": f1, "combined_score": (0.5 + f1) / 2})


def test_f1_of_another_class():
    predictions, references = RANDOM.integers(2, size=(2, 30))
    swapped = GlueMetric("mrpc", positive_label=0).compute(predictions=1 - predictions, references=1 - references)
    assert swapped == GlueMetric("mrpc").compute(predictions=predictions, references=references)


def test_two_tasks_can_be_combined_under_their_names():
    both = evaluate.combine({"rte": GlueMetric("rte"), "mrpc": GlueMetric("mrpc")})
    scores = both.compute(predictions=[1, 0], references=[1, 1])
    assert scores["rte_accuracy"] == scores["mrpc_accuracy"] == 0.5


@pytest.mark.parametrize(
    ("name", "predictions", "references", "message"),
    [
        ("cola", None, None, "no rows to score"),
        ("cola", [1, 0], [1], "2 predictions and 1 references"),
        ("cola", [[0.0, np.nan]], [1], "NaN or infinite in 1 of 1 rows"),
        ("cola", [0, 2], [0, 1], "cola: found predictions such as 2 of type int64; pass class ids, integers"),
        ("cola", [0.0, 0.7], [0, 1], "such as 0.7 of type float64"),
        ("cola", [1.0, 0.0], [0, 1], "such as 1.0 of type float64"),
        ("cola", [[0.0, 1.0, 2.0]], [1], r"found predictions of shape \(1, 3\), need 2 per row"),
        ("cola", [0, 1], [0, -1], r"Found labels \[-1\], the model has the classes 0 to 1"),
        ("cola", [0, 1], [0, 0.5], r"Found labels \[0.5\]"),
        ("stsb", [0.5, np.inf], [1.0, 2.0], "NaN or infinite in 1 of 2 rows"),
        ("stsb", [0.5, 1.0], [1.0, np.nan], "labels hold NaN"),
        ("stsb", [[0.5, 1.0]], [1.0], r"stsb: found predictions of shape \(1, 2\), need 1 per row"),
    ],
)
def test_what_cannot_be_scored_is_refused(name, predictions, references, message):
    with pytest.raises(ValueError, match=message) as error:
        GlueMetric(name).compute(predictions=predictions, references=references)
    assert "\n" not in str(error.value)


def test_unknown_task_lists_those_that_exist():
    with pytest.raises(ValueError, match="Unknown GLUE task 'squad'; choose one of: cola"):
        GlueMetric("squad")
