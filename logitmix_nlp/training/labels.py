# SPDX-License-Identifier: Apache-2.0
"""Labels of the training data: read as one column where that can be, checked, told apart, and weighed by class."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from functools import partial
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
    default_data_collator,
)
from transformers.utils import logging

from logitmix_nlp.functional.checks import (
    IGNORED,
    MULTI_LABEL,
    SOFT_LABEL,
    are_probabilities,
    bad_labels,
    check_label_values,
)
from logitmix_nlp.functional.row_loss import infer_problem_type
from logitmix_nlp.mixing.outputs import SetupError

__all__ = ["CheckedCollator", "dataset_labels", "kind_of_labels", "label_weights", "loader_labels", "read_weights"]

logger = logging.get_logger(__name__)

BALANCED = "balanced"
LABEL_COLUMNS = ("labels", "label", "label_ids")
NEEDS = {
    "class_weights": ("'balanced' or one number of at least 0 for each class, not all 0", lambda x: x >= 0),
    "pos_weight": ("one number above 0 for each label, or one for all", lambda x: x > 0),
}


class Weights(list):
    """Numbers; made of words or of one number, too, as a search gives each value the type of the one before."""

    def __init__(self, given: Any = ()):
        given = given.split() if isinstance(given, str) else given
        super().__init__(given if isinstance(given, Iterable) else [given])


def read_weights(name: str, given: Any) -> list[float] | str | None:
    """Weights as numbers, from numbers, a tensor or words of a command line; `"balanced"` and `None` stay.

    Raises:
        ValueError: Saying what was given and what is allowed.
    """
    if given is None:
        return None
    allowed, fits = NEEDS[name]
    values = given.tolist() if hasattr(given, "tolist") else given
    values = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    words = " ".join(map(str, values)).strip("[]").replace(",", " ").split()
    if name == "class_weights" and words == [BALANCED]:
        return BALANCED
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if not any(numbers) or not all(math.isfinite(x) and fits(x) for x in numbers):
        raise ValueError(f"{name} must be {allowed}, got {given!r}.")
    return Weights(numbers)


def label_weights(args: Any, num_labels: int, dataset: Any, device: torch.device | str) -> dict[str, torch.Tensor]:
    """Class weights and positive weights as [`RowLoss`] takes them.

    Args:
        args (`LogitMixTrainingArguments`): `class_weights` and `pos_weight` are read.
        num_labels (`int`): Number of outputs of the model.
        dataset (`Any`): Training data, whose labels are counted for `"balanced"`: `n / (num_labels * count)`, as in
            scikit-learn. Without it, all classes weigh the same.
        device (`torch.device` or `str`): Where the tensors go.

    Returns:
        `dict[str, torch.Tensor]`: Those that were given, float32 of shape `(num_labels,)`.

    Raises:
        SetupError: If the number of weights is not that of the labels, or labels cannot be counted, or a class has no
            rows.
    """
    by_name = {}
    for name in NEEDS:
        weights = read_weights(name, getattr(args, name))
        if weights == BALANCED:
            if dataset is None:
                logger.warning("class_weights='balanced' has no train_dataset to count: eval_loss is not weighted.")
            weights = None if dataset is None else _balanced(count_classes(dataset_labels(dataset), num_labels))
        if weights is None:
            continue
        if name == "pos_weight" and len(weights) == 1:
            weights = weights * num_labels
        if len(weights) != num_labels:
            raise SetupError(f"{name} must hold one number for each of {num_labels} labels, got {len(weights)}.")
        by_name[name] = torch.tensor(weights, dtype=torch.float32, device=device)
    return by_name


def _balanced(counts: torch.Tensor) -> list[float]:
    empty = (counts == 0).nonzero().flatten().tolist()
    if empty:
        raise SetupError(
            f"class_weights='balanced': class {empty[0]} has no rows in the training data; give the weights as "
            "numbers, one for each class."
        )
    return (counts.sum() / (len(counts) * counts)).tolist()


def dataset_labels(dataset: Any) -> torch.Tensor | None:
    """All labels of a dataset, read as one column; `None` where they could only be read row by row, or not at all.

    Args:
        dataset (`Any`): A `datasets.Dataset` with a column of labels (one that is transformed as it is read has none),
            a list of rows, or a dataset with all labels in an attribute `labels`.

    Returns:
        `torch.Tensor`: Of shape `(N,)` or `(N, C)`, in the order of the rows; those of tokens, if rows have several
        lengths, as one row `(1, M)`.
    """
    if isinstance(dataset, datasets.Dataset):
        name = next((name for name in LABEL_COLUMNS if name in dataset.column_names), None)
        if name is None or dataset.format["type"] == "custom":
            return None
        values = dataset.with_format("numpy", columns=[name])[:][name]
    elif isinstance(dataset, list | tuple) and dataset and isinstance(dataset[0], Mapping):
        name = next((name for name in LABEL_COLUMNS if name in dataset[0]), None)
        values = [row.get(name) for row in dataset]
    else:
        values = getattr(dataset, "labels", None)
        if not isinstance(dataset, Sized) or not isinstance(values, Sized) or len(values) != len(dataset):
            return None
    try:
        return torch.as_tensor(values if isinstance(values, torch.Tensor) else np.asarray(values))
    except (TypeError, ValueError):  # lists of several lengths, or labels that are no numbers
        return _of_tokens(values)


def _of_tokens(values: Sequence) -> torch.Tensor | None:
    """Integers of all rows, one behind the other, `(1, M)`; `None` for anything else."""
    try:
        joined = np.concatenate([np.asarray(row) for row in values])
    except (TypeError, ValueError):
        return None
    return torch.as_tensor(joined)[None] if joined.dtype.kind in "iu" else None


def count_classes(labels: torch.Tensor | None, num_labels: int) -> torch.Tensor:
    """Rows, or tagged tokens, of each class, `(num_labels,)`; of rows of probabilities, their sum.

    Raises:
        SetupError: If there are no labels to read, or they are no classes of the model.
    """
    if labels is None:
        raise SetupError(
            "class_weights='balanced' counts the labels of train_dataset, which cannot be read as a column here (a "
            "stream, or rows made on the fly): give the weights as numbers, one for each class."
        )
    if labels.dim() == 2 and not labels.is_floating_point():
        labels = labels[labels != IGNORED]
    if labels.dim() == 2 and labels.shape[1] == num_labels:
        return labels.double().sum(0)
    if labels.is_floating_point() or labels.dim() != 1 or ((labels < 0) | (labels >= num_labels)).any():
        raise SetupError(
            f"class_weights='balanced' counts class ids in [0, {num_labels}), and the labels of train_dataset are "
            f"others (shape {tuple(labels.shape)}, {labels.dtype}): give the weights as numbers, one for each class."
        )
    return torch.bincount(labels.long(), minlength=num_labels).double()


def kind_of_labels(labels: torch.Tensor, num_labels: int, *, complete: bool) -> str:
    """Name the kind of labels by their type and, for several floats a row, their values.

    Args:
        labels (`torch.Tensor`): Of a batch or of a dataset.
        num_labels (`int`): Number of outputs of the model.
        complete (`bool`): Whether these are all labels of the training data. Some of them that happen to be 1 and 0
            with a single 1 in each row are taken for those of several labels a row, as Transformers does.

    Returns:
        `str`: One of `config.problem_type`'s values, or `"soft_label_classification"`.

    Raises:
        SetupError: If all labels are 1 and 0 with a single 1 in each row, which may be probabilities or not; and if
            most rows, some of them with fractions, sum to 1, but not all.
    """
    kind = infer_problem_type(labels.new_empty(0, num_labels), labels)
    if kind != MULTI_LABEL or labels.dim() != 2 or labels.shape[1] != num_labels:
        return kind
    fit = are_probabilities(labels)
    soft = ((labels > 0) & (labels < 1)).any(1) & fit
    if len(labels) > fit.sum() > len(labels) / 2 and soft.any():
        row = (~fit).nonzero()[0, 0].item()
        raise SetupError(
            f"{fit.sum()} of {len(labels)} rows of labels are probabilities that sum to 1, but row {row} is "
            f"{labels[row].tolist()}: correct such rows, or set model.config.problem_type to "
            "'multi_label_classification' if a row may have several labels."
        )
    if not len(labels) or not fit.all():
        return MULTI_LABEL
    if soft.any():
        return SOFT_LABEL
    if complete:
        raise SetupError(
            f"Every row of labels is {num_labels} floats, one of them 1 and the others 0, which may be class "
            "probabilities or several labels a row: set model.config.problem_type to 'soft_label_classification' or "
            "'multi_label_classification'."
        )
    return MULTI_LABEL


class CheckedCollator:
    """A collator whose labels are checked where they are made, on the CPU.

    Args:
        collate (`Callable`): Makes batches.
        check (`Callable`): Raises if labels `(B, …)` cannot be right.
    """

    def __init__(self, collate: Callable[[list], Any], check: Callable[[torch.Tensor], None]):
        self.collate, self.check = collate, check

    def __call__(self, rows: list) -> Any:
        """Make a batch and look at its labels."""
        batch = self.collate(rows)
        labels = batch.get("labels") if isinstance(batch, Mapping) else None
        if isinstance(labels, torch.Tensor):
            self.check(labels)
        return batch


def loader_labels(loader: DataLoader, num_labels: int, problem_type: str | None) -> torch.Tensor | None:
    """All labels that a loader gives, checked once; if they cannot be known, each batch is checked as it is made.

    They are known where [`dataset_labels`] can read them and one of Transformers' own collators hands them on. A row
    whose label cannot be right there is made, as its batch would be, before it is refused.

    Args:
        loader (`DataLoader`): Of the training data.
        num_labels (`int`): Number of outputs of the model.
        problem_type (`str`, *optional*): What the model's configuration says.

    Returns:
        `torch.Tensor`: The labels, or `None` if each batch is checked.

    Raises:
        ValueError: See [`check_label_values`].
    """
    loader = getattr(loader, "base_dataloader", loader)  # within that of Accelerate
    collate = getattr(loader, "collate_fn", None)
    own = getattr(collate, "data_collator", collate)  # within that which takes columns away
    stock = (DefaultDataCollator, DataCollatorWithPadding, DataCollatorForTokenClassification)
    hands_on = own is default_data_collator or type(own) in stock
    labels = dataset_labels(loader.dataset) if hands_on else None
    known = {"num_labels": num_labels, "problem_type": problem_type}
    rows = [] if labels is None else bad_labels(labels, **known)[0].nonzero()[:1, 0].tolist()
    if rows and len(labels) == len(loader.dataset):
        made = collate([loader.dataset[rows[0]]]).get("labels")
        if made is not None and bad_labels(made, **known)[0].any():
            check_label_values(labels, **known, where="the training data")
    if labels is not None and not rows:
        return labels
    if collate is not None and not isinstance(collate, CheckedCollator):
        loader.collate_fn = CheckedCollator(collate, partial(check_label_values, **known))
    return None
