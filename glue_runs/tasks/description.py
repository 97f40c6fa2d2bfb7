# SPDX-License-Identifier: Apache-2.0
"""What the columns of a dataset mean, and whose label order is used: the model's own or the dataset's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from datasets import ClassLabel, Dataset
from datasets import Sequence as ListOf

from glue_runs.tasks.types import GlueTask
from logitmix_nlp.evaluation.data.columns import Columns
from logitmix_nlp.evaluation.data.labels import MISSING_LABEL, align_labels, is_multi_label
from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION, SINGLE_LABEL

__all__ = [
    "DataDescription",
    "drop_missing_labels",
    "resolve_labels",
    "with_label_order",
]


@dataclass(frozen=True)
class DataDescription:
    """What the columns of a dataset mean.

    Args:
        text_columns (`tuple` of `str`): One or two text columns; of images none.
        label_column (`str`): Column of class ids or scores; -1 marks a row of a test split without label.
        label_names (`tuple` of `str`, *optional*): Class names in the order of their ids; `None` for regression. Empty
            if no split has labels.
        labels_complete (`bool`): `False` if there was no training split to take all class names from.
        metrics (`tuple` of `str`): Scores to compute, names of `glue_runs.tasks.scores.SCORES`.
        positive_label (`int`): Class id that the F1 score counts as positive.
        evaluation_splits (`tuple` of `str`): Splits that `--do_eval` scores.
        prediction_files (`tuple`): Pairs of split and file name that `--do_predict` writes.
        multi_label (`bool`): Whether a row may have several classes, or none.
        soft_labels (`bool`): Whether labels are lists of class probabilities.
        task (`GlueTask`, *optional*): The GLUE task that the data is; `None` for the user's own.
        image_column (`str`, *optional*): Column of images, where there are no texts.
        tokens (`bool`): Whether texts are lists of words, with a list of as many tags for labels.
    """

    text_columns: tuple[str, ...]
    label_column: str
    label_names: tuple[str, ...] | None
    labels_complete: bool = True
    metrics: tuple[str, ...] = ("accuracy",)
    positive_label: int = 1
    evaluation_splits: tuple[str, ...] = ("validation",)
    prediction_files: tuple[tuple[str, str], ...] = (("test", "predictions.tsv"),)
    multi_label: bool = False
    soft_labels: bool = False
    task: GlueTask | None = None
    image_column: str | None = None
    tokens: bool = False

    @property
    def is_own(self) -> bool:
        """Whether the data is the user's, so that every class is scored too."""
        return self.task is None

    @property
    def columns(self) -> Columns:
        """What a model's configuration notes of the columns."""
        return Columns(self.text_columns, self.image_column, self.label_column)

    @property
    def problem_type(self) -> str:
        """What Transformers calls this kind of labels."""
        if self.is_regression:
            return REGRESSION
        return MULTI_LABEL if self.multi_label else SINGLE_LABEL

    @property
    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return self.label_names is None


def resolve_labels(
    description: DataDescription, label2id: Mapping[str, int] | None, problem_type: str | None = None
) -> DataDescription:
    """The description with the labels, or without any the kind of labels, that the model has; see [`align_labels`]."""
    if description.is_regression:
        return description
    if not description.label_names and len(label2id or {}) == 1:
        return replace(description, label_names=None, metrics=("pearson", "spearmanr"))
    if not description.label_names and problem_type == MULTI_LABEL:
        description = replace(description, multi_label=True, metrics=("micro_f1",))
    names = align_labels(label2id, description.label_names, complete=description.labels_complete)
    positive = description.positive_label
    if positive < len(description.label_names):
        positive = names.index(description.label_names[positive])
    return replace(description, label_names=names, positive_label=positive)


def with_label_order(split: Dataset, column: str, names: Sequence[str]) -> Dataset:
    """The split with class ids renumbered to the order of `names`; -1 stays. All others as given."""
    feature = split.features.get(column)
    if is_multi_label(split, column) and feature.feature.names != list(names):
        table = [names.index(name) for name in feature.feature.names]
        lists = [[table[label] for label in labels] for labels in split[column]]
        kind = ListOf(ClassLabel(names=list(names)))
        return split.remove_columns(column).add_column(column, lists, feature=kind)
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
