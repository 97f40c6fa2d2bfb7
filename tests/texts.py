# SPDX-License-Identifier: Apache-2.0
"""Small text classifiers of several architectures with a tokenizer, rows of pairs, and runs for the tests."""

from functools import cache

import tiny
import torch
import zoo
from tokenizers import Tokenizer, models
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast

from logitmix_nlp import LogitMixTrainer

MODELS = ("bert", "roberta", "distilbert", "deberta-v2", "gpt2", "modernbert")
PAD, CLS, SEP, UNKNOWN = range(4)
SPECIAL = (PAD, CLS, SEP)


@cache
def tokenizer(side: str = "right") -> PreTrainedTokenizerFast:
    """Of whole words, with the special ids of [`zoo.TEXT`]."""
    words = {"[PAD]": PAD, "[CLS]": CLS, "[SEP]": SEP, "[UNK]": UNKNOWN, **{f"w{id}": id for id in range(4, 101)}}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="[UNK]")), pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", unk_token="[UNK]", padding_side=side, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def rows(count: int, *, pairs: bool = True) -> list[dict]:
    """Texts of 1 to 9 tokens between special ones, some of them unknown, with labels."""
    generator = torch.Generator().manual_seed(count)

    def text() -> list[int]:
        length = int(torch.randint(1, 10, (), generator=generator))
        return [*torch.randint(UNKNOWN, 101, (length,), generator=generator).tolist(), SEP]

    return [{"input_ids": [CLS, *text(), *(text() if pairs else [])], "labels": row % 3} for row in range(count)]


def batch(data: list[dict], side: str = "right") -> dict[str, torch.Tensor]:
    """Rows as the model gets them, with `labels`."""
    batch = DataCollatorWithPadding(tokenizer(side))(data)
    return {name: value.to(tiny.device()) for name, value in batch.items()}


def trainer(output_dir, name: str, data: list[dict], model=None, **options) -> LogitMixTrainer:
    """Trainer of one architecture that takes plain gradient steps; `callbacks` may be given too."""
    extras = {key: options.pop(key) for key in ("callbacks", "processing_class", "data_collator") if key in options}
    settings = {"optim": "sgd", "max_grad_norm": 0.0, **options}
    return LogitMixTrainer(
        zoo.build(name).train() if model is None else model, tiny.arguments(output_dir, **settings),
        train_dataset=data, **{"processing_class": tokenizer(), **extras},
    )  # fmt: skip
