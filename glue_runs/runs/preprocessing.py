# SPDX-License-Identifier: Apache-2.0
"""From sentences to model inputs; rows stay in order and none is dropped."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset, DatasetDict
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from glue_runs.runs.arguments import DataArguments
from glue_runs.tasks.description import DataDescription, drop_missing_labels, with_label_order
from logitmix_nlp.functional.checks import IGNORED
from logitmix_nlp.training.tokenizers import check_ids, check_length, position_limit, word_starts

__all__ = ["longest_input", "model_inputs", "select", "tag_inputs", "tokenize"]

SEEN = "seen words"

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
    inputs, longest = DatasetDict(), longest_input(args.max_seq_length, tokenizer, model)
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
        _check_vocabulary(inputs[name], tokenizer, model)
    return inputs


def _check_vocabulary(inputs: Dataset, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None) -> None:
    """Refuse ids that the model has no embedding for."""
    ids = inputs.data.column(tokenizer.model_input_names[0])
    if model is not None:
        check_ids(pc.max(pc.list_flatten(ids)).as_py() or 0, model, tokenizer.name_or_path)


def tag_inputs(
    split: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    description: DataDescription,
    args: DataArguments,
    max_length: int,
    model: PreTrainedModel | None = None,
) -> tuple[Dataset, list[list[int]]]:
    """Model inputs of sentences of words, and which words of each the model sees.

    Args:
        split (`Dataset`): Rows with the description's column of words, and of tags if there are some.
        tokenizer (`PreTrainedTokenizerBase`): Takes words.
        description (`DataDescription`): Meaning of the columns.
        args (`DataArguments`): Padding, and whether to tokenize again.
        max_length (`int`): Longest input in tokens; what is beyond is cut.
        model (`PreTrainedModel`, *optional*): Whose embeddings the ids must have.

    Returns:
        `tuple`: The tokenizer's columns and `labels`: the tag of a word at its first token, -100 elsewhere; class 0
        stands for each tag if there are none, so that these tokens are known by it. And places of words with a token.

    Raises:
        ValueError: If the model has no embedding for a token.
    """
    padding = "max_length" if args.pad_to_max_length else False
    encode = partial(_encode_words, tokenizer=tokenizer, description=description, max_length=max_length, pad=padding)
    inputs = split.map(
        encode,
        batched=True,
        remove_columns=split.column_names,
        load_from_cache_file=not args.overwrite_cache,
        desc="Tokenizing",
    )
    _check_vocabulary(inputs, tokenizer, model)
    return inputs.remove_columns(SEEN), inputs[SEEN][:]


def _encode_words(
    rows: dict[str, list], tokenizer: PreTrainedTokenizerBase, description: DataDescription, max_length: int, pad: Any
) -> BatchEncoding:
    words = rows[description.text_columns[0]]
    batch = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length, padding=pad)
    tags = rows.get(description.label_column) or [[0] * len(row) for row in words]
    starts = [word_starts(batch, row) for row in range(len(words))]
    batch["labels"] = [
        [of_row[first[place]] if place in first else IGNORED for place in range(len(ids))]
        for of_row, first, ids in zip(tags, starts, batch["input_ids"], strict=True)
    ]
    batch[SEEN] = [list(first.values()) for first in starts]
    return batch


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


def longest_input(asked: int, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None) -> int:
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
