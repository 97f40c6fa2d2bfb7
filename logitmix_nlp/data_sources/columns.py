# SPDX-License-Identifier: Apache-2.0
"""Which columns of the user's own data hold the texts."""

import logging
from collections.abc import Sequence

from datasets import Dataset

from logitmix_nlp.data_sources.lines import is_number

__all__ = ["check_texts", "guess_text_columns"]

logger = logging.getLogger(__name__)

_PAIR = ("sentence1", "sentence2")


def guess_text_columns(split: Dataset, label_column: str, origin: str) -> tuple[str, ...]:
    """`sentence1, sentence2`, else the first one or two columns of strings that are not all numbers."""
    if all(name in split.column_names for name in _PAIR):
        return _PAIR
    strings = [name for name in split.column_names if name != label_column and _is_string(split, name)]
    texts = tuple(name for name in strings if not all(value is not None and is_number(value) for value in split[name]))
    if not texts:
        found = ", ".join(split.column_names)
        raise ValueError(f"{origin} has no text column; name one with --text_column_names out of: {found}.")
    if len(texts) > 2:
        logger.warning(
            "%s has the text columns %s; the first two are used. Choose with --text_column_names.", origin, list(texts)
        )
    for name in texts[:2]:
        values = split[name]
        if len(values) > 2 and len(set(values)) == len(values) and not any(" " in value for value in values if value):
            logger.warning(
                "%s: column %r looks like ids and is used as text. Choose with --text_column_names.", origin, name
            )
    return texts[:2]


def _is_string(split: Dataset, name: str) -> bool:
    return getattr(split.features[name], "dtype", None) in ("string", "large_string")


def check_texts(split: Dataset, texts: Sequence[str], origin: str) -> None:
    """Raise a `ValueError` unless every text column exists and holds a string in every row."""
    for name in texts:
        if name not in split.column_names:
            found = ", ".join(split.column_names)
            raise ValueError(f"{origin} has no text column {name!r}; it has: {found}.")
        if not _is_string(split, name):
            raise ValueError(
                f"{origin}: text column {name!r} is of type {split.features[name]}, it must hold strings."
            )
        cells = split.with_format("arrow")[:][name]
        if cells.null_count:
            row = cells.is_null().index(True).as_py() + 1
            raise ValueError(f"{origin}, row {row}: the text of column {name!r} is missing.")
