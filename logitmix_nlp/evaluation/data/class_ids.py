# SPDX-License-Identifier: Apache-2.0
"""Labels of a data set as class ids of a model, matched by name wherever there are names."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from datasets import ClassLabel, Dataset, Value

from logitmix_nlp.evaluation.data.class_names import align_labels
from logitmix_nlp.evaluation.data.encoding import encode_labels
from logitmix_nlp.evaluation.data.lines import shown

__all__ = ["class_ids"]

logger = logging.getLogger(__name__)


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


def _are_integers(names: Sequence[str]) -> bool:
    return all(name.lstrip("-").isdigit() for name in names)
