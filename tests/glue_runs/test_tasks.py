# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest

from glue_runs.metrics import SCORES
from glue_runs.tasks import GLUE_TASKS, get_task

TASKS = list(GLUE_TASKS.values())


def test_names_are_those_of_the_hub():
    assert list(GLUE_TASKS) == ["cola", "mrpc", "rte", "sst2", "stsb"]
    assert all(task.name == name for name, task in GLUE_TASKS.items())


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cola", ("unacceptable", "acceptable")),
        ("sst2", ("negative", "positive")),
        ("mrpc", ("not_equivalent", "equivalent")),
        ("rte", ("entailment", "not_entailment")),
        ("stsb", None),
    ],
)
def test_label_order_is_that_of_the_hub(name, labels):
    assert get_task(name).label_names == labels


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_record_fits_together(task):
    assert set(task.metrics) <= set(SCORES)
    assert (task.label_names is None) == (task.label_strings is None) == (task.score_range is not None)
    assert task.label_names is None or len(task.label_names) == len(task.label_strings)
    assert all(len(split.layout.texts) == len(task.text_columns) for split in task.splits)
    assert [split.name for split in task.splits if split.layout.label is None] == ["test"]
    assert task.evaluation_splits == ("validation",)
    assert task.prediction_files == (("test", f"{task.folder}.tsv"),)


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_task("cola").folder = "other"
    with pytest.raises(TypeError):
        GLUE_TASKS["mine"] = get_task("cola")


def test_case_of_the_name_does_not_matter():
    assert get_task("CoLA") is get_task("cola")


def test_unknown_task_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"'colla'.*cola, mrpc, rte, sst2, stsb"):
        get_task("colla")


def test_unknown_split_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"'dev'.*train, validation, test"):
        get_task("cola").split("dev")
