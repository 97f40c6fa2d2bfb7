# SPDX-License-Identifier: Apache-2.0
"""Rows to evaluate on: from files, folders or the Hub to texts or images with the class ids of the model."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Image

from logitmix_nlp.evaluation.data.columns import (
    NONE_NAMED,
    TEXT_FLAG,
    Columns,
    check_texts,
    guess_text_columns,
    with_trained,
)
from logitmix_nlp.evaluation.data.downloads import download
from logitmix_nlp.evaluation.data.files import is_data_file, read_data_file
from logitmix_nlp.evaluation.data.labels import class_ids
from logitmix_nlp.evaluation.data.words import check_words, tag_ids, word_columns

__all__ = ["BLANK_IS_MISSING", "Rows", "first_rows", "load_rows", "read_split", "rows_from"]

LABEL_COLUMNS = ("label", "labels")
BLANK_IS_MISSING = (".csv", ".tsv")  # where a missing text looks like an empty one


@dataclass(frozen=True)
class Rows:
    """Rows of one set.

    Args:
        origin (`str`): What they were read from.
        inputs (`Sequence`): One entry per row: a tuple of one or two texts, or of words, or a PIL image.
        labels (`np.ndarray` of shape `(N,)`, *optional*): Class ids of the model; of words an array for each row.
        columns (`Columns`): The columns that were used.
        of_words (`bool`): Whether each word has a label.
    """

    origin: str
    inputs: Sequence[Any]
    labels: np.ndarray | None
    columns: Columns
    of_words: bool = False

    @property
    def unit(self) -> str:
        """What has a label, in a word."""
        return "word" if self.of_words else "row"

    @property
    def targets(self) -> np.ndarray:
        """Class ids of all rows, or of all words, row after row: `(M,)`."""
        return np.concatenate(self.labels) if self.of_words else self.labels

    @property
    def groups(self) -> torch.Tensor | None:
        """Number of the row that each word belongs to, `(M,)`; `None` where rows have the labels."""
        lengths = torch.tensor([len(words) for words in self.inputs]) if self.of_words else None
        return None if lengths is None else torch.arange(len(self)).repeat_interleave(lengths)

    def __len__(self) -> int:
        return len(self.inputs)

    def pick(self, places: np.ndarray) -> "Rows":
        """The rows at some places, in that order."""
        labels = None if self.labels is None else self.labels[places]
        if isinstance(self.inputs, _Images):
            inputs = replace(self.inputs, places=self.inputs.places[places])
        else:
            inputs = [self.inputs[place] for place in places]
        return replace(self, inputs=inputs, labels=labels)

    def contents(self) -> list[Hashable]:
        """What tells the inputs apart: rows with the same texts, or the same pixels, have equal ones."""
        if not isinstance(self.inputs, _Images):
            return list(self.inputs)
        return [(one.mode, one.size, hashlib.sha256(one.tobytes()).digest()) for one in self.inputs]

    def by_length(self) -> "Rows":
        """The rows with the shortest texts first, so that batches hold little padding; images as they are."""
        return self if isinstance(self.inputs, _Images) else self.pick(self.length_order())

    def length_order(self) -> np.ndarray:
        """Places of the rows with the shortest texts first, `(N,)`; images as they are."""
        if isinstance(self.inputs, _Images):
            return np.arange(len(self))
        return np.argsort([sum(map(len, texts)) for texts in self.inputs], kind="stable")


@dataclass(frozen=True, eq=False)
class _Images(Sequence):
    """Images that are decoded when they are asked for, so that a large set needs no large memory."""

    data: Dataset
    column: str
    places: np.ndarray
    origin: str

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return [self[place] for place in range(*key.indices(len(self)))]
        row = int(self.places[key])
        try:
            image = self.data[row][self.column]
        except OSError as error:
            where = f"{self.origin}, row {row + 1}"
            raise ValueError(f"{where}: column {self.column!r} holds no readable image ({error}).") from error
        if image is None:
            raise ValueError(f"{self.origin}, row {row + 1}: the image of column {self.column!r} is missing.")
        return image


def load_rows(
    source: str,
    label2id: Mapping[str, int] | None,
    *,
    is_text: bool,
    of_words: bool = False,
    split: str | None = None,
    config_name: str | None = None,
    columns: Columns = NONE_NAMED,
    trained: Columns = NONE_NAMED,
    optional_columns: bool = False,
    max_rows: int | None = None,
    flag: str = TEXT_FLAG,
) -> Rows:
    """Rows of a file, a folder or a Hub dataset.

    Args:
        source (`str`): A csv, tsv, json, jsonl, parquet or conll file, a folder of `save_to_disk`, a folder of data
            files or of images in one folder per class, or the id of a Hub dataset.
        label2id (`Mapping[str, int]`, *optional*): Class names and ids of the model; `None` reads no labels.
        is_text (`bool`): Whether rows are texts; else images.
        of_words (`bool`): Whether texts are lists of words with a tag for each.
        split (`str`, *optional*): Split of a source that has several.
        config_name (`str`, *optional*): Configuration of a Hub dataset.
        columns (`Columns`): Names of the columns, as far as they are not to be found.
        trained (`Columns`): The columns that the model was trained on: taken where none is named, if the source has
            them. Else they are guessed.
        optional_columns (`bool`): Guess the columns, too, if the source lacks one of those named: rows from elsewhere
            have their own.
        max_rows (`int`, *optional*): Take this many of the first rows only.
        flag (`str`): Flag that names text columns, for errors.

    Returns:
        `Rows`: Texts or images, and class ids of the model if asked for.

    Raises:
        OSError: If the source cannot be read.
        ValueError: If a column or split is ambiguous, a row is malformed, or labels are not those of the model.
    """
    data, origin = read_split(source, split, config_name, columns.label or trained.label or LABEL_COLUMNS[0])
    data = first_rows(data, origin, max_rows)
    if optional_columns:
        named = {*columns.text, columns.image} <= {*data.column_names, None}
        columns = (columns if named else Columns())._replace(label=columns.label)
        columns = columns if columns.label in data.column_names else columns._replace(label=None)
    cells = Path(source).suffix.lower() in BLANK_IS_MISSING
    options = {"is_text": is_text, "of_words": of_words, "cells": cells, "flag": flag}
    return rows_from(data, origin, label2id, columns=columns, trained=trained, **options)


def rows_from(
    data: Dataset,
    origin: str,
    label2id: Mapping[str, int] | None,
    *,
    is_text: bool,
    of_words: bool = False,
    columns: Columns = NONE_NAMED,
    trained: Columns = NONE_NAMED,
    cells: bool = False,
    flag: str = TEXT_FLAG,
) -> Rows:
    """Rows of a split that was read; see [`load_rows`].

    Args:
        data (`Dataset`): The split.
        origin (`str`): What to call it.
        label2id (`Mapping[str, int]`, *optional*): Class names and ids of the model; `None` reads no labels.
        is_text (`bool`): Whether rows are texts; else images.
        of_words (`bool`): Whether texts are lists of words with a tag for each.
        columns (`Columns`): Names of the columns, as far as they are not to be found.
        trained (`Columns`): The columns that the model was trained on.
        cells (`bool`): Whether a text may not be blank, as in files where that looks like a missing one.
        flag (`str`): Flag that names text columns, for errors.

    Returns:
        `Rows`: One for each row of the data, in its order.

    Raises:
        ValueError: See [`load_rows`].
    """
    columns = with_trained(columns, trained, data.column_names, origin)
    if of_words:
        return _word_rows(data, origin, label2id, word_columns(columns, data.column_names, origin))
    label = _label_column(data, columns.label, origin, needed=label2id is not None)
    if is_text:
        texts = tuple(columns.text or guess_text_columns(data, label or "", origin, flag))
        check_texts(data, texts, origin)
        inputs = list(zip(*(data[name][:] for name in texts), strict=True))
        if cells:
            _check_blank(inputs, texts, origin)
        used = Columns(texts, None, label)
    else:
        data, image = _image_column(data, columns.image, origin)
        inputs, used = _Images(data, image, np.arange(len(data)), origin), Columns((), image, label)
    labels = None if label2id is None else class_ids(data, label, label2id, origin)
    return Rows(origin, inputs, labels, used)


def _word_rows(data: Dataset, origin: str, label2id: Mapping[str, int] | None, columns: Columns) -> Rows:
    check_words(data, columns if label2id is not None else columns._replace(label=None), origin)
    inputs, labels = [tuple(words) for words in data[columns.text[0]][:]], None
    if label2id is not None:
        labels = np.empty(len(inputs), dtype=object)
        labels[:] = tag_ids(data, columns.label, label2id, origin)
    return Rows(origin, inputs, labels, columns, of_words=True)


def first_rows(data: Dataset, origin: str, max_rows: int | None) -> Dataset:
    """The first rows of a split, all for `None`; a `ValueError` if there are none."""
    if max_rows is not None:
        if max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, got {max_rows}.")
        data = data.select(range(min(max_rows, len(data))))
    if len(data) == 0:
        raise ValueError(f"{origin} holds no rows.")
    return data


def read_split(
    source: str, split: str | None = None, config_name: str | None = None, label_column: str | None = "label"
) -> tuple[Dataset, str]:
    """One split of a source, and its name for messages; see [`load_rows`].

    Raises:
        ValueError: If the source has several splits and none is named, or lacks the one that is.
    """
    path = Path(source)
    if is_data_file(path) and not path.is_dir():
        data = DatasetDict(file=read_data_file(path, label_column))
    else:
        data = download(source, config_name)
    if split is None and len(data) == 1:
        (split,) = data
    elif split is None:
        raise ValueError(
            f"{source} has the splits {', '.join(data)}: name one with --split, for --ood with --ood_split, and so on."
        )
    elif split not in data:
        raise ValueError(f"{source} has no split {split!r}, it has: {', '.join(data)}.")
    return data[split], source if len(data) == 1 else f"split {split!r} of {source}"


def _check_blank(inputs: Sequence[tuple[str, ...]], columns: Sequence[str], origin: str) -> None:
    """Refuse rows without any text."""
    for row, texts in enumerate(inputs, start=1):
        if not any(text.strip() for text in texts):
            raise ValueError(f"{origin}, row {row}: the text of column {', '.join(map(repr, columns))} is missing.")


def _label_column(data: Dataset, column: str | None, origin: str, needed: bool) -> str | None:
    if column is not None:
        if column not in data.column_names:
            raise ValueError(f"{origin} has no label column {column!r}; it has: {', '.join(data.column_names)}.")
        return column
    classes = [name for name, feature in data.features.items() if isinstance(feature, ClassLabel)]
    candidates = [name for name in LABEL_COLUMNS if name in data.column_names] or classes
    if len(candidates) == 1 or (candidates and candidates[0] in LABEL_COLUMNS):
        return candidates[0]
    if not needed:
        return None
    raise ValueError(
        f"{origin} has no column that is clearly the label; name it with --label_column_name out of: "
        f"{', '.join(data.column_names)}."
    )


def _image_column(data: Dataset, column: str | None, origin: str) -> tuple[Dataset, str]:
    """The data with its image column decoded, and that column's name."""
    raw = [name for name, kind in data.features.items() if isinstance(kind, dict) and set(kind) == {"bytes", "path"}]
    candidates = [name for name, kind in data.features.items() if isinstance(kind, Image)] or raw
    if column is None and len(candidates) == 1:
        column = candidates[0]
    if column is None or column not in candidates:
        wanted = "an image column" if column is None else f"an image column {column!r}"
        raise ValueError(
            f"{origin} does not have {wanted}; name one with --image_column_name out of: "
            f"{', '.join(candidates or data.column_names)}."
        )
    return (data.cast_column(column, Image()) if column in raw else data), column
