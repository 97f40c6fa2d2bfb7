# SPDX-License-Identifier: Apache-2.0
"""What a text classifier needs of its tokenizer: a vocabulary, a token to pad with, and a length."""

from contextlib import suppress
from numbers import Real
from typing import Any

from torch import nn
from transformers import (
    AutoTokenizer,
    BatchEncoding,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.training.model_folders import check_model_name

__all__ = [
    "check_ids", "check_length", "check_padding", "check_vocabulary", "load_tokenizer", "load_word_tokenizer",
    "position_limit", "set_padding", "word_starts",
]  # fmt: skip

POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions")
SAVE_IT = "save the one that the model was trained with into it (tokenizer.save_pretrained)."


def load_tokenizer(name: str, **hub: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer that tells texts apart.

    Args:
        name (`str`): Folder, or Hub id.
        **hub: Passed to `AutoTokenizer.from_pretrained`.

    Returns:
        `PreTrainedTokenizerBase`: The tokenizer.

    Raises:
        OSError: If the Hub cannot be reached, or has no such model.
        ValueError: If there is no tokenizer, or it is damaged.
    """
    check_model_name(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **hub)
    except OSError:
        raise
    except Exception as error:  # the tokenizers library raises bare ones
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name} holds no tokenizer that can be read ({reason}): {SAVE_IT}") from error
    check_vocabulary(tokenizer, name)
    limit = tokenizer.model_max_length
    if not isinstance(limit, Real) or not limit >= 1:
        raise ValueError(f"{name}: model_max_length of its tokenizer_config.json must be at least 1, got {limit!r}.")
    return tokenizer


def load_word_tokenizer(name: str, **hub: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer of texts that are lists of words; see [`load_tokenizer`].

    One that tells words apart by the space before them (GPT-2, RoBERTa) is told to put one before each.

    Raises:
        ValueError: If it does not know which token belongs to which word.
    """
    tokenizer = load_tokenizer(name, **hub)
    if getattr(tokenizer, "add_prefix_space", None) is False:
        tokenizer = load_tokenizer(name, add_prefix_space=True, **hub)
    if not tokenizer.is_fast:
        raise ValueError(
            f"{name}: {type(tokenizer).__name__} does not tell which token belongs to which word, which tags need: "
            "give a model with a fast tokenizer (tokenizer.json)."
        )
    return tokenizer


def word_starts(batch: BatchEncoding, row: int) -> dict[int, int]:
    """Places of the first tokens of words in one row of what a tokenizer made of lists of words, and those words."""
    starts: dict[int, int] = {}
    for place, word in enumerate(batch.word_ids(row)):
        if word is not None and word not in starts:
            starts[word] = place
    return {place: word for word, place in starts.items()}


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a tokenizer that knows special tokens only, which is what loading makes of a folder without one.

    Raises:
        ValueError: Naming the folder.
    """
    known = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if len(known) < 2:  # one is what SentencePiece makes of a space
        raise ValueError(f"{name} holds no tokenizer with a vocabulary, so all texts would look alike: {SAVE_IT}")


def check_length(tokenizer: PreTrainedTokenizerBase, max_length: int | None, texts: int) -> None:
    """Refuse a longest input that leaves no room for a token of each text.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Says how many special tokens there are.
        max_length (`int`, *optional*): Longest input in tokens; `None` is no limit.
        texts (`int`): 1 or 2 for each row.

    Raises:
        ValueError: Saying how long it must be.
    """
    least = tokenizer.num_special_tokens_to_add(texts == 2) + texts
    if max_length is not None and max_length < least:
        words = "one text" if texts == 1 else "two texts"
        raise ValueError(
            f"max_seq_length must be at least {least} for {words} and the special tokens, got {max_length}."
        )


def position_limit(model: PreTrainedModel) -> int | None:
    """How many tokens a model has positions for, `None` if it counts them without a table.

    A table with a row for padding, as RoBERTa's, numbers tokens from behind that.
    """
    limits = [getattr(model.config, "max_position_embeddings", None)]
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITION_TABLES:
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min(limit for limit in limits if limit and limit > 0) if len(limits) > 1 else None


def check_ids(highest: int, model: PreTrainedModel, name: str) -> None:
    """Refuse token ids that the model has no embedding for.

    Args:
        highest (`int`): Highest id of the texts.
        model (`PreTrainedModel`): The model.
        name (`str`): Folder or Hub id of the tokenizer, for the message.

    Raises:
        ValueError: Naming both numbers.
    """
    embeddings = None
    with suppress(NotImplementedError, AttributeError):  # models that look up no ids
        embeddings = model.get_input_embeddings()
    if isinstance(embeddings, nn.Embedding) and highest >= embeddings.num_embeddings:
        raise ValueError(
            f"{name}: its tokenizer gives the id {highest}, but {type(model).__name__} has embeddings for ids below "
            f"{embeddings.num_embeddings} only: {SAVE_IT}"
        )


def set_padding(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> None:
    """Give tokenizer and model a padding token where they lack one, as GPT-2 does; both are saved with the model.

    It is the end-of-text token. Heads that pool the last token find it by its not being padding; so where the
    tokenizer ends each text in that token, another special one is taken.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Changed if it has no padding token.
        model (`PreTrainedModel`): Its configuration is changed if it names no padding token.
        name (`str`): What to call them in an error.

    Raises:
        ValueError: If there is no token to pad with.
    """
    config = model.config
    if tokenizer.pad_token_id is None and config.pad_token_id is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(config.pad_token_id)
    if tokenizer.pad_token_id is None:
        last = tokenizer("a")["input_ids"][-1:]
        tokens = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token)
        fit = [token for token in tokens if token and tokenizer.convert_tokens_to_ids(token) not in last]
        if not fit:
            raise ValueError(
                f"{name}: its tokenizer has no padding token, and no other that could stand in: set "
                "tokenizer.pad_token and save it (tokenizer.save_pretrained)."
            )
        tokenizer.pad_token = fit[0]
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id


def check_padding(collator: Any) -> None:
    """Refuse a collator that pads with a tokenizer which has no token for that.

    Raises:
        SetupError: Saying which attributes to set.
    """
    kinds = (DataCollatorWithPadding, DataCollatorForTokenClassification)
    pads = isinstance(collator, kinds) and collator.padding not in (False, "do_not_pad")
    if pads and collator.tokenizer.pad_token is None:
        raise SetupError(
            f"{type(collator.tokenizer).__name__} has no padding token: set tokenizer.pad_token (to "
            "tokenizer.eos_token, say), and model.config.pad_token_id to its id."
        )
