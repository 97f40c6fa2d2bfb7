# SPDX-License-Identifier: Apache-2.0
"""Sentences given as lists of words, with a tag for each word."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict
from datasets import Sequence as ListOf

from logitmix_nlp.evaluation.data.columns import Columns
from logitmix_nlp.evaluation.data.files import CONLL_COLUMNS
from logitmix_nlp.evaluation.data.labels import class_ids, encode_labels
from logitmix_nlp.functional.checks import IGNORED

__all__ = ["check_words", "encode_tags", "tag_ids", "word_columns"]

WORDS, TAGS = (CONLL_COLUMNS[0], "words"), (CONLL_COLUMNS[1], "tags", "labels", "label")


def word_columns(columns: Columns, names: Sequence[str], origin: str) -> Columns:
    """The columns of words and tags: those named, or `tokens` or `words`, and `ner_tags`, `tags`, `labels` or `label`.

    Args:
        columns (`Columns`): What is named; `text` has one name at most.
        names (`Sequence[str]`): Columns of the data.
        origin (`str`): What to call the data.

    Returns:
        `Columns`: `label` is `None` if there are no tags.

    Raises:
        ValueError: If there is no such column of words.
    """
    text = columns.text or tuple(name for name in WORDS if name in names)[:1]
    if len(text) != 1 or text[0] not in names:
        raise ValueError(
            f"{origin} has no column {', '.join(columns.text) or ' or '.join(WORDS)} of words; name the one that "
            f"holds lists of them with --text_column_names out of: {', '.join(names)}."
        )
    return Columns(text, None, columns.label or next((name for name in TAGS if name in names), None))


def check_words(data: Dataset, columns: Columns, origin: str) -> None:
    """Raise a `ValueError` unless each row holds a list of strings and, where there are tags, one for each word."""
    text, label = columns.text[0], columns.label if columns.label in data.column_names else None
    inner = getattr(data.features[text], "feature", None)
    if getattr(inner, "dtype", None) not in ("string", "large_string"):
        raise ValueError(
            f"{origin}: column {text!r} is of type {data.features[text]}, it must hold lists of words. For whole "
            "texts there is run_glue.py."
        )
    if label is not None and not hasattr(data.features[label], "feature"):
        raise ValueError(f"{origin}: column {label!r} is of type {data.features[label]}, it must hold lists of tags.")
    tags = data[label][:] if label is not None else [None] * len(data)
    for row, (words, marks) in enumerate(zip(data[text][:], tags, strict=True), start=1):
        if words is None or None in words:
            raise ValueError(f"{origin}, row {row}: a word of column {text!r} is missing.")
        if marks is not None and len(marks) != len(words):
            raise ValueError(f"{origin}, row {row}: found {len(words)} words and {len(marks)} tags; need one each.")
    if not any(data[text][:]):
        raise ValueError(f"{origin} holds no words.")


def encode_tags(
    data: Mapping[str, Dataset], column: str, origins: Mapping[str, str]
) -> tuple[DatasetDict, tuple[str, ...]]:
    """Turn the tags of each row into class ids, by the rules of [`encode_labels`] for the tags one by one.

    Args:
        data (`Mapping[str, Dataset]`): Splits `train`, `validation`, `test`, as far as they exist.
        column (`str`): Column of lists of tags: strings, integers or a `ClassLabel`; `test` may lack it.
        origins (`Mapping[str, str]`): File or split name to quote in an error, by split.

    Returns:
        `tuple`: The splits, of which a test split without tags has no such column; and the names of the tags.

    Raises:
        ValueError: As [`encode_labels`], and if tags are numbers with fractions.
    """
    flat = {name: _one_by_one(split, column, origins[name]) for name, split in data.items()}
    places = {name: f"{origin}, word by word" for name, origin in origins.items()}
    encoded, names = encode_labels(flat, column, places)
    if names is None:
        raise ValueError(f"{origins[next(iter(data))]}: column {column!r} holds numbers with fractions, not tags.")
    out = DatasetDict()
    for name, split in data.items():
        given = column in split.column_names
        rest, ids = split.remove_columns(column) if given else split, encoded[name][column][:]
        if given and not (name == "test" and all(place == -1 for place in ids)):
            kind = ListOf(ClassLabel(names=list(names)))
            rest = rest.add_column(column, [ids.tolist() for ids in _by_row(split, column, ids)], feature=kind)
        out[name] = rest
    return out, names


def tag_ids(data: Dataset, column: str | None, label2id: Mapping[str, int], origin: str) -> list[np.ndarray]:
    """Class ids of the model for the tags of each row, matched by name as [`class_ids`] does.

    Raises:
        ValueError: If there is no such column, and as [`class_ids`].
    """
    if column not in data.column_names:
        raise ValueError(
            f"{origin} has no column {column or ' or '.join(TAGS)} of tags; name the one that holds lists of them "
            f"with --label_column_name out of: {', '.join(data.column_names)}."
        )
    flat = _one_by_one(data, column, origin)
    return _by_row(data, column, class_ids(flat, column, label2id, f"{origin}, word by word"))


def _one_by_one(data: Dataset, column: str, origin: str) -> Dataset:
    """The tags of all rows as rows of their own; without the column, if the data lacks it, under its other names."""
    if column not in data.column_names:
        return data
    for row, tags in enumerate(data[column][:], start=1):
        if tags is None:
            raise ValueError(f"{origin}, row {row}: the tags of column {column!r} are missing.")
    inner: Any = data.features[column].feature
    tags = [tag for tags in data[column] for tag in tags]
    if IGNORED in tags:
        raise ValueError(
            f"{origin}: column {column!r} holds {IGNORED}, which marks pieces of words that have no tag: give whole "
            "words, and a tag for each."
        )
    flat = Dataset.from_dict(
        {f"place of {column}": range(len(tags))}
    )  # a table has no rows without a column beside the labels
    return flat.add_column(column, tags, feature=inner if isinstance(inner, ClassLabel) else None)


def _by_row(data: Dataset, column: str, values: Sequence[int]) -> list[np.ndarray]:
    ends = np.cumsum([len(tags) for tags in data[column]])
    return np.split(np.asarray(values, dtype=np.int64), ends[:-1])
