# SPDX-License-Identifier: Apache-2.0
"""From the labels found in the user's data to class ids or scores; no label is guessed, none is dropped."""

import logging
import math
from collections.abc import Mapping

from datasets import ClassLabel, Dataset, DatasetDict, Value

from logitmix_nlp.data_sources.lines import shown

__all__ = ["MISSING_LABEL", "encode_labels"]

MISSING_LABEL = -1  # in a split without labels

logger = logging.getLogger(__name__)


def encode_labels(
    data: Mapping[str, Dataset], column: str, origins: Mapping[str, str]
) -> tuple[DatasetDict, tuple[str, ...] | None]:
    """Turn labels into class ids, or scores if the training labels are floats.

    Args:
        data (`Mapping[str, Dataset]`): Splits `train`, `validation`, `test`, as far as they exist. Labels may be
            strings, integers, booleans, floats or a `ClassLabel`, whose names and order are kept.
        column (`str`): Label column. In the test split it may be absent, or be null or -1 throughout: no labels.
        origins (`Mapping[str, str]`): File or split name to quote in an error, by split.

    Returns:
        `tuple`: The splits, with -1 where the test split has no labels, and the class names: those of the `ClassLabel`
        or the sorted labels of the training split (of all splits if there is none), empty if no split has labels.

    Raises:
        ValueError: If a label is missing, NaN or unknown to the training split; names file or split, row and label.
    """
    labelled = {name: _values(name, split, column, origins[name]) for name, split in data.items()}
    labelled = {name: values for name, values in labelled.items() if values is not None}
    if any(isinstance(value, float) for value in labelled.get("train", next(iter(labelled.values()), []))):
        names, missing, feature = None, float(MISSING_LABEL), Value("float32")
        encoded = {name: _scores(values, origins[name]) for name, values in labelled.items()}
        distinct = {score for scores in encoded.values() for score in scores}
        if len(distinct) <= 10 and all(score == int(score) for score in distinct):
            logger.warning(
                "Column %r holds the floats %s: taken as scores of a regression. For classes write them as integers.",
                column,
                sorted(distinct),
            )
    else:
        names = _class_names(data, column, labelled)
        if "train" in labelled and len(names) < 2:
            raise ValueError(f"{origins['train']}: every label is {names[0]!r}; training needs two classes or more.")
        missing, feature = MISSING_LABEL, ClassLabel(names=list(names)) if names else Value("int64")
        encoded = {name: _ids(values, names, origins[name]) for name, values in labelled.items()}
    out = DatasetDict()
    for name, split in data.items():
        rest = split.remove_columns(column) if column in split.column_names else split
        values = encoded.get(name, [missing] * len(split))
        out[name] = rest.add_column(column, values, feature=feature)
    return out, names


def _values(name: str, split: Dataset, column: str, origin: str) -> list | None:
    """Labels of one split, class names for a `ClassLabel`; `None` for a test split without labels."""
    if column not in split.column_names:
        if name == "test":
            return None
        found = ", ".join(split.column_names)
        raise ValueError(f"{origin} has no label column {column!r}; choose with --label_column_name out of: {found}.")
    values, feature = list(split[column]), split.features[column]
    if name == "test" and all(value is None or value == MISSING_LABEL for value in values):
        return None
    for row, value in enumerate(values, start=1):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{origin}, row {row}: the label is {value}; every row needs a label.")
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"{origin}, row {row}: found label {value!r}, allowed are strings and numbers.")
    if isinstance(feature, ClassLabel):
        return [feature.names[v] if 0 <= v < len(feature.names) else v for v in values]
    return values


def _class_names(data: Mapping[str, Dataset], column: str, labelled: Mapping[str, list]) -> tuple[str, ...]:
    reference = "train" if "train" in labelled else next(iter(labelled), None)
    if reference is not None and isinstance(data[reference].features[column], ClassLabel):
        return tuple(data[reference].features[column].names)
    pools = [labelled["train"]] if "train" in labelled else labelled.values()
    found = {value for values in pools for value in values}
    numeric = all(isinstance(value, int) for value in found)
    return tuple(str(value) for value in (sorted(found) if numeric else sorted(found, key=str)))


def _ids(values: list, names: tuple[str, ...], origin: str) -> list[int]:
    ids = {name: position for position, name in enumerate(names)}
    for row, value in enumerate(values, start=1):
        if str(value) not in ids:
            raise ValueError(f"{origin}, row {row}: found label {value!r}, allowed are: {shown(names)}.")
    return [ids[str(value)] for value in values]


def _scores(values: list, origin: str) -> list[float]:
    for row, value in enumerate(values, start=1):
        if isinstance(value, str):
            raise ValueError(f"{origin}, row {row}: found label {value!r}, allowed are numbers, as in training.")
    return [float(value) for value in values]
