#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
r"""Train an image classifier, pretrained or from scratch, with CutMix, PuzzleMix, LogitMix and their relatives.

    python scripts/run_image_classification.py --mix_method logitmix_c --do_train --do_eval --output_dir runs/digits
    python scripts/run_image_classification.py --data_dir cifar10 --config_name resnet_small_stem --recipe cutmix \
        --mix_method logitmix_c --do_train --do_eval --output_dir runs/cifar10

Images come from scikit-learn's digits (no source given), the Hub (`--dataset_name`), folders with one folder per
class (`--train_dir --validation_dir`), or parquet files (`--train_file --validation_file`, or a folder of them:
`--data_dir`).
"""

import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, disable_progress_bars
from transformers import (
    AutoModelForImageClassification,
    BaseImageProcessor,
    PreTrainedModel,
    TrainerCallback,
    set_seed,
)
from transformers.utils import logging as hf_logging

from glue_runs.runs.arguments import OutputArguments
from glue_runs.runs.command_line import given_flags, parse_flags, to_flags
from glue_runs.runs.image_data import HELD_OUT, SPLITS, is_held_out, load_splits, source_name
from glue_runs.runs.job import attach_run, check_stages, find_state, set_up_logging, without_trace
from glue_runs.runs.record import RunState, without_secrets
from glue_runs.runs.run import (
    finish,
    refuse,
    report,
    save_predictions,
    train,
    write_class_results,
    write_probabilities,
)
from glue_runs.tasks.labels import drop_missing_labels, with_label_order
from glue_runs.tasks.prediction_files import write_predictions
from glue_runs.tasks.scores import check_best_metric, first_output, make_compute_metrics, predicted
from logitmix_nlp.evaluation.data.class_names import align_labels
from logitmix_nlp.evaluation.data.columns import Columns, store_columns
from logitmix_nlp.evaluation.data.encoding import encode_labels, is_multi_label
from logitmix_nlp.evaluation.predicted_rows import keep_columns
from logitmix_nlp.images import ImageDataArguments, ImageModelArguments, ImageTrainer, ImageTrainingArguments
from logitmix_nlp.images.datasets import ImageRows, cut_rows, stored_images
from logitmix_nlp.images.pictures import BadImage, seen_size
from logitmix_nlp.images.recipes import RECIPES, recipe_flags
from logitmix_nlp.images.scratch import from_scratch, name_classes
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.publishing.card import CardOptions, DatasetFacts
from logitmix_nlp.publishing.card.facts import is_local_path
from logitmix_nlp.training.model_folders import load_config, load_image_processor, load_weights

logger = logging.getLogger("logitmix_nlp.images.run")

ARGUMENTS = (ImageModelArguments, ImageDataArguments, OutputArguments, ImageTrainingArguments)
USAGE = "%(prog)s [CONFIG.json | CONFIG.yaml] [--config_name MODEL] [--data_dir DIR] --do_train ... (see --help)"


@dataclasses.dataclass
class ImageJob:
    """What to do, with which trainer, on which rows."""

    args: ImageTrainingArguments
    data_args: ImageDataArguments
    output_args: OutputArguments
    rows: dict[str, Dataset]
    inputs: dict[str, ImageRows]
    trainer: ImageTrainer
    state: RunState


def main(argv: Sequence[str] | None = None, callbacks: Sequence[TrainerCallback] = ()) -> int:
    """Run what the flags say; returns 0, 1 if a push failed, or 2 after one line on stderr about what was given."""
    start, argv = time.perf_counter(), list(sys.argv[1:] if argv is None else argv)
    try:
        job = prepare(parse_arguments(argv), callbacks)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
    try:
        run(job)
    except BadImage as error:
        return refuse(BadImage(str(error).strip().splitlines()[-1]))  # a worker of the loader adds its traceback
    except (SetupError, ImportError) as error:
        return refuse(error)
    config, program = without_secrets(given_flags(ARGUMENTS, argv)), ("scripts/run_image_classification.py",)
    return finish(job, config, time.perf_counter() - start, task=source_name(job.data_args), program=program)


def parse_arguments(argv: Sequence[str]) -> tuple[Any, ...]:
    """Parse flags; those of a recipe fill what the user left unset. A `ValueError` says what is wrong."""
    given = given_flags(ARGUMENTS, argv, usage=USAGE)
    if "recipe" in given:
        argv = [*argv, *to_flags(recipe_flags(given["recipe"], given))]
    parsed = parse_flags(ARGUMENTS, argv, usage=USAGE)
    check_stages(parsed[-1])
    return parsed


def prepare(arguments: Sequence[Any], callbacks: Sequence[TrainerCallback] = ()) -> ImageJob:
    """Read everything the user gave; what is wrong with it raises a `ValueError`, `OSError` or `ImportError`."""
    model_args, data_args, output_args, args = arguments
    set_up_logging(args)
    set_seed(args.seed)
    if args.disable_tqdm:
        disable_progress_bars()
        hf_logging.disable_progress_bar()
    if args.recipe is not None:
        effective = {name: vars(args)[name] for name in (*RECIPES[args.recipe], "mix_prob")}
        logger.info("Recipe %s, with what you set: %s", args.recipe, effective)
    args.flip_prob = (0.0 if data_args.is_default else 0.5) if args.flip_prob is None else args.flip_prob
    needed = [name for name, stage in SPLITS.items() if vars(args)[stage]]
    with args.main_process_first(desc="loading data"):
        state = find_state(model_args, data_args, args, needed)
        raw, origins = load_splits(data_args, model_args, args.seed)
    for name in needed:
        if name not in raw:
            raise ValueError(f"--{SPLITS[name]} needs the split {name!r}; there is only: {', '.join(raw)}.")
        raw[name] = stored_images(raw[name], data_args.image_column_name, origins[name])
    data, names = encode_labels(raw, data_args.label_column_name, origins)
    several = any(is_multi_label(split, data_args.label_column_name) for split in data.values())
    if not names or several:
        found = "lists, several per row" if several else "scores" if names is None else "missing"
        raise ValueError(f"{origins[next(iter(raw))]}: labels must be classes, but are {found}.")
    given_model = model_args
    if state.finished:
        model_args = ImageModelArguments(model_name_or_path=args.output_dir)
    if model_args.model_name_or_path is None:
        if not args.do_train:
            raise ValueError("without --do_train, give a trained model with --model_name_or_path.")
        places = {"column": data_args.image_column_name, "where": origins["train"]}
        model, processor = from_scratch(model_args, data["train"], names, **places)
    else:
        model, processor, names = load_pretrained(model_args, names, complete="train" in raw, train=args.do_train)
    store_columns(model.config, Columns(image=data_args.image_column_name, label=data_args.label_column_name))
    limits = (data_args.max_train_samples, data_args.max_eval_samples, data_args.max_predict_samples)
    limit = dict(zip(SPLITS, limits, strict=True))
    rows = {name: make_rows(name, data[name], limit[name], names, data_args, origins) for name in needed}
    image, label = data_args.image_column_name, data_args.label_column_name
    inputs = {
        name: ImageRows(split, processor, image, label if label in split.column_names else None, origins[name])
        for name, split in rows.items()
    }
    height, width = inputs[needed[0]].shape[1:]
    args.crop_padding = min(height, width) // 8 if args.crop_padding is None else args.crop_padding
    sides = seen_size(processor) or (height, width)
    logger.info("The model sees %d x %d pixels. Classes: %s.", *sides, ", ".join(names))
    with without_trace(args.output_dir):
        trainer = ImageTrainer(
            model,
            args,
            train_dataset=inputs.get("train"),
            eval_dataset=inputs.get("validation"),
            processing_class=processor,
            compute_metrics=make_compute_metrics(("accuracy",), False, data_args.n_bins, by_class=True),
            callbacks=list(callbacks),
        )
        if args.do_train:
            check_best_metric(trainer, is_regression=False)
    trainer.card_options = card_options(given_model, data_args, raw, origins)
    attach_run(trainer, state)
    return ImageJob(args, data_args, output_args, rows, inputs, trainer, state)


def card_options(
    model_args: ImageModelArguments, args: ImageDataArguments, raw: DatasetDict, origins: dict[str, str]
) -> CardOptions:
    """What the model card says of the data; only what came from the Hub is given a name there."""
    here = args.dataset_name is None or is_local_path(args.dataset_name)
    name = "digits of scikit-learn" if args.is_default else source_name(args) + (" (local data)" if here else "")
    limits, held_out = {"train": args.max_train_samples, "validation": args.max_eval_samples}, is_held_out(origins)
    hub = {} if here else {"hub_id": args.dataset_name, "config": args.dataset_config_name}
    names = {"train": name, "validation": name + HELD_OUT * args.is_default}
    facts = {
        split: DatasetFacts(
            names[split],
            split=None if args.is_default else "train" if held_out else split,
            complete=limit is None and (args.is_default or not held_out),
            **hub,
        )
        for split, limit in limits.items()
        if split in raw
    }
    return CardOptions(
        evaluation_data={"": facts["validation"]} if "validation" in facts else {},
        training_data=facts.get("train"),
        finetuned_from=model_args.model_name_or_path or "",
        main_metric="accuracy",
        n_bins=args.n_bins,
    )


def load_pretrained(
    args: ImageModelArguments, names: Sequence[str], *, complete: bool, train: bool
) -> tuple[PreTrainedModel, BaseImageProcessor, tuple[str, ...]]:
    """Model, image processor, and class names in the order of the model."""
    hub = {"cache_dir": args.cache_dir, "revision": args.model_revision, "token": args.token}
    config = load_config(args.model_name_or_path, **hub)
    names = align_labels(config.label2id, names, complete=complete)
    if config.num_labels != len(names) and not args.ignore_mismatched_sizes:
        raise ValueError(
            f"{args.model_name_or_path} has a head of {config.num_labels} outputs, the data needs {len(names)}; "
            "to start a new head, pass --ignore_mismatched_sizes."
        )
    if not train and "ForImageClassification" not in str(config.architectures):
        raise ValueError(f"{args.model_name_or_path} has no classification head: without --do_train it would guess.")
    name_classes(config, names)
    processor = load_image_processor(args.model_name_or_path, **hub)
    options = {"config": config, "ignore_mismatched_sizes": args.ignore_mismatched_sizes, **hub}
    model, _ = load_weights(AutoModelForImageClassification, args.model_name_or_path, **options)
    return model, processor, names


def make_rows(
    name: str,
    split: Dataset,
    limit: int | None,
    names: Sequence[str],
    args: ImageDataArguments,
    origins: dict[str, str],
) -> Dataset:
    """So many rows of a split, classes numbered as the model does; without labels if all are missing."""
    label, where = args.label_column_name, origins[name]
    sample = name != "test" and (args.train_dir or args.validation_dir) is not None
    cut = cut_rows(split, limit, label_column=label, where=where, sample=sample, train=name == "train")
    return drop_missing_labels(with_label_order(cut, label, names), label)


def run(job: ImageJob) -> None:
    """Train, evaluate and predict, as far as the job asks for it; figures go to `all_results.json`."""
    folder, trainer = Path(job.args.output_dir), job.trainer
    if job.args.do_train and not job.state.finished:
        train(job)
    for name, prefix in (("validation", "eval"), ("test", "predict")):
        if not vars(job.args)[SPLITS[name]]:
            continue
        rows = job.inputs[name]
        output = trainer.predict(rows, metric_key_prefix=prefix)
        trainer.log(dict(output.metrics))
        report(job, prefix, output.metrics, len(rows))
        if not trainer.is_world_process_zero():
            continue
        logits, ids, kept = first_output(output.predictions), range(len(rows)), job.rows[name]
        names = list(trainer.model.config.id2label.values())
        if name == "test":
            classes = [names[label] for label in predicted(logits, False).tolist()]
            write_predictions(None, classes, ids, folder / "predictions.tsv")
            write_probabilities(folder / "predictions.csv", kept, logits, names)
        labels = None if output.label_ids is None else first_output(output.label_ids).reshape(-1)
        if name == "validation":
            write_class_results(folder, prefix, logits, labels, names, job.data_args.n_bins)
        if job.output_args.save_predictions:
            kept = keep_columns(kept, [job.data_args.label_column_name])
            save_predictions(folder / f"{prefix}_predictions.parquet", ids, labels, logits, rows=kept)


if __name__ == "__main__":
    sys.exit(main())
