# SPDX-License-Identifier: Apache-2.0
"""Predictions row by row, beside the columns that the rows came with, and files of them."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Image, concatenate_datasets
from scipy.special import expit, log_softmax, softmax, xlogy

from logitmix_nlp.whole_files import write_whole

__all__ = [
    "PREDICTION_TYPES",
    "by_row",
    "check_columns",
    "check_target",
    "keep_columns",
    "prediction_columns",
    "write_rows",
]


def prediction_columns(
    logits: np.ndarray, names: Sequence[str], *, multi_label: bool = False, prefix: str = ""
) -> dict[str, Any]:
    """What a classifier says of each row.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Before softmax, or sigmoid; divided by a temperature, if there is one.
        names (`Sequence[str]`): Names of the classes by id.
        multi_label (`bool`): Whether each class is a yes-or-no question.
        prefix (`str`): Put before each name of a column.

    Returns:
        `dict[str, Any]`: `prediction`, the class (multi-label: the list of those above probability 0.5); `entropy` in
        nats (multi-label: of all questions together); and for each class `probability_NAME`. Numbers have 7
        significant digits. `None` for a row of NaN, a word that the model does not see.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if multi_label:
        probs = expit(logits)
        predicted = [[names[k] for k in np.flatnonzero(row > 0)] for row in logits]
        entropy = -(xlogy(probs, probs) + xlogy(1 - probs, 1 - probs)).sum(-1)
    else:
        probs = softmax(logits, axis=-1)
        predicted = [names[row.argmax()] if np.isfinite(row).all() else None for row in logits]
        entropy = -(probs * log_softmax(logits, axis=-1)).sum(-1)
    columns = {"prediction": predicted, "entropy": _short(entropy.clip(min=0))}
    columns |= {f"probability_{name}": _short(probs[:, k]) for k, name in enumerate(names)}
    return {prefix + name: values for name, values in columns.items()}


def by_row(columns: Mapping[str, Sequence[Any]], lengths: Sequence[int]) -> dict[str, list[list[Any]]]:
    """Columns of words as columns of lists, one for each row of so many words."""
    ends = np.cumsum([0, *lengths]).tolist()
    return {name: [list(values[start:end]) for start, end in pairwise(ends)] for name, values in columns.items()}


def _short(values: np.ndarray) -> list[float | None]:
    return [None if value != value else float(f"{value:.7g}") for value in values]


def keep_columns(data: Dataset, leave_out: Sequence[str] = ()) -> Dataset:
    """The rows as a file can hold them: classes by name, and images by their path, if they have one.

    Args:
        data (`Dataset`): The rows.
        leave_out (`Sequence[str]`): Columns that are not kept.

    Returns:
        `Dataset`: The same rows in the same order.
    """
    names = [name for name in data.column_names if name not in leave_out]
    changed = {name: _readable(data, name, data.features[name]) for name in names}
    changed = {name: values for name, values in changed.items() if values is not None}
    taken = Dataset.from_dict({name: values for name, values in changed.items() if set(values) != {None}})
    rest = data.select_columns([name for name in names if name not in changed])
    parts = [part for part in (rest, taken) if part.column_names]
    joined = concatenate_datasets(parts, axis=1) if parts else taken
    return joined.select_columns([name for name in names if name in joined.column_names])


def _readable(data: Dataset, name: str, kind: Any) -> list | None:
    """Values of a column that a file cannot hold as they are; `None` for all others."""
    inner = getattr(kind, "feature", None)
    if isinstance(kind, ClassLabel):
        return [_name_of(kind, place) for place in data[name]]
    if isinstance(inner, ClassLabel):
        return [None if places is None else tuple(_name_of(inner, place) for place in places) for places in data[name]]
    raw = isinstance(kind, dict) and set(kind) == {"bytes", "path"}
    if not isinstance(kind, Image) and not raw:
        return None
    stored = data if raw else data.cast_column(name, Image(decode=False))
    return [(one or {}).get("path") for one in stored.select_columns(name)[:][name]]


def _name_of(kind: ClassLabel, place: int | None) -> str | None:
    return None if place is None or place < 0 else kind.names[place]


def check_target(path: str | Path, source: str | None = None) -> Path:
    """The file to write predictions to, to be asked for before the work.

    Args:
        path (`str` or `Path`): File to write.
        source (`str`, *optional*): What the rows are read from.

    Returns:
        `Path`: The file.

    Raises:
        ValueError: If its extension is none of `PREDICTION_TYPES`, it is the file that is read, or a folder.
        PermissionError: If its folder cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in PREDICTION_TYPES:
        raise ValueError(
            f"{path} has the unknown extension {path.suffix!r}; use one of: {', '.join(PREDICTION_TYPES)}."
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file.")
    if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
        raise ValueError(f"{path} is the very file that is read; name another.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not yours to write to.")
    return path


def check_columns(data: Dataset, columns: Iterable[str], remedy: str = "rename them") -> None:
    """Raise a `ValueError` that says what to do if the data has a column of one of these names."""
    taken = [name for name in columns if name in data.column_names]
    if taken:
        raise ValueError(f"the data has the columns {', '.join(taken)} already; {remedy}.")


def write_rows(path: str | Path, data: Dataset, columns: Mapping[str, Any]) -> None:
    """Write rows with further columns; the file appears whole or not at all.

    Args:
        path (`str` or `Path`): File of one of `PREDICTION_TYPES`. Lists in a `.csv` are JSON.
        data (`Dataset`): The rows with the columns they came with.
        columns (`Mapping[str, Any]`): Further columns by name, one value per row.

    Raises:
        ValueError: If a name is taken.
    """
    check_columns(data, columns)
    written = Dataset.from_dict({name: list(values) for name, values in columns.items()})
    joined = concatenate_datasets([data, written], axis=1) if data.column_names else written
    write_whole(path, _CONTENTS[Path(path).suffix.lower()](joined))


def _csv(rows: Dataset) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    writer.writerows(map(_cell, row.values()) for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else value


def _jsonl(rows: Dataset) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def _parquet(rows: Dataset) -> bytes:
    content = io.BytesIO()
    rows.to_parquet(content)
    return content.getvalue()


_CONTENTS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
PREDICTION_TYPES = tuple(_CONTENTS)
