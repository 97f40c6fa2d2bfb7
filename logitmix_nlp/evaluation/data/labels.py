# SPDX-License-Identifier: Apache-2.0
"""From the labels in the user's data to class ids or scores, by name where there are names; none is guessed."""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Value
from datasets import Sequence as ListOf

from logitmix_nlp.evaluation.data.lines import shown
from logitmix_nlp.evaluation.data.soft_labels import are_soft, encode_soft

__all__ = ["MISSING_LABEL", "align_labels", "class_ids", "encode_labels", "is_multi_label"]

MISSING_LABEL = -1  # in a split without labels

logger = logging.getLogger(__name__)


def encode_labels(
    data: Mapping[str, Dataset], column: str, origins: Mapping[str, str], soft_names: Sequence[str] | None = None
) -> tuple[DatasetDict, tuple[str, ...] | None]:
    """Turn labels into class ids, or scores if the training labels are floats.

    Args:
        data (`Mapping[str, Dataset]`): Splits `train`, `validation`, `test`, as far as they exist. Labels may be
            strings, integers, booleans, floats or a `ClassLabel`, whose names and order are kept.
        column (`str`): Label column. In the test split it may be absent, or be null or -1 throughout: no labels.
            Lists make a multi-label classifier: of class names or ids, or of 0 and 1 for each class (as floats, or
            where every row has one length and some a number twice). Lists of floats that sum to 1, some of them
            fractions, are class probabilities.
        origins (`Mapping[str, str]`): File or split name to quote in an error, by split.
        soft_names (`Sequence[str]`, *optional*): Says that the lists are class probabilities, and the classes' names,
            if they have some.

    Returns:
        `tuple`: The splits, with -1 where the test split has no labels (no column, if labels are lists, which become
        lists of class ids, or probabilities by name), and the class names: those of the `ClassLabel` or the sorted
        labels of the training split (of all splits if there is none), empty if no split has labels.

    Raises:
        ValueError: If a label is missing, NaN or unknown to the training split; names file or split, row and label.
    """
    labelled = {name: _values(name, split, column, origins[name]) for name, split in data.items()}
    labelled = {name: values for name, values in labelled.items() if values is not None}
    pool = labelled.get("train", next(iter(labelled.values()), []))
    if labelled and (soft_names is not None or are_soft(pool)):
        return encode_soft(data, column, labelled, origins, soft_names or ())
    if any(isinstance(values[0], list) for values in labelled.values()):
        return _encode_lists(data, column, labelled, origins)
    if any(isinstance(value, float) for value in pool):
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


def align_labels(
    label2id: Mapping[str, int] | None, names: Sequence[str], *, complete: bool = True
) -> tuple[str, ...]:
    """Class names in the order that the model gives them, or in the dataset's order if the model names others.

    Names are compared without regard to case; a model's `LABEL_3` counts as the name `3`.

    Args:
        label2id (`Mapping[str, int]`, *optional*): From the pretrained model's configuration.
        names (`Sequence[str]`): Class names in the dataset's order.
        complete (`bool`): `False` if the data may lack some classes: then the model's classes are taken, spelt as in
            the data where it has them.

    Returns:
        `tuple[str, ...]`: Class names by id.

    Raises:
        ValueError: If the data is not complete and has a class that the model lacks.
    """
    spelt = {name.lower(): name for name in names}
    order = sorted(label2id or {}, key=lambda name: label2id[name])
    theirs = [name.lower().removeprefix("label_") for name in order]
    if len(spelt) < len(names) or len(set(theirs)) < len(theirs):
        spelt, theirs = {name: name for name in names}, order
    if set(theirs) == set(spelt) or (not complete and set(theirs) >= set(spelt)):
        return tuple(spelt.get(name, given) for name, given in zip(theirs, order, strict=True))
    if not complete:
        raise ValueError(
            f"the data has the labels {shown(names)}, the model knows {shown(order)}; "
            "give the training split too, or a model fine-tuned on these labels."
        )
    return tuple(names)


def class_ids(data: Dataset, column: str, label2id: Mapping[str, int], origin: str) -> np.ndarray:
    """Labels as class ids of the model, matched by name wherever there are names.

    Args:
        data (`Dataset`): The rows.
        column (`str`): Label column: class names as strings or a `ClassLabel`, or integers.
        label2id (`Mapping[str, int]`): Class names and ids of the model. Names are compared without regard to case; a
            model's `LABEL_3` counts as the name `3`. Integers, or whole floats, that are none of its names are its
            class ids; so are those of a `ClassLabel` with as many classes, if the model only has names such as
            `LABEL_0`.
        origin (`str`): Quoted in errors.

    Returns:
        `np.ndarray` of shape `(N,)`: Integers in `[0, C)`.

    Raises:
        ValueError: If a label is missing, a number with a fraction, or unknown to the model.
    """
    feature = data.features[column]
    if isinstance(feature, Value) and feature.dtype.startswith("float"):
        values = data[column][:]
        if all(value is not None and value.is_integer() for value in values):
            data = data.cast_column(column, Value("int64"))
    if hasattr(feature, "feature"):
        raise ValueError(
            f"{origin}: column {column!r} holds lists, several labels per row; a classifier of one label per row is "
            f"evaluated on classes: {shown(list(label2id))}."
        )
    encoded, names = encode_labels({"validation": data}, column, {"validation": origin})
    if names is None:
        raise ValueError(
            f"{origin}: column {column!r} holds numbers with fractions, the scores of a regression; a classifier is "
            f"evaluated on classes: {shown(list(label2id))}."
        )
    labels = np.asarray(encoded["validation"][column][:])
    generic = all(name.lower() == f"label_{place}" for name, place in label2id.items())
    if isinstance(data.features[column], ClassLabel) and generic and len(names) == len(label2id):
        if {name.lower() for name in names} != {str(place) for place in label2id.values()}:
            logger.warning(
                "The model does not name its classes; those of %s are taken in their order: %s.",
                origin,
                shown(names),
            )
        return labels
    known = {name.lower().removeprefix("label_") for name in label2id}
    if _are_integers(names) and not set(names) & known:
        table = np.array([int(name) for name in names])
        outside = [name for name in names if not 0 <= int(name) < len(label2id)]
        if outside:
            raise ValueError(
                f"{origin}: found the class {outside[0]}, but the model has {len(label2id)} classes, 0 to "
                f"{len(label2id) - 1}: {shown(list(label2id))}."
            )
        return table[labels]
    try:
        order = align_labels(label2id, names, complete=False)
    except ValueError as error:
        order_of_model = sorted(label2id, key=lambda name: label2id[name])
        raise ValueError(
            f"{origin}, column {column!r}: the data has the labels {shown(names)}; the model knows "
            f"{shown(order_of_model)}. Rename them, or name another column with --label_column_name."
        ) from error
    return np.array([order.index(name) for name in names])[labels]


def is_multi_label(split: Dataset, column: str) -> bool:
    """Whether [`encode_labels`] made lists of class ids of a label column."""
    return isinstance(getattr(split.features.get(column), "feature", None), ClassLabel)


def _encode_lists(
    data: Mapping[str, Dataset], column: str, labelled: Mapping[str, list], origins: Mapping[str, str]
) -> tuple[DatasetDict, tuple[str, ...]]:
    """Lists of class ids, and the class names, of labels that are lists."""
    for name, values in labelled.items():
        for row, value in enumerate(values, start=1):
            if not isinstance(value, list):
                raise ValueError(f"{origins[name]}, row {row}: found label {value!r}, others are lists.")
    reference = "train" if "train" in labelled else next(iter(labelled))
    inner = getattr(data[reference].features[column], "feature", None)
    pool = [row for values in labelled.values() for row in values]
    if isinstance(inner, ClassLabel):
        labelled = {name: [[inner.names[k] for k in row] for row in values] for name, values in labelled.items()}
        names = tuple(inner.names)
    elif _are_switches(pool):
        labelled = {name: [np.flatnonzero(row).tolist() for row in values] for name, values in labelled.items()}
        names = tuple(map(str, range(len(pool[0]))))
    elif any(isinstance(value, float) for row in pool for value in row):
        raise ValueError(
            f"{origins[reference]}: the lists of column {column!r} hold floats other than 0 and 1 for each class, "
            "which do not sum to 1 in each row either; write class names, ids or probabilities."
        )
    else:
        classes = {value for row in labelled[reference] for value in row}
        classes |= set() if reference == "train" else {value for row in pool for value in row}
        names = _sorted_names(classes)
    if len(names) < 2:
        raise ValueError(f"{origins[reference]}: found the labels {shown(names) or 'none'}; two or more are needed.")
    out = DatasetDict()
    for name, split in data.items():
        rest = split.remove_columns(column) if column in split.column_names else split
        if name in labelled:
            numbered = enumerate(labelled[name], start=1)
            ids = [sorted(set(_ids(labels, names, origins[name], row))) for row, labels in numbered]
            rest = rest.add_column(column, ids, feature=ListOf(ClassLabel(names=list(names))))
        out[name] = rest
    return out, names


def _are_switches(rows: list[list]) -> bool:
    """Whether lists hold 0 or 1 for each class, not the ids of the classes."""
    numbers = [value for row in rows for value in row]
    if len({len(row) for row in rows}) > 1 or not numbers or any(value not in (0, 1) for value in numbers):
        return False
    return any(isinstance(value, float) for value in numbers) or any(len(set(row)) < len(row) for row in rows)


def _is_label_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value)


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
        if not isinstance(value, (str, int, float)) and not _is_label_list(value):
            raise ValueError(f"{origin}, row {row}: found label {value!r}, allowed are strings and numbers.")
    if isinstance(feature, ClassLabel):  # lists of them are looked at together
        return [feature.names[v] if 0 <= v < len(feature.names) else v for v in values]
    return values


def _class_names(data: Mapping[str, Dataset], column: str, labelled: Mapping[str, list]) -> tuple[str, ...]:
    reference = "train" if "train" in labelled else next(iter(labelled), None)
    if reference is not None and isinstance(data[reference].features[column], ClassLabel):
        return tuple(data[reference].features[column].names)
    pools = [labelled["train"]] if "train" in labelled else labelled.values()
    classes = {value for values in pools for value in values}
    return _sorted_names(classes)


def _sorted_names(classes: set) -> tuple[str, ...]:
    numeric = all(isinstance(value, int) for value in classes)
    return tuple(str(value) for value in (sorted(classes) if numeric else sorted(classes, key=str)))


def _ids(values: list, names: tuple[str, ...], origin: str, row: int | None = None) -> list[int]:
    ids = {name: position for position, name in enumerate(names)}
    for place, value in enumerate(values, start=1):
        if str(value) not in ids:
            raise ValueError(f"{origin}, row {row or place}: found label {value!r}, allowed are: {shown(names)}.")
    return [ids[str(value)] for value in values]


def _scores(values: list, origin: str) -> list[float]:
    for row, value in enumerate(values, start=1):
        if isinstance(value, str):
            raise ValueError(f"{origin}, row {row}: found label {value!r}, allowed are numbers, as in training.")
    return [float(value) for value in values]


def _are_integers(names: Sequence[str]) -> bool:
    return all(name.lstrip("-").isdigit() for name in names)
