# SPDX-License-Identifier: Apache-2.0
"""What the rest of the package knows about a GLUE task: one frozen record each, and nothing about a task elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["GLUE_TASKS", "GlueSplit", "GlueTask", "TsvLayout", "get_task"]


@dataclass(frozen=True)
class TsvLayout:
    """Where an official TSV file keeps its columns, by header name or, in a file without header, by position.

    Args:
        texts (`tuple`): One or two text columns, in the order of the task's `text_columns`.
        label (`str` or `int`, *optional*): Label column; `None` for a file without labels.
        index (`str` or `int`, *optional*): Column of row ids; `None` numbers the rows from 0.
        num_columns (`int`, *optional*): Columns of a file without header; `None` says that line 1 is the header.
    """

    texts: tuple[str | int, ...]
    label: str | int | None = None
    index: str | int | None = None
    num_columns: int | None = None


@dataclass(frozen=True)
class GlueSplit:
    """One file of a task.

    Args:
        name (`str`): Split name of `nyu-mll/glue`; starts with `train`, `validation` or `test`.
        file (`str`): File name in the task's folder of the official distribution.
        layout (`TsvLayout`): Columns of that file.
        submission (`str`, *optional*): Leaderboard file that holds the predictions for this split.
    """

    name: str
    file: str
    layout: TsvLayout
    submission: str | None = None


@dataclass(frozen=True)
class GlueTask:
    """One GLUE task.

    Args:
        name (`str`): Configuration name of `nyu-mll/glue`.
        folder (`str`): Folder name in the official distribution.
        text_columns (`tuple` of `str`): Text columns of `nyu-mll/glue`, one or two.
        label_names (`tuple` of `str`, *optional*): Classes in the order of `nyu-mll/glue`; `None` for regression.
        label_strings (`tuple` of `str`, *optional*): How the official TSV and the leaderboard write these classes.
        metrics (`tuple` of `str`): Official scores, names of `glue_runs.metrics.SCORES`.
        splits (`tuple` of `GlueSplit`): Files of the task.
        score_range (`tuple` of `float`): Smallest and largest score of a regression task.
    """

    name: str
    folder: str
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] | None
    label_strings: tuple[str, ...] | None
    metrics: tuple[str, ...]
    splits: tuple[GlueSplit, ...]
    score_range: tuple[float, float] | None = None

    def split(self, name: str) -> GlueSplit:
        """The split called `name`; raises a `ValueError` that lists the task's splits."""
        for split in self.splits:
            if split.name == name:
                return split
        known = ", ".join(split.name for split in self.splits)
        raise ValueError(f"GLUE task {self.name!r} has no split {name!r}; its splits are: {known}.")

    @property
    def evaluation_splits(self) -> tuple[str, ...]:
        """Names of the splits that `--do_eval` scores."""
        return tuple(split.name for split in self.splits if split.name.startswith("validation"))

    @property
    def prediction_files(self) -> tuple[tuple[str, str], ...]:
        """Pairs of test split and leaderboard file that `--do_predict` writes."""
        return tuple((split.name, split.submission) for split in self.splits if split.submission is not None)


def _three_splits(labelled: TsvLayout, test: TsvLayout, submission: str) -> tuple[GlueSplit, ...]:
    return (
        GlueSplit("train", "train.tsv", labelled),
        GlueSplit("validation", "dev.tsv", labelled),
        GlueSplit("test", "test.tsv", test, submission),
    )


_PAIR = ("sentence1", "sentence2")

_COLA = GlueTask(
    name="cola",
    folder="CoLA",
    text_columns=("sentence",),
    label_names=("unacceptable", "acceptable"),
    label_strings=("0", "1"),
    metrics=("matthews_correlation",),
    splits=_three_splits(
        labelled=TsvLayout(texts=(3,), label=1, num_columns=4),
        test=TsvLayout(texts=("sentence",), index="index"),
        submission="CoLA.tsv",
    ),
)

_SST2 = GlueTask(
    name="sst2",
    folder="SST-2",
    text_columns=("sentence",),
    label_names=("negative", "positive"),
    label_strings=("0", "1"),
    metrics=("accuracy",),
    splits=_three_splits(
        labelled=TsvLayout(texts=("sentence",), label="label"),
        test=TsvLayout(texts=("sentence",), index="index"),
        submission="SST-2.tsv",
    ),
)

_MRPC = GlueTask(
    name="mrpc",
    folder="MRPC",
    text_columns=_PAIR,
    label_names=("not_equivalent", "equivalent"),
    label_strings=("0", "1"),
    metrics=("accuracy", "f1"),
    splits=_three_splits(
        labelled=TsvLayout(texts=("#1 String", "#2 String"), label="Quality"),
        test=TsvLayout(texts=("#1 String", "#2 String"), index="index"),
        submission="MRPC.tsv",
    ),
)

_STSB = GlueTask(
    name="stsb",
    folder="STS-B",
    text_columns=_PAIR,
    label_names=None,
    label_strings=None,
    metrics=("pearson", "spearmanr"),
    splits=_three_splits(
        labelled=TsvLayout(texts=_PAIR, label="score", index="index"),
        test=TsvLayout(texts=_PAIR, index="index"),
        submission="STS-B.tsv",
    ),
    score_range=(0.0, 5.0),
)

_RTE = GlueTask(
    name="rte",
    folder="RTE",
    text_columns=_PAIR,
    label_names=("entailment", "not_entailment"),
    label_strings=("entailment", "not_entailment"),
    metrics=("accuracy",),
    splits=_three_splits(
        labelled=TsvLayout(texts=_PAIR, label="label", index="index"),
        test=TsvLayout(texts=_PAIR, index="index"),
        submission="RTE.tsv",
    ),
)

GLUE_TASKS: Mapping[str, GlueTask] = MappingProxyType({t.name: t for t in (_COLA, _MRPC, _RTE, _SST2, _STSB)})


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
