# SPDX-License-Identifier: Apache-2.0
"""What runs of texts and of images do each in its own way; all else of a run is in `job` and `run`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as ModelInputs
from transformers import EvalPrediction, PreTrainedConfig, PreTrainedModel, Trainer

from glue_runs.runs.command_line import parse_flags
from glue_runs.tasks.description import DataDescription, resolve_labels
from glue_runs.tasks.prediction_files import write_predictions
from glue_runs.tasks.scores import first_output, make_compute_metrics
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.evaluation.data.columns import store_columns
from logitmix_nlp.publishing.card import CardOptions
from logitmix_nlp.training.model_folders import check_model_name, load_config, load_weights

__all__ = ["Modality"]


class Modality(ABC):
    """Data and model of one run. Its abstract methods are called once each, in the order in which they stand here.

    Args:
        model_args: As given by the user.
        data_args: As given by the user.
        args (`LogitMixTrainingArguments`): How to train.

    Attributes:
        arguments (`tuple` of `type`): Dataclasses whose fields are the flags: of model, data, output and training.
        usage (`str`): Line to show when a flag cannot be read.
        program (`tuple` of `str`): What comes between `python` and the flags in the command that repeats a run.
        trainer (`type`): Class that trains.
        auto_model (`type`): Class that reads pretrained models, such as `AutoModelForSequenceClassification`.
        description (`DataDescription`): Meaning of the columns, after `load`; with the label order of the model after
            `load_model`.
    """

    arguments: ClassVar[tuple[type, ...]]
    usage: ClassVar[str]
    program: ClassVar[tuple[str, ...]]
    trainer: ClassVar[type[LogitMixTrainer]]
    auto_model: ClassVar[type]
    description: DataDescription

    @classmethod
    def parse(cls, argv: Sequence[str]) -> tuple[Any, ...]:
        """Parse flags, or a configuration file and flags that override it, into an instance of each of `arguments`.

        Raises:
            ValueError: If a flag is unknown, its value is not allowed, or there is nothing to do.
        """
        parsed = parse_flags(cls.arguments, argv, usage=cls.usage)
        args = parsed[-1]
        if not (args.do_train or args.do_eval or args.do_predict):
            raise ValueError("nothing to do; give at least one of --do_train, --do_eval, --do_predict.")
        if args.output_dir == "trainer_output":  # what the base class makes of no --output_dir at all
            raise ValueError("--output_dir is missing; give the folder that the results go to.")
        return parsed

    def __init__(self, model_args: Any, data_args: Any, args: LogitMixTrainingArguments):
        self.model_args, self.data_args, self.args = model_args, data_args, args

    @abstractmethod
    def needed_splits(self) -> list[str]:
        """Names of the splits for what is to be done; each begins with `train`, `validation` or `test`."""

    @abstractmethod
    def load(self, splits: Sequence[str]) -> None:
        """Read the splits, and find out what their columns mean."""

    @abstractmethod
    def load_model(self, *, finished: bool) -> tuple[PreTrainedModel, Any]:
        """The model, of the output folder if its run is finished, and its tokenizer or image processor."""

    @abstractmethod
    def make_inputs(
        self, model: PreTrainedModel, processor: Any
    ) -> tuple[dict[str, Dataset], Mapping[str, ModelInputs | Dataset]]:
        """The rows that are used of each split, and what the model takes of them, in the same order."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What `result.json` calls the data."""

    @abstractmethod
    def card_options(self) -> CardOptions:
        """What the model card says beyond what the trainer knows."""

    def collator(self, processor: Any) -> Any:
        """What makes batches of inputs; `None` for what a `Trainer` takes itself."""
        return None

    def compute_metrics(self) -> Callable[[EvalPrediction], dict[str, float]]:
        """What scores an evaluation."""
        description = self.description
        return make_compute_metrics(
            description.metrics,
            description.is_regression,
            self.data_args.n_bins,
            description.positive_label,
            by_class=description.is_own,
            multi_label=description.multi_label,
            soft_labels=description.soft_labels,
        )

    def predict(
        self, trainer: Trainer, name: str, inputs: Any, prefix: str
    ) -> tuple[np.ndarray, np.ndarray | None, dict[str, float]]:
        """Logits `(N, C)` of a split, its labels if it has some, and its metrics."""
        output = trainer.predict(inputs, metric_key_prefix=prefix)
        labels = None if output.label_ids is None else first_output(output.label_ids)
        return first_output(output.predictions).reshape(len(inputs), -1), labels, output.metrics

    def table(self, name: str, rows: Dataset) -> Dataset:
        """What the logits of a split stand beside, row by row."""
        return rows

    def write_predictions(self, path: Path, name: str, rows: Dataset, values: Sequence[Any]) -> None:
        """Write the predictions for a test split, spelt as the leaderboard wants them."""
        ids = range(len(rows)) if self.description.is_own else rows["idx"][:]
        write_predictions(self.description.task, values, ids, path)

    def row_limit(self, split: str) -> int | None:
        """How many rows of a split are used at most; `None` is all."""
        stage = {"train": "train", "validation": "eval", "test": "predict"}[split.partition("_")[0]]
        return vars(self.data_args)[f"max_{stage}_samples"]

    def hub_options(self, args: Any) -> dict[str, Any]:
        """Where and how model, configuration and processor are looked up."""
        return {"cache_dir": args.cache_dir, "revision": args.model_revision, "token": args.token}

    def read_config(self, args: Any) -> PreTrainedConfig:
        """Configuration of a pretrained model."""
        check_model_name(args.model_name_or_path)
        return load_config(args.config_name or args.model_name_or_path, **self.hub_options(args))

    @abstractmethod
    def read_processor(self, args: Any) -> Any:
        """Tokenizer or image processor of a pretrained model."""

    def read_pretrained(self, args: Any) -> tuple[PreTrainedModel, Any]:
        """A pretrained model with one output per class of the data, and its tokenizer or image processor.

        Raises:
            ValueError: If the model has no head, or one for other labels, and none may be started anew.
        """
        name, config = args.model_name_or_path, self.read_config(args)
        self.description = resolve_labels(self.description, config.label2id, config.problem_type)
        classes, kind = self.description.label_names or ("score",), self.description.problem_type
        has_head = self.auto_model.__name__.removeprefix("AutoModel") in str(config.architectures)
        if not self.args.do_train and config.architectures and not has_head:
            raise ValueError(
                f"{name} has no classification head ({', '.join(config.architectures)}): without --do_train it would "
                "guess; give a fine-tuned model."
            )
        if has_head and config.num_labels != len(classes) and not args.ignore_mismatched_sizes:
            raise ValueError(
                f"{name} has a head of {config.num_labels} outputs, the data needs {len(classes)}; to start a new "
                "head, pass --ignore_mismatched_sizes."
            )
        if not self.args.do_train and config.problem_type not in (None, kind):
            raise ValueError(
                f"{name} is trained for {config.problem_type}, the labels are those of {kind}: give labels of that "
                "kind, or train on these with --do_train."
            )
        config.problem_type = kind
        config.id2label = dict(enumerate(classes))
        config.label2id = {label: place for place, label in enumerate(classes)}
        store_columns(config, self.description.columns)
        processor = self.read_processor(args)
        other_head = not has_head and "Classification" in str(config.architectures)  # which is not ours to keep
        options = {"config": config, "ignore_mismatched_sizes": args.ignore_mismatched_sizes or other_head}
        options |= {"trained": not self.args.do_train, **self.hub_options(args)}
        return load_weights(self.auto_model, name, **options), processor
