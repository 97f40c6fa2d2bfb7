# SPDX-License-Identifier: Apache-2.0
"""From sentences to model inputs; rows stay in order and none is dropped."""

import logging
from collections.abc import Mapping
from functools import partial

import pyarrow.compute as pc
from datasets import Dataset, DatasetDict
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from glue_runs.runs.arguments import DataArguments
from glue_runs.tasks.description import DataDescription, drop_missing_labels, with_label_order
from logitmix_nlp.training.tokenizers import check_ids, check_length, position_limit

__all__ = ["model_inputs", "select", "tokenize"]

logger = logging.getLogger(__name__)


def select(split: Dataset, max_samples: int | None) -> Dataset:
    """The first `max_samples` rows, all if it is `None` or more than there are."""
    return split if max_samples is None else split.select(range(min(max_samples, len(split))))


def model_inputs(
    rows: Mapping[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    description: DataDescription,
    args: DataArguments,
    model: PreTrainedModel | None = None,
) -> DatasetDict:
    """Model inputs of every split, with class ids in the order of the description; see [`tokenize`].

    Args:
        rows (`Mapping[str, Dataset]`): Splits, as loaded.
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of the model.
        description (`DataDescription`): Meaning of the columns, with the label order of the model.
        args (`DataArguments`): Length and padding.
        model (`PreTrainedModel`, *optional*): Texts are cut to what it has positions for.

    Returns:
        `DatasetDict`: The splits; a split without labels has no column `label`.

    Raises:
        ValueError: If `max_seq_length` leaves no room for the texts, or the model has no embedding for a token.
    """
    inputs, longest = DatasetDict(), _longest(args.max_seq_length, tokenizer, model)
    check_length(tokenizer, longest, len(description.text_columns))
    for name, split in rows.items():
        split = with_label_order(split, description.label_column, description.label_names or ())
        inputs[name] = tokenize(
            drop_missing_labels(split, description.label_column) if name.startswith("test") else split,
            tokenizer,
            description,
            max_length=longest,
            pad_to_max_length=args.pad_to_max_length,
            overwrite_cache=args.overwrite_cache,
        )
        ids = inputs[name].data.column(tokenizer.model_input_names[0])
        if model is not None:
            check_ids(pc.max(pc.list_flatten(ids)).as_py() or 0, model, tokenizer.name_or_path)
    return inputs


def tokenize(
    split: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    description: DataDescription,
    *,
    max_length: int = 128,
    pad_to_max_length: bool = False,
    overwrite_cache: bool = False,
) -> Dataset:
    """Model inputs for each row.

    Args:
        split (`Dataset`): Rows with the description's text columns; the label column may be absent.
        tokenizer (`PreTrainedTokenizerBase`): Tokenizer of the model.
        description (`DataDescription`): Meaning of the columns.
        max_length (`int`): Longest input in tokens; of a pair the longer sentence is cut first.
        pad_to_max_length (`bool`): Pad every row to `max_length`; the default leaves padding to the collator.
        overwrite_cache (`bool`): Tokenize again even if the result is cached.

    Returns:
        `Dataset`: The tokenizer's columns and, if the split has labels, `label`; rows in the given order.
    """
    padding = "max_length" if pad_to_max_length else False
    encode = partial(_encode, tokenizer=tokenizer, description=description, max_length=max_length, padding=padding)
    return split.map(
        encode,
        batched=True,
        remove_columns=split.column_names,
        load_from_cache_file=not overwrite_cache,
        desc="Tokenizing",
    )


def _longest(asked: int, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None) -> int:
    """What is asked for, lowered with a warning to what tokenizer and model take."""
    limits = {"tokenizer": tokenizer.model_max_length}
    if model is not None and (positions := position_limit(model)) is not None:
        limits["model"] = positions
    whose = min(limits, key=limits.get)
    if asked <= limits[whose]:
        return asked
    logger.warning("max_seq_length %d exceeds the limit of the %s; %d is used.", asked, whose, limits[whose])
    return limits[whose]


def _encode(
    rows: dict[str, list],
    tokenizer: PreTrainedTokenizerBase,
    description: DataDescription,
    max_length: int,
    padding: str | bool,
) -> BatchEncoding:
    texts = [rows[name] for name in description.text_columns]
    inputs = tokenizer(*texts, padding=padding, max_length=max_length, truncation=True)
    if description.label_column in rows:
        inputs["label"] = rows[description.label_column]
        if description.multi_label:
            places = range(len(description.label_names))
            inputs["label"] = [[float(place in row) for place in places] for row in inputs["label"]]
        elif description.soft_labels:
            inputs["label"] = [[row.get(name, 0.0) for name in description.label_names] for row in inputs["label"]]
    return inputs
