# SPDX-License-Identifier: Apache-2.0
"""Soft labels in the user's data: a column of lists of class probabilities, or a column of them for each class."""

from collections.abc import Mapping, Sequence

from datasets import Dataset, DatasetDict, Value
from datasets import Sequence as ListOf

from logitmix_nlp.functional.checks import SUM_SLACK

__all__ = ["are_soft", "encode_soft", "is_soft", "join_columns"]


def join_columns(
    split: Dataset, columns: Sequence[str], label_column: str, origin: str, *, needed: bool = True
) -> Dataset:
    """Make one column of lists, `label_column`, of a column of numbers for each class.

    Args:
        split (`Dataset`): The rows.
        columns (`Sequence[str]`): A column for each class, two or more; numbers, or cells that hold numbers.
        label_column (`str`): Name of the new column.
        origin (`str`): Quoted in errors.
        needed (`bool`): Whether the columns must be there; rows without any of them then stay as they are.

    Raises:
        ValueError: If one of the columns is missing, `label_column` is there already, or a cell is no number.
    """
    missing = [name for name in columns if name not in split.column_names]
    if len(missing) == len(columns) and not needed:
        return split
    if missing:
        there = ", ".join(split.column_names)
        raise ValueError(f"{origin} has no column {missing[0]!r} of --soft_label_columns; it has: {there}.")
    if label_column in split.column_names and label_column not in columns:
        raise ValueError(
            f"{origin}: --soft_label_columns give the labels, but there is a column {label_column!r} too; name "
            "another place for them with --label_column_name."
        )
    rows = list(zip(*(split[name][:] for name in columns), strict=True))
    labels = [[_number(cell, origin, place) for cell in row] for place, row in enumerate(rows, start=1)]
    return split.remove_columns(list(columns)).add_column(label_column, labels, feature=ListOf(Value("float64")))


def _number(cell: object, origin: str, row: int) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{origin}, row {row}: found {cell!r} for the probability of a class.") from None


def are_soft(rows: Sequence[object]) -> bool:
    """Whether labels are class probabilities for sure: lists that sum to 1, all of one length, some with fractions."""
    if not all(isinstance(row, list) for row in rows):
        return False
    numbers = [value for row in rows for value in row]
    if any(not isinstance(value, float | int) for value in numbers) or len({len(row) for row in rows}) > 1:
        return False
    return any(0 < value < 1 for value in numbers) and all(_sums_to_one(row) for row in rows)


def _sums_to_one(row: list) -> bool:
    return all(value >= 0 for value in row) and abs(sum(row) - 1) <= SUM_SLACK


def encode_soft(
    data: Mapping[str, Dataset],
    column: str,
    labelled: Mapping[str, list],
    origins: Mapping[str, str],
    names: Sequence[str] = (),
) -> tuple[DatasetDict, tuple[str, ...]]:
    """Splits with class probabilities by name, `{"sad": 0.2, "happy": 0.8}`, and the names of the classes.

    Args:
        data (`Mapping[str, Dataset]`): Splits.
        column (`str`): Label column.
        labelled (`Mapping[str, list]`): Its values, of the splits that have labels.
        origins (`Mapping[str, str]`): File or split name to quote in an error, by split.
        names (`Sequence[str]`): Names of the classes; numbers from 0 if there are none.

    Raises:
        ValueError: If a row holds no probabilities, or of another number of classes; names file or split, and row.
    """
    first = next(iter(labelled.values()))[0]
    classes = len(names) or (len(first) if isinstance(first, list) else "a list of")
    for name, values in labelled.items():
        for row, value in enumerate(values, start=1):
            numbers = isinstance(value, list) and all(isinstance(one, float | int) for one in value)
            if not numbers or len(value) != classes or not _sums_to_one(value):
                raise ValueError(
                    f"{origins[name]}, row {row}: the label is {value!r}; every row needs {classes} probabilities, at "
                    "least 0, with a sum of 1."
                )
    if classes < 2:
        raise ValueError(f"{origins[next(iter(labelled))]}: soft labels need two classes or more.")
    names, out = tuple(names) or tuple(map(str, range(classes))), DatasetDict()
    for name, split in data.items():
        rest = split.remove_columns(column) if column in split.column_names else split
        if name in labelled:
            values = [dict(zip(names, row, strict=True)) for row in labelled[name]]
            rest = rest.add_column(column, values, feature={name: Value("float32") for name in names})
        out[name] = rest
    return out, names


def is_soft(split: Dataset, column: str) -> bool:
    """Whether [`encode_soft`] made the label column."""
    return isinstance(split.features.get(column), dict)
