# SPDX-License-Identifier: Apache-2.0
"""Columns and types of a GLUE task, the same from every source, and a check of every row against them."""

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, Value
from datasets.table import InMemoryTable

from glue_runs.tasks.tsv import LARGEST_ID
from glue_runs.tasks.types import GlueTask
from logitmix_nlp.evaluation.data.columns import check_texts
from logitmix_nlp.evaluation.data.labels import MISSING_LABEL

__all__ = ["check_ids", "conform", "task_features"]


def task_features(task: GlueTask) -> Features:
    """Columns and types of `nyu-mll/glue`: the texts, `label` and `idx`."""
    label = Value("float32") if task.label_names is None else ClassLabel(names=list(task.label_names))
    return Features({**{name: Value("string") for name in task.text_columns}, "label": label, "idx": Value("int32")})


def conform(rows: Dataset, task: GlueTask, split: str, origin: str) -> Dataset:
    """The rows in the task's columns and types, in the given order.

    Args:
        rows (`Dataset`): Rows that hold at least these columns. Labels are class ids in the order of `nyu-mll/glue`,
            or scores; in a test split they may be null or -1 throughout: no labels.
        task (`GlueTask`): Task record.
        split (`str`): Split name; one that starts with `test` may have no labels.
        origin (`str`): File or split name to quote in an error.

    Returns:
        `Dataset`: The same rows.

    Raises:
        ValueError: If a column is missing or of another type, or a row has no text, no label or no id of its own.
    """
    features = task_features(task)
    missing = [name for name in features if name not in rows.column_names]
    if missing:
        columns = ", ".join(rows.column_names)
        raise ValueError(f"{origin} has no column {', '.join(missing)}; it holds: {columns}.")
    if len(rows) == 0:
        raise ValueError(f"{origin} holds no rows.")
    check_texts(rows, task.text_columns, origin)
    check_ids(rows, origin)
    rows = rows.select_columns(list(features))
    table = rows.with_format("arrow")[:]
    labels = _numbers(table["label"], origin, "label", floats=task.label_names is None)
    _check_labels(labels, rows.features["label"], task, origin, optional=split.startswith("test"))
    if rows.features == features and table["label"].null_count == 0:
        return rows
    table = table.set_column(table.column_names.index("label"), "label", pa.array(labels))
    return Dataset(InMemoryTable(table.cast(features.arrow_schema)))


def check_ids(rows: Dataset, origin: str) -> None:
    """Raise a `ValueError` unless every row has an id of its own in `idx`, a whole number from 0."""
    ids = _numbers(rows.with_format("arrow")[:]["idx"], origin, "idx", floats=False)
    outside = np.flatnonzero((ids < 0) | (ids > LARGEST_ID))
    if len(outside):
        row, allowed = int(outside[0]), f"whole numbers from 0 to {LARGEST_ID}"
        raise ValueError(f"{origin}, row {row + 1}: found row id {_shown(ids[row])}, allowed are {allowed}.")
    order = np.argsort(ids, kind="stable")
    repeated = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if len(repeated):
        row = int(repeated.min())
        first = int(np.flatnonzero(ids == ids[row])[0])
        raise ValueError(
            f"{origin}, row {row + 1}: row id {ids[row]} was already given in row {first + 1}; ids must differ."
        )


def _numbers(column: pa.ChunkedArray, origin: str, name: str, *, floats: bool) -> np.ndarray:
    """Numbers of a column, with -1 for null."""
    if not (pa.types.is_signed_integer(column.type) or (floats and pa.types.is_floating(column.type))):
        kind = "numbers" if floats else "signed integers"
        raise ValueError(f"{origin}: column {name!r} is of type {column.type}, it must hold {kind}.")
    return column.fill_null(MISSING_LABEL).to_numpy()


def _check_labels(labels: np.ndarray, feature: object, task: GlueTask, origin: str, *, optional: bool) -> None:
    if isinstance(feature, ClassLabel) and tuple(feature.names) != task.label_names:
        raise ValueError(f"{origin}: labels {tuple(feature.names)}, expected {task.label_names}.")
    if optional and np.all(labels == MISSING_LABEL):
        return
    low, high = task.score_range or (0, len(task.label_names) - 1)
    outside = np.flatnonzero(~((labels >= low) & (labels <= high)))
    if len(outside):
        names = "scores" if task.label_names is None else f"the classes {', '.join(task.label_names)}"
        row = int(outside[0])
        raise ValueError(
            f"{origin}, row {row + 1}: found label {_shown(labels[row])}, allowed are {low:g} to {high:g}, {names}."
        )


def _shown(value: np.number) -> str:
    return f"{value} (or none)" if value == MISSING_LABEL else str(value)
