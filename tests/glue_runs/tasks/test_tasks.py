# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest

from glue_runs.tasks.glue import GLUE_TASKS, get_task, resolve_split
from glue_runs.tasks.scores import SCORES

TASKS = list(GLUE_TASKS.values())


def test_names_are_those_of_the_hub():
    assert list(GLUE_TASKS) == ["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli", "ax"]
    assert all(task.name == name for name, task in GLUE_TASKS.items())


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cola", ("unacceptable", "acceptable")),
        ("sst2", ("negative", "positive")),
        ("mrpc", ("not_equivalent", "equivalent")),
        ("qqp", ("not_duplicate", "duplicate")),
        ("stsb", None),
        ("mnli", ("entailment", "neutral", "contradiction")),
        ("qnli", ("entailment", "not_entailment")),
        ("rte", ("entailment", "not_entailment")),
        ("wnli", ("not_entailment", "entailment")),
        ("ax", ("entailment", "neutral", "contradiction")),
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
    assert all((split.layout.label is None) == split.name.startswith("test") for split in task.splits)
    assert all((split.submission is None) == (split.layout.label is not None) for split in task.splits)
    assert len({split.name for split in task.splits}) == len(task.splits)


def test_leaderboard_files_and_their_rows():
    expected = {
        "CoLA.tsv": 1063, "SST-2.tsv": 1821, "MRPC.tsv": 1725, "QQP.tsv": 390965, "STS-B.tsv": 1379, "RTE.tsv": 3000,
        "MNLI-m.tsv": 9796, "MNLI-mm.tsv": 9847, "QNLI.tsv": 5463, "WNLI.tsv": 146, "AX.tsv": 1104,
    }  # fmt: skip
    splits = [split for task in TASKS for split in task.splits]
    assert {split.submission: split.num_rows for split in splits if split.submission} == expected
    assert {split.num_rows for split in splits if split.submission is None} == {None}


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        *((name, ("0", "1")) for name in ("cola", "sst2", "mrpc", "qqp", "wnli")),
        *((name, ("entailment", "not_entailment")) for name in ("qnli", "rte")),
        *((name, ("entailment", "neutral", "contradiction")) for name in ("mnli", "ax")),
    ],
)
def test_labels_as_official_files_and_leaderboard_write_them(name, spelling):
    assert get_task(name).label_strings == spelling


def test_mnli_also_predicts_the_diagnostics():
    assert get_task("mnli").evaluation_splits == ("validation_matched", "validation_mismatched")
    assert get_task("mnli").prediction_files == (
        ("test_matched", "MNLI-m.tsv"),
        ("test_mismatched", "MNLI-mm.tsv"),
        ("test_ax", "AX.tsv"),
    )
    owner, split = resolve_split(get_task("mnli"), "test_ax")
    assert (owner, split) == (get_task("ax"), get_task("ax").split("test"))
    assert get_task("mnli").label_names == owner.label_names
    assert owner.paths(split) == ("diagnostic/diagnostic.tsv", "AX/AX.tsv")
    assert resolve_split(get_task("mnli"), "train")[0] is get_task("mnli")


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_task("cola").folder = "other"
    with pytest.raises(TypeError):
        GLUE_TASKS["mine"] = get_task("cola")


def test_case_of_the_name_does_not_matter():
    assert get_task("CoLA") is get_task("cola")


def test_unknown_task_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"'colla'.*cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, ax"):
        get_task("colla")


def test_unknown_split_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"'dev'.*train, validation, test"):
        get_task("cola").split("dev")
