# SPDX-License-Identifier: Apache-2.0
"""Runs of texts: a GLUE task, a dataset or files; and what their model card says of the data."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from glue_runs.runs.arguments import DataArguments, ModelArguments, OutputArguments
from glue_runs.runs.modality import Modality
from glue_runs.runs.preprocessing import model_inputs, select
from glue_runs.runs.text_data import load_data
from glue_runs.tasks.description import DataDescription
from glue_runs.tasks.glue import get_task
from glue_runs.tasks.sources import HUB_NAME
from glue_runs.tasks.types import OWN
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.evaluation.data.columns import NONE_NAMED, stored_columns
from logitmix_nlp.publishing.card import CardOptions, DatasetFacts
from logitmix_nlp.publishing.card.facts import describe_dataset, is_local_path
from logitmix_nlp.publishing.hub.public_text import last_part
from logitmix_nlp.training.tokenizers import load_tokenizer, set_padding

__all__ = ["Texts"]

logger = logging.getLogger(__name__)


class Texts(Modality):
    """Data and model of a run of `scripts/run_glue.py`."""

    arguments = (ModelArguments, DataArguments, OutputArguments, LogitMixTrainingArguments)
    usage = (
        "%(prog)s [CONFIG.json | CONFIG.yaml] --model_name_or_path MODEL --task_name TASK --do_train ... (see --help)"
    )
    program = ("-m", "glue_runs.runs.run")
    trainer = LogitMixTrainer
    auto_model = AutoModelForSequenceClassification

    @property
    def name(self) -> str:
        """The GLUE task, or `own`."""
        return self.data_args.task_name or OWN

    def needed_splits(self) -> list[str]:
        """Those of the GLUE task, which may have several to evaluate; a `ValueError` if it lacks one."""
        task, args = DataDescription, self.args
        if self.data_args.task_name is not None:
            task = get_task(self.data_args.task_name)
            if args.do_train:
                task.split("train")
            if args.do_eval and not task.evaluation_splits:
                task.split("validation")
        splits = ["train"] * args.do_train + list(task.evaluation_splits) * args.do_eval
        return splits + [name for name, _ in task.prediction_files] * args.do_predict

    def load(self, splits: Sequence[str]) -> None:
        """Read texts; where nothing is trained, from the columns that the model was trained on."""
        own, given = self.args.do_train or self.data_args.task_name, self.model_args
        trained = NONE_NAMED if own else stored_columns(self.read_config(given))
        hub = {"cache_dir": given.cache_dir, "token": given.token}
        data, self.description = load_data(self.data_args, splits, trained=trained, **hub)
        self.rows = DatasetDict({name: select(data[name], self.row_limit(name)) for name in splits if name in data})

    def load_model(self, *, finished: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Read model and tokenizer; padding is set where the model lacks it."""
        args = self.model_args
        if finished:
            args = ModelArguments(self.args.output_dir, trust_remote_code=args.trust_remote_code)
        model, tokenizer = self.read_pretrained(args)
        set_padding(tokenizer, model, args.tokenizer_name or args.model_name_or_path)
        return model, tokenizer

    def make_inputs(
        self, model: PreTrainedModel, processor: PreTrainedTokenizerBase
    ) -> tuple[DatasetDict, dict[str, Dataset]]:
        """Tokenize."""
        names = self.description.label_names or "scores"
        logger.info("Texts: %s. Labels: %s.", ", ".join(self.description.text_columns), names)
        with self.args.main_process_first(desc="tokenizing"):
            return self.rows, model_inputs(self.rows, processor, self.description, self.data_args, model)

    def card_options(self) -> CardOptions:
        """Name the data of each evaluation as the trainer does, and the task's score."""
        args, description = self.data_args, self.description
        names = [name for name in description.evaluation_splits if name in self.rows]
        short = [name.removeprefix("validation_") for name in names] if len(names) > 1 else [""] * len(names)
        scores = description.metrics
        return CardOptions(
            evaluation_data={key: self._dataset_facts(name) for key, name in zip(short, names, strict=True)},
            training_data=self._dataset_facts("train") if "train" in self.rows else None,
            finetuned_from=self.model_args.model_name_or_path,
            main_metric="combined_score" if len(scores) > 1 else scores[0],
            language=None if description.is_own else "en",
            text_pair=len(description.text_columns) == 2,
            max_length=args.max_seq_length,
            n_bins=args.n_bins,
        )

    def hub_options(self, args: ModelArguments) -> dict[str, Any]:
        """With whether code of the model is run."""
        return {**super().hub_options(args), "trust_remote_code": args.trust_remote_code}

    def read_processor(self, args: ModelArguments) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return load_tokenizer(args.tokenizer_name or args.model_name_or_path, **self.hub_options(args))

    def _dataset_facts(self, split: str) -> DatasetFacts:
        """Name the rows of a split; only what came from the Hub is given a name there."""
        args = self.data_args
        facts = replace(describe_dataset(self.rows[split]), split=split, complete=self.row_limit(split) is None)
        if args.task_name is not None:
            name, here = f"GLUE {get_task(args.task_name).folder}", args.data_dir is not None
            return replace(
                facts,
                name=f"{name} (local files)" if here else name,
                hub_id=None if here else HUB_NAME,
                config=args.task_name,
                revision=None if here else facts.revision,
            )
        if args.dataset_name is not None:
            here, config = is_local_path(args.dataset_name), args.dataset_config_name
            name = f"{last_part(args.dataset_name.rstrip('/'))} (local data)" if here else args.dataset_name
            return replace(facts, name=name, hub_id=None if here else args.dataset_name, config=config)
        files: Sequence[str | None] = (args.train_file, args.validation_file)
        return replace(facts, name=f"{Path(files[split != 'train']).name} (local file)", split=None, hub_id=None)
