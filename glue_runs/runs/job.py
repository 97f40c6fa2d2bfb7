# SPDX-License-Identifier: Apache-2.0
"""From flags to everything that is known before the first step: data, model and trainer of one run."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import datasets
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME

from glue_runs.runs.arguments import DataArguments, ModelArguments, OutputArguments
from glue_runs.runs.card import card_options
from glue_runs.runs.command_line import parse_flags
from glue_runs.runs.content import digests
from glue_runs.runs.preprocessing import model_inputs, select_rows
from glue_runs.runs.record import RecordWriter, RunState, all_values, check_results, find_run, run_record
from glue_runs.runs.text_data import load_data, needed_splits
from glue_runs.tasks.labels import DataDescription, resolve_labels
from glue_runs.tasks.scores import check_best_metric, make_compute_metrics
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.evaluation.data.columns import NONE_NAMED, Columns, store_columns, stored_columns
from logitmix_nlp.training.checkpoints import read_state
from logitmix_nlp.training.model_folders import check_model_name, load_config, load_weights
from logitmix_nlp.training.tokenizers import load_tokenizer, set_padding

__all__ = [
    "ARGUMENTS", "Job", "attach_run", "check_stages", "find_state", "parse_arguments", "prepare",
    "set_up_logging", "without_trace",
]  # fmt: skip

logger = logging.getLogger(__name__)

ARGUMENTS = (ModelArguments, DataArguments, OutputArguments, LogitMixTrainingArguments)
USAGE = "%(prog)s [CONFIG.json | CONFIG.yaml] --model_name_or_path MODEL --task_name TASK --do_train ... (see --help)"


@dataclasses.dataclass
class Job:
    """What to do, with which trainer, on which rows.

    Args:
        args (`LogitMixTrainingArguments`): How to train.
        data_args (`DataArguments`): Which data.
        output_args (`OutputArguments`): What to leave behind.
        description (`DataDescription`): Meaning of the columns, with the label order of the model.
        rows (`DatasetDict`): Splits, as loaded.
        inputs (`DatasetDict`): Splits, as the model takes them; same rows, same order.
        trainer (`LogitMixTrainer`): Ready to train.
        state (`RunState`): Where the run of the output folder stands.
    """

    args: LogitMixTrainingArguments
    data_args: DataArguments
    output_args: OutputArguments
    description: DataDescription
    rows: datasets.DatasetDict
    inputs: datasets.DatasetDict
    trainer: LogitMixTrainer
    state: RunState


def prepare(arguments: Sequence[Any], callbacks: Sequence[TrainerCallback] = ()) -> Job:
    """Read everything the user gave; whatever is wrong with it shows here, before the first step.

    Args:
        arguments (`Sequence`): One instance of each of `ARGUMENTS`, from [`parse_arguments`].
        callbacks (`Sequence[TrainerCallback]`): Given to the trainer.

    Returns:
        `Job`: Ready to run.

    Raises:
        ValueError: If flags, data or output folder are wrong; one line that says what to do.
        OSError: If a file, folder or Hub repository cannot be read.
    """
    model_args, data_args, output_args, args = arguments
    set_up_logging(args)
    set_seed(args.seed)
    splits = needed_splits(data_args, train=args.do_train, evaluate=args.do_eval, predict=args.do_predict)
    with args.main_process_first(desc="loading data"):
        state = find_state(model_args, data_args, args, splits)
        trained = NONE_NAMED if args.do_train or data_args.task_name else stored_columns(model_config(model_args))
        hub = {"cache_dir": model_args.cache_dir, "token": model_args.token}
        data, description = load_data(data_args, splits, trained=trained, **hub)
    splits = [name for name in splits if name in data]
    given_model = model_args
    if state.finished:
        model_args = ModelArguments(model_name_or_path=args.output_dir, trust_remote_code=model_args.trust_remote_code)
    model, tokenizer, description = load_model(model_args, description, needs_head=not args.do_train)
    logger.info("Texts: %s. Labels: %s.", ", ".join(description.text_columns), description.label_names or "scores")
    with args.main_process_first(desc="tokenizing"):
        rows = select_rows(data, splits, description, data_args)
        inputs = model_inputs(rows, tokenizer, description, data_args, model)
    evaluation = {name.removeprefix("validation_"): inputs[name] for name in splits if name.startswith("validation")}
    with without_trace(args.output_dir):
        trainer = LogitMixTrainer(
            model=model,
            args=args,
            train_dataset=inputs.get("train"),
            eval_dataset=evaluation if len(evaluation) > 1 else inputs.get("validation"),
            processing_class=tokenizer,
            compute_metrics=make_compute_metrics(
                description.metrics,
                description.is_regression,
                data_args.n_bins,
                description.positive_label,
                by_class=description.is_own,
                multi_label=description.multi_label,
            ),
            callbacks=list(callbacks),
        )
        if args.do_train:
            check_best_metric(trainer, is_regression=description.is_regression, multi_label=description.multi_label)
    trainer.card_options = card_options(given_model, data_args, description, rows)
    attach_run(trainer, state)
    return Job(args, data_args, output_args, description, rows, inputs, trainer, state)


@contextmanager
def without_trace(folder: str) -> Iterator[None]:
    """Take away the empty output folder that a `Trainer` makes, if what needs it fails."""
    there = Path(folder).exists()
    try:
        yield
    except Exception:
        with suppress(OSError):  # if it is not empty, or another process was faster
            if not there:
                Path(folder).rmdir()
        raise


def attach_run(trainer: Trainer, state: RunState) -> None:
    """Let the trainer leave the record of its run, or know the history of a finished one, for the model card."""
    history = Path(trainer.args.output_dir) / TRAINER_STATE_NAME
    if state.finished and history.is_file():
        trainer.state = read_state(history)
    elif state.record is not None:
        trainer.add_callback(RecordWriter(trainer.args.output_dir, state.record))


def parse_arguments(argv: Sequence[str]) -> tuple[Any, ...]:
    """Parse flags, or a configuration file and the flags that override it, into one instance of each of `ARGUMENTS`.

    Raises:
        ValueError: If a flag is unknown, or its value not allowed.
    """
    parsed = parse_flags(ARGUMENTS, argv, usage=USAGE)
    check_stages(parsed[-1])
    return parsed


def check_stages(args: LogitMixTrainingArguments) -> None:
    """Refuse a command that says not what to do, or not where the results go."""
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("nothing to do; give at least one of --do_train, --do_eval, --do_predict.")
    if args.output_dir == "trainer_output":  # what the base class makes of no --output_dir at all
        raise ValueError("--output_dir is missing; give the folder that the results go to.")


def set_up_logging(args: LogitMixTrainingArguments) -> None:
    """Log to the console as much as `--log_level` asks for, on the main process."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    if args.should_log:
        transformers.utils.logging.set_verbosity_info()
    level = args.get_process_log_level()
    for name in ("glue_runs", "logitmix_nlp"):
        logging.getLogger(name).setLevel(level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)


def find_state(model_args: Any, data_args: Any, args: LogitMixTrainingArguments, splits: Sequence[str]) -> RunState:
    """Find out where the run of the output folder stands, if it is to be trained; nothing is written."""
    if not args.do_train:
        return RunState()
    values = all_values(model_args, data_args, args)
    content = digests(values, splits)
    state = find_run(args.output_dir, run_record(values, content), args.resume_from_checkpoint)
    if state.finished:
        check_results(args.output_dir)
        logger.info("%s holds the finished run; its model is used. To train anew, choose another.", args.output_dir)
    elif state.weights_dropped:
        logger.info("%s holds a finished run without its weights; it is trained again.", args.output_dir)
    elif state.checkpoint is not None:
        logger.info("Resuming from %s; to start anew, choose another --output_dir.", state.checkpoint)
    return state._replace(content=content)


def hub_options(args: ModelArguments) -> dict[str, Any]:
    """Where and how model, configuration and tokenizer are looked up."""
    hub = {"cache_dir": args.cache_dir, "revision": args.model_revision, "token": args.token}
    return {**hub, "trust_remote_code": args.trust_remote_code}


def model_config(args: ModelArguments) -> PreTrainedConfig:
    """Configuration of the model."""
    check_model_name(args.model_name_or_path)
    return load_config(args.config_name or args.model_name_or_path, **hub_options(args))


def load_model(
    args: ModelArguments, description: DataDescription, needs_head: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, DataDescription]:
    """Model and tokenizer for the data, and the description with the label order that the model uses."""
    hub, config = hub_options(args), model_config(args)
    description = resolve_labels(description, config.label2id, config.problem_type)
    names, has_head = description.label_names or ("score",), "ForSequenceClassification" in str(config.architectures)
    if needs_head and config.architectures and not has_head:
        raise ValueError(
            f"{args.model_name_or_path} has no classification head ({', '.join(config.architectures)}): without "
            "--do_train it would guess; give a fine-tuned model."
        )
    if has_head and config.num_labels != len(names) and not args.ignore_mismatched_sizes:
        raise ValueError(
            f"{args.model_name_or_path} has a head of {config.num_labels} outputs, the data needs {len(names)}; "
            "to start a new head, pass --ignore_mismatched_sizes."
        )
    if needs_head and config.problem_type not in (None, description.problem_type):
        raise ValueError(
            f"{args.model_name_or_path} is trained for {config.problem_type}, the labels are those of "
            f"{description.problem_type}: give labels of that kind, or train on these with --do_train."
        )
    config.problem_type = description.problem_type
    config.id2label = dict(enumerate(names))
    config.label2id = {name: label for label, name in enumerate(names)}
    store_columns(config, Columns(description.text_columns, label=description.label_column))
    tokenizer = load_tokenizer(args.tokenizer_name or args.model_name_or_path, **hub)
    fit = {"config": config, "ignore_mismatched_sizes": args.ignore_mismatched_sizes}
    model, _ = load_weights(AutoModelForSequenceClassification, args.model_name_or_path, **fit, **hub)
    set_padding(tokenizer, model, args.tokenizer_name or args.model_name_or_path)
    return model, tokenizer, description
