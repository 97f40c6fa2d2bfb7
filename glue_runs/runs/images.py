# SPDX-License-Identifier: Apache-2.0
"""Runs of images: a pretrained model or one from scratch; and what their model card says of the data."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import AutoModelForImageClassification, BaseImageProcessor, PreTrainedModel

from glue_runs.runs.arguments import OutputArguments
from glue_runs.runs.command_line import given_flags, to_flags
from glue_runs.runs.modality import Modality
from glue_runs.runs.text_data import load_named
from glue_runs.tasks.description import DataDescription, drop_missing_labels, with_label_order
from glue_runs.tasks.sources import parquet_parts
from logitmix_nlp.evaluation.data.columns import store_columns
from logitmix_nlp.evaluation.data.files import read_data_file
from logitmix_nlp.evaluation.data.labels import encode_labels, is_multi_label
from logitmix_nlp.evaluation.data.soft_labels import is_soft
from logitmix_nlp.images import ImageDataArguments, ImageModelArguments, ImageTrainer, ImageTrainingArguments
from logitmix_nlp.images.datasets import ImageRows, cut_rows, digits, hold_out, read_image_folder, stored_images
from logitmix_nlp.images.pictures import read_image, seen_size
from logitmix_nlp.images.recipes import BY_SIZE, RECIPES, recipe_flags
from logitmix_nlp.images.scratch import from_scratch
from logitmix_nlp.publishing.card import CardOptions, DatasetFacts
from logitmix_nlp.publishing.card.facts import is_local_path
from logitmix_nlp.training.model_folders import load_image_processor

__all__ = ["Images"]

logger = logging.getLogger(__name__)

HELD_OUT = ", rows held out"
SPLITS = {"train": "do_train", "validation": "do_eval", "test": "do_predict"}


class Images(Modality):
    """Data and model of a run of `scripts/run_image_classification.py`."""

    arguments = (ImageModelArguments, ImageDataArguments, OutputArguments, ImageTrainingArguments)
    usage = "%(prog)s [CONFIG.json | CONFIG.yaml] [--config_name MODEL] [--data_dir DIR] --do_train ... (see --help)"
    program = ("scripts/run_image_classification.py",)
    trainer = ImageTrainer
    auto_model = AutoModelForImageClassification

    @classmethod
    def parse(cls, argv: Sequence[str]) -> tuple[Any, ...]:
        """Parse flags; those of a recipe fill what the user left unset."""
        given = given_flags(cls.arguments, argv, usage=cls.usage)
        if "recipe" not in given:
            return super().parse(argv)
        parsed = super().parse([*argv, *to_flags(recipe_flags(given["recipe"], given))])
        if given["recipe"] != "bit" or not given.get("do_train"):
            return parsed
        model_args, data_args, _, args = parsed
        size = cls(model_args, data_args, args)._training_size()
        return super().parse([*argv, *to_flags(recipe_flags("bit", given, *size))])

    def __init__(
        self, model_args: ImageModelArguments, data_args: ImageDataArguments, args: ImageTrainingArguments
    ) -> None:
        super().__init__(model_args, data_args, args)
        if args.flip_prob is None:
            args.flip_prob = 0.0 if data_args.is_default else 0.5

    @property
    def name(self) -> str:
        """Short name of the place that the images come from."""
        args = self.data_args
        places = (args.dataset_name, args.data_dir, args.train_dir, args.validation_dir, args.test_dir)
        named = [Path(place).name for place in places if place is not None]
        files = (args.train_file, args.validation_file, args.test_file)
        return (named + [Path(file).stem for file in files if file is not None] or ["digits"])[0]

    def needed_splits(self) -> list[str]:
        """One for each stage."""
        return [name for name, stage in SPLITS.items() if vars(self.args)[stage]]

    def load(self, splits: Sequence[str]) -> None:
        """Read images, which are decoded later, and their classes."""
        args, settings = self.data_args, {**vars(self.model_args), **vars(self.args)}
        if self.args.recipe is not None:
            names = (*RECIPES[self.args.recipe], *BY_SIZE, "mix_prob")
            effective = {name: settings[name] for name in names}
            logger.info("Recipe %s, with what you set: %s", self.args.recipe, effective)
        raw = self._read()
        self.held_out = "validation" not in raw and "train" in raw
        if self.held_out:
            raw = hold_out(raw, args.train_val_split, self.args.seed)
            logger.info("No validation split: %d training rows are held out for it.", len(raw["validation"]))
            self.origins["validation"] = f"{self.origins['train']}{HELD_OUT}"
        for name in splits:
            if name not in raw:
                raise ValueError(f"--{SPLITS[name]} needs the split {name!r}; there is only: {', '.join(raw)}.")
            raw[name] = stored_images(raw[name], args.image_column_name, self.origins[name])
        self.data, names = encode_labels(raw, args.label_column_name, self.origins)
        several = any(is_multi_label(split, args.label_column_name) for split in self.data.values())
        soft = any(is_soft(split, args.label_column_name) for split in self.data.values())
        if not names or several or soft:
            kind = "scores" if names is None else "probabilities of classes" if soft else "missing"
            kind = "lists, several per row" if several else kind
            raise ValueError(f"{self.origins[next(iter(raw))]}: labels must be classes, but are {kind}.")
        self.description = DataDescription(
            (), args.label_column_name, names, "train" in raw, image_column=args.image_column_name
        )
        self.splits = splits

    def _training_size(self) -> tuple[int, tuple[int, int]] | tuple[()]:
        """How many rows are trained on, and height and width of the first image; nothing without a training split."""
        args, raw = self.data_args, self._read()
        if "train" not in raw:
            return ()
        train = (raw if "validation" in raw else hold_out(raw, args.train_val_split, self.args.seed))["train"]
        images = stored_images(train, args.image_column_name, self.origins["train"])[args.image_column_name]
        sides = read_image(images[0], f"{self.origins['train']}, row 1").size[::-1]
        return min(len(train), args.max_train_samples or len(train)), sides

    def _read(self) -> DatasetDict:
        """The splits of the place that the flags name."""
        args, model_args = self.data_args, self.model_args
        files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        files = {name: Path(file) for name, file in files.items() if file is not None}
        folders = {"train": args.train_dir, "validation": args.validation_dir, "test": args.test_dir}
        folders = {name: folder for name, folder in folders.items() if folder is not None}
        places = {**folders, **files}
        self.origins = {name: str(places.get(name, f"{self.name}, split {name!r}")) for name in SPLITS}
        if args.is_default:
            logger.info("No images given: taking the 1,797 digits of 8x8 pixels that come with scikit-learn.")
            return digits()
        if args.dataset_name is not None:
            options = {"cache_dir": model_args.cache_dir, "token": model_args.token}
            return load_named(args.dataset_name, args.dataset_config_name, **options)
        if args.data_dir is not None:
            parts = parquet_parts(Path(args.data_dir), lambda names: [name for name in SPLITS if name in names])
            if not parts:
                raise ValueError(f"--data_dir {args.data_dir} has no parquet file like train-00000-of-00001.parquet.")
            return DatasetDict(
                {name: concatenate_datasets(list(map(read_data_file, paths))) for name, paths in parts.items()}
            )
        if folders:
            return DatasetDict({name: read_image_folder(folder) for name, folder in folders.items()})
        other = [str(path) for path in files.values() if path.suffix.lower() != ".parquet"]
        if other:
            raise ValueError(f"{other[0]}: images are read from .parquet files, or from folders with --train_dir.")
        return DatasetDict({name: read_data_file(path) for name, path in files.items()})

    def load_model(self, *, finished: bool) -> tuple[PreTrainedModel, BaseImageProcessor]:
        """Read model and image processor, or make them for the training images."""
        args = ImageModelArguments(self.args.output_dir) if finished else self.model_args
        if args.model_name_or_path is not None:
            return self.read_pretrained(args)
        if not self.args.do_train:
            raise ValueError("without --do_train, give a trained model with --model_name_or_path.")
        places = {"column": self.data_args.image_column_name, "where": self.origins["train"]}
        model, processor = from_scratch(args, self.data["train"], self.description.label_names, **places)
        store_columns(model.config, self.description.columns)
        return model, processor

    def make_inputs(
        self, model: PreTrainedModel, processor: BaseImageProcessor
    ) -> tuple[dict[str, Dataset], dict[str, ImageRows]]:
        """Decode small images; others are decoded when they are asked for."""
        image, label = self.data_args.image_column_name, self.data_args.label_column_name
        rows, inputs = {name: self._rows(name) for name in self.splits}, {}
        for name, split in rows.items():
            labels = label if label in split.column_names else None
            inputs[name] = ImageRows(split, processor, image, labels, self.origins[name])
        height, width = inputs[self.splits[0]].shape[1:]
        if self.args.crop_padding is None:
            self.args.crop_padding = min(height, width) // 8
        sides = seen_size(processor) or (height, width)
        logger.info("The model sees %d x %d pixels. Classes: %s.", *sides, ", ".join(self.description.label_names))
        return rows, inputs

    def _rows(self, name: str) -> Dataset:
        """The rows of a split that are used, classes numbered as the model does; without labels if all are missing."""
        args, label, limit = self.data_args, self.description.label_column, self.row_limit(name)
        sample = name != "test" and (args.train_dir or args.validation_dir) is not None
        where, train = self.origins[name], name == "train"
        cut = cut_rows(self.data[name], limit, label_column=label, where=where, sample=sample, train=train)
        return drop_missing_labels(with_label_order(cut, label, self.description.label_names), label)

    def card_options(self) -> CardOptions:
        """Name the data; only what came from the Hub is given a name there."""
        args = self.data_args
        here = args.dataset_name is None or is_local_path(args.dataset_name)
        name = "digits of scikit-learn" if args.is_default else self.name + (" (local data)" if here else "")
        hub = {} if here else {"hub_id": args.dataset_name, "config": args.dataset_config_name}
        names = {"train": name, "validation": name + HELD_OUT * args.is_default}
        facts = {
            split: DatasetFacts(
                names[split],
                split=None if args.is_default else "train" if self.held_out else split,
                complete=self.row_limit(split) is None and (args.is_default or not self.held_out),
                **hub,
            )
            for split in names
            if split in self.data
        }
        return CardOptions(
            evaluation_data={"": facts["validation"]} if "validation" in facts else {},
            training_data=facts.get("train"),
            finetuned_from=self.model_args.model_name_or_path or "",
            main_metric="accuracy",
            n_bins=args.n_bins,
        )

    def read_processor(self, args: ImageModelArguments) -> BaseImageProcessor:
        """The image processor."""
        return load_image_processor(args.model_name_or_path, **self.hub_options(args))
