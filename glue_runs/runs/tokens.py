# SPDX-License-Identifier: Apache-2.0
"""Runs of tags: sentences of words from CoNLL files or datasets, scored by tokens and by the entities they mark."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
)

from glue_runs.runs.arguments import DataArguments, ModelArguments, OutputArguments
from glue_runs.runs.preprocessing import longest_input, select, tag_inputs
from glue_runs.runs.text_data import read_sources
from glue_runs.runs.texts import Texts
from glue_runs.tasks.description import DataDescription, with_label_order
from logitmix_nlp import LogitMixTrainingArguments, TokenMetrics
from logitmix_nlp.calibration.metrics import first_output, tagged_tokens
from logitmix_nlp.evaluation.data.columns import NONE_NAMED, Columns, stored_columns, with_trained
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.data.words import TAGS, check_words, encode_tags, word_columns
from logitmix_nlp.functional.entities import OUTSIDE, are_entity_tags
from logitmix_nlp.publishing.card import CardOptions
from logitmix_nlp.publishing.card_trainer import SPEED
from logitmix_nlp.training.tokenizers import check_length, load_word_tokenizer
from logitmix_nlp.whole_files import write_whole

__all__ = ["TokenDataArguments", "Tokens"]

logger = logging.getLogger(__name__)

# Only affine maps follow the last layer of most models for tokens; the embeddings cost twice a plain step.
SITE = "layer:-2"


@dataclass
class TokenDataArguments(DataArguments):
    """Which sentences: a dataset or files, with a column of words and one of tags."""

    sources: ClassVar[str] = "--dataset_name, or --train_file with --validation_file and --test_file"
    task_name: None = field(init=False, default=None)
    data_dir: None = field(init=False, default=None)
    soft_label_columns: None = field(init=False, default=None)
    text_column_names: list[str] | None = field(
        default=None, metadata={"help": "Column of lists of words. Default: tokens or words."}
    )
    label_column_name: str | None = field(
        default=None, metadata={"help": "Column of lists of tags. Default: ner_tags, tags, labels or label."}
    )


class Tokens(Texts):
    """Data and model of a run of `scripts/run_ner.py`."""

    arguments = (ModelArguments, TokenDataArguments, OutputArguments, LogitMixTrainingArguments)
    usage = "%(prog)s [CONFIG.json | CONFIG.yaml] --model_name_or_path MODEL --train_file FILE --do_train ... (--help)"
    program = ("scripts/run_ner.py",)
    auto_model = AutoModelForTokenClassification
    name = "words"

    @classmethod
    def parse(cls, argv: Sequence[str]) -> tuple[Any, ...]:
        """Parse flags; of a method's own sites, those of no use to tokens are replaced or left out."""
        parsed = super().parse(argv)
        args = parsed[-1]
        if args.sim_weight and "mix_site" in args.filled and args.mix_site.endswith(("|layer:-1", "|embeddings")):
            args.mix_site = SITE
        elif "mix_site" in args.filled:
            args.mix_site = args.mix_site.removesuffix(",layer:12/12")
        return parsed

    def __init__(self, model_args: ModelArguments, data_args: TokenDataArguments, args: LogitMixTrainingArguments):
        super().__init__(model_args, data_args, args)
        self._seen: dict[str, list[list[int]]] = {}
        self._untagged: set[str] = set()
        self._origins: dict[str, str] = {}

    def load(self, splits: Sequence[str]) -> None:
        """Read words and tags; where nothing is trained, from the columns that the model was trained on."""
        given, args = self.model_args, self.data_args
        trained = NONE_NAMED if self.args.do_train else stored_columns(self.read_config(given))
        raw, self._origins = read_sources(args, splits, cache_dir=given.cache_dir, token=given.token)
        origins = self._origins
        first = next(iter(raw))
        named = Columns(tuple(args.text_column_names or ()), None, args.label_column_name)
        names = raw[first].column_names
        columns = word_columns(with_trained(named, trained, names, origins[first]), names, origins[first])
        for name, split in raw.items():
            check_words(split, columns, origins[name])
        columns = columns._replace(label=columns.label or TAGS[0])
        data, tags = encode_tags(raw, columns.label, origins)
        self.description = DataDescription(
            columns.text, columns.label, tags, "train" in raw, prediction_files=(("test", "predictions.conll"),),
            tokens=True,
        )  # fmt: skip
        self.rows = DatasetDict({name: select(data[name], self.row_limit(name)) for name in splits})

    def make_inputs(
        self, model: PreTrainedModel, processor: PreTrainedTokenizerBase
    ) -> tuple[DatasetDict, dict[str, Dataset]]:
        """Tokenize; the first token of each word has its tag, all others none."""
        args, description = self.data_args, self.description
        longest, inputs = longest_input(args.max_seq_length, processor, model), {}
        check_length(processor, longest, 1)
        with self.args.main_process_first(desc="tokenizing"):
            for name, split in self.rows.items():
                split = with_label_order(split, description.label_column, description.label_names)
                inputs[name], self._seen[name] = tag_inputs(split, processor, description, args, longest, model)
                if description.label_column not in split.column_names:
                    self._untagged.add(name)
                words, seen = (sum(map(len, rows)) for rows in (split[description.text_columns[0]], self._seen[name]))
                if not seen:
                    raise ValueError(f"{self._origins[name]} holds no word that has a token of the model's tokenizer.")
                if seen < words:
                    logger.warning(
                        "%s: %s of %d beyond max_seq_length %d, or without a token of the model, left out.",
                        name, counted(words - seen, "word"), words, longest,
                    )  # fmt: skip
        return self.rows, inputs

    def collator(self, processor: PreTrainedTokenizerBase) -> Any:
        """Pads tags with -100, beside tokens."""
        return DataCollatorForTokenClassification(processor)

    def compute_metrics(self) -> Callable[[EvalPrediction], dict[str, float]]:
        """Scores of entities, if the tags mark some, and of tokens."""
        return TokenMetrics(self.description.label_names, self.data_args.n_bins)

    def predict(
        self, trainer: Trainer, name: str, inputs: Dataset, prefix: str
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Logits `(M, C)` of the words that have a token, row after row, tags if the split has some, and scores."""
        output = trainer.predict(inputs, metric_key_prefix=prefix)
        logits, labels = tagged_tokens(first_output(output.predictions), first_output(output.label_ids))
        if name not in self._untagged:
            return logits, labels, output.metrics
        speed = {f"{prefix}_{one}" for one in SPEED} - {f"{prefix}_loss"}
        return logits, None, {one: value for one, value in output.metrics.items() if one in speed}

    def table(self, name: str, rows: Dataset) -> Dataset:
        """One row for each word that has a token: `sentence`, its number from 0, and `word`."""
        places = [(row, place) for row, places in enumerate(self._seen[name]) for place in places]
        words = rows[self.description.text_columns[0]][:]
        return Dataset.from_dict({"sentence": [row for row, _ in places], "word": [words[r][p] for r, p in places]})

    def write_predictions(self, path: Path, name: str, rows: Dataset, values: Sequence[str]) -> None:
        """Write words and predicted tags as a CoNLL file of all sentences; words without a token get `O`."""
        left, lines = iter(values), []
        for words, seen in zip(rows[self.description.text_columns[0]], map(set, self._seen[name]), strict=True):
            lines += [f"{word}\t{next(left) if place in seen else OUTSIDE}" for place, word in enumerate(words)]
            lines.append("")
        write_whole(path, "\n".join(lines) + "\n")

    def card_options(self) -> CardOptions:
        """As for texts; the score of entities is that of the task."""
        score = "f1" if are_entity_tags(self.description.label_names) else "accuracy"
        return replace(super().card_options(), main_metric=score)

    def read_processor(self, args: ModelArguments) -> PreTrainedTokenizerBase:
        """The tokenizer, which takes words."""
        return load_word_tokenizer(args.tokenizer_name or args.model_name_or_path, **self.hub_options(args))
