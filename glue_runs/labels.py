# SPDX-License-Identifier: Apache-2.0
"""What the columns of a dataset mean, and whose label order is used: the model's own or the dataset's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from datasets import ClassLabel, Dataset

from glue_runs.tsv import MISSING_LABEL

__all__ = [
    "DataDescription",
    "align_labels",
    "drop_missing_labels",
    "resolve_labels",
    "with_label_order",
]


@dataclass(frozen=True)
class DataDescription:
    """What the columns of a dataset mean.

    Args:
        text_columns (`tuple` of `str`): One or two text columns.
        label_column (`str`): Column of class ids or scores; -1 marks a row of a test split without label.
        label_names (`tuple` of `str`, *optional*): Class names in the order of their ids; `None` for regression. Empty
            if no split has labels.
        labels_complete (`bool`): `False` if there was no training split to take all class names from.
        metrics (`tuple` of `str`): Scores to compute, names of `glue_runs.metrics.SCORES`.
        positive_label (`int`): Class id that the F1 score counts as positive.
        evaluation_splits (`tuple` of `str`): Splits that `--do_eval` scores.
        prediction_files (`tuple`): Pairs of split and file name that `--do_predict` writes.
    """

    text_columns: tuple[str, ...]
    label_column: str
    label_names: tuple[str, ...] | None
    labels_complete: bool = True
    metrics: tuple[str, ...] = ("accuracy",)
    positive_label: int = 1
    evaluation_splits: tuple[str, ...] = ("validation",)
    prediction_files: tuple[tuple[str, str], ...] = (("test", "predictions.tsv"),)

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return self.label_names is None


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
            f"the data has the labels {', '.join(names)}, the model knows {', '.join(order)}; "
            "give the training split too, or a model fine-tuned on these labels."
        )
    return tuple(names)


def resolve_labels(description: DataDescription, label2id: Mapping[str, int] | None) -> DataDescription:
    """The description with the labels that the model will use; see [`align_labels`]."""
    if description.is_regression:
        return description
    if not description.label_names and len(label2id or {}) == 1:
        return replace(description, label_names=None, metrics=("pearson", "spearmanr"))
    names = align_labels(label2id, description.label_names, complete=description.labels_complete)
    positive = description.positive_label
    if positive < len(description.label_names):
        positive = names.index(description.label_names[positive])
    return replace(description, label_names=names, positive_label=positive)


def with_label_order(split: Dataset, column: str, names: Sequence[str]) -> Dataset:
    """The split with class ids renumbered to the order of `names`; -1 stays. Scores and unlabelled splits as given."""
    feature = split.features.get(column)
    if not isinstance(feature, ClassLabel) or feature.names == list(names):
        return split
    table = np.array([names.index(name) for name in feature.names] + [MISSING_LABEL])
    ids = table[np.asarray(split[column][:])]
    return split.remove_columns(column).add_column(column, ids, feature=ClassLabel(names=list(names)))


def drop_missing_labels(split: Dataset, column: str) -> Dataset:
    """The split without its label column if every label is -1, so that the model is not asked for a loss."""
    if column in split.column_names and all(label == MISSING_LABEL for label in split[column]):
        return split.remove_columns(column)
    return split
