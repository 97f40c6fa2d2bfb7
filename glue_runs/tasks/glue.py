# SPDX-License-Identifier: Apache-2.0
"""What the rest of the package knows about a GLUE task: one frozen record each, and nothing about a task elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from glue_runs.tasks.types import GlueSplit, GlueTask, TsvLayout

__all__ = ["GLUE_TASKS", "PAPER_TASKS", "GlueSplit", "GlueTask", "TsvLayout", "get_task", "resolve_split"]


_PAIR, _QUESTIONS, _NLI = ("sentence1", "sentence2"), ("question1", "question2"), ("premise", "hypothesis")
_ENTAILMENT, _DIGITS = ("entailment", "not_entailment"), ("0", "1")
_THREE_WAYS = ("entailment", "neutral", "contradiction")
_LABELLED_PAIR = TsvLayout(texts=_PAIR, label="label", index="index")
_TEST_PAIR, _TEST_SENTENCE = TsvLayout(texts=_PAIR, index="index"), TsvLayout(texts=("sentence",), index="index")


def _three_splits(folder: str, labelled: TsvLayout, test: TsvLayout, num_rows: int) -> tuple[GlueSplit, ...]:
    return (
        GlueSplit("train", "train.tsv", labelled),
        GlueSplit("validation", "dev.tsv", labelled),
        GlueSplit("test", "test.tsv", test, f"{folder}.tsv", num_rows),
    )


_COLA = GlueTask(
    name="cola",
    folder="CoLA",
    text_columns=("sentence",),
    label_names=("unacceptable", "acceptable"),
    label_strings=_DIGITS,
    metrics=("matthews_correlation",),
    splits=_three_splits("CoLA", TsvLayout(texts=(3,), label=1, num_columns=4), _TEST_SENTENCE, 1063),
)

_SST2 = GlueTask(
    name="sst2",
    folder="SST-2",
    text_columns=("sentence",),
    label_names=("negative", "positive"),
    label_strings=_DIGITS,
    metrics=("accuracy",),
    splits=_three_splits("SST-2", TsvLayout(texts=("sentence",), label="label"), _TEST_SENTENCE, 1821),
)

_MRPC_TEXTS = ("#1 String", "#2 String")
_MRPC = GlueTask(
    name="mrpc",
    folder="MRPC",
    text_columns=_PAIR,
    label_names=("not_equivalent", "equivalent"),
    label_strings=_DIGITS,
    metrics=("accuracy", "f1"),
    splits=_three_splits(
        "MRPC", TsvLayout(texts=_MRPC_TEXTS, label="Quality"), TsvLayout(texts=_MRPC_TEXTS, index="index"), 1725
    ),
)

_QQP = GlueTask(
    name="qqp",
    folder="QQP",
    text_columns=_QUESTIONS,
    label_names=("not_duplicate", "duplicate"),
    label_strings=_DIGITS,
    metrics=("accuracy", "f1"),
    splits=_three_splits(
        "QQP",
        TsvLayout(texts=_QUESTIONS, label="is_duplicate", continued=True),
        TsvLayout(texts=_QUESTIONS, index="id", continued=True),
        390965,
    ),
)

_STSB = GlueTask(
    name="stsb",
    folder="STS-B",
    text_columns=_PAIR,
    label_names=None,
    label_strings=None,
    metrics=("pearson", "spearmanr"),
    splits=_three_splits("STS-B", TsvLayout(texts=_PAIR, label="score", index="index"), _TEST_PAIR, 1379),
    score_range=(0.0, 5.0),
)

_AX = GlueTask(
    name="ax",
    folder="diagnostic",
    text_columns=_NLI,
    label_names=_THREE_WAYS,
    label_strings=_THREE_WAYS,
    metrics=("matthews_correlation",),
    splits=(
        GlueSplit(
            "test",
            "diagnostic.tsv",
            _TEST_PAIR,
            submission="AX.tsv",
            num_rows=1104,
            other_path="AX/AX.tsv",
        ),
    ),
    trained_on="mnli",
)

_MNLI_LABELLED = TsvLayout(texts=_PAIR, label="gold_label", index="index")
_MNLI = GlueTask(
    name="mnli",
    folder="MNLI",
    text_columns=_NLI,
    label_names=_THREE_WAYS,
    label_strings=_THREE_WAYS,
    metrics=("accuracy",),
    splits=(
        GlueSplit("train", "train.tsv", _MNLI_LABELLED),
        GlueSplit("validation_matched", "dev_matched.tsv", _MNLI_LABELLED),
        GlueSplit("validation_mismatched", "dev_mismatched.tsv", _MNLI_LABELLED),
        GlueSplit("test_matched", "test_matched.tsv", _TEST_PAIR, "MNLI-m.tsv", 9796),
        GlueSplit("test_mismatched", "test_mismatched.tsv", _TEST_PAIR, "MNLI-mm.tsv", 9847),
        replace(_AX.split("test"), name="test_ax", source=("ax", "test")),
    ),
)

_QNLI = GlueTask(
    name="qnli",
    folder="QNLI",
    text_columns=("question", "sentence"),
    label_names=_ENTAILMENT,
    label_strings=_ENTAILMENT,
    metrics=("accuracy",),
    splits=_three_splits(
        "QNLI",
        TsvLayout(texts=("question", "sentence"), label="label", index="index"),
        TsvLayout(texts=("question", "sentence"), index="index"),
        5463,
    ),
)

_RTE = GlueTask(
    name="rte",
    folder="RTE",
    text_columns=_PAIR,
    label_names=_ENTAILMENT,
    label_strings=_ENTAILMENT,
    metrics=("accuracy",),
    splits=_three_splits("RTE", _LABELLED_PAIR, _TEST_PAIR, 3000),
)

_WNLI = GlueTask(
    name="wnli",
    folder="WNLI",
    text_columns=_PAIR,
    label_names=("not_entailment", "entailment"),
    label_strings=_DIGITS,
    metrics=("accuracy",),
    splits=_three_splits("WNLI", _LABELLED_PAIR, _TEST_PAIR, 146),
)

_ALL = (_COLA, _SST2, _MRPC, _QQP, _STSB, _MNLI, _QNLI, _RTE, _WNLI, _AX)
GLUE_TASKS: Mapping[str, GlueTask] = MappingProxyType({task.name: task for task in _ALL})
PAPER_TASKS = ("mnli", "qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte")  # of LogitMix's Table 3


def get_task(name: str) -> GlueTask:
    """The record of a GLUE task.

    Args:
        name (`str`): Configuration name of `nyu-mll/glue`, such as `"cola"`; case does not matter.

    Returns:
        `GlueTask`: The record.

    Raises:
        ValueError: If there is no such task; the message lists those that exist.
    """
    if name.lower() not in GLUE_TASKS:
        raise ValueError(f"Unknown GLUE task {name!r}; choose one of: {', '.join(GLUE_TASKS)}.")
    return GLUE_TASKS[name.lower()]


def resolve_split(task: GlueTask, name: str) -> tuple[GlueTask, GlueSplit]:
    """The task and split that hold the rows of a task's split: its own, or those of the split's `source`."""
    split = task.split(name)
    if split.source is None:
        return task, split
    owner = get_task(split.source[0])
    return owner, owner.split(split.source[1])
