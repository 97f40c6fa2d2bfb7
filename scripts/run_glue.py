#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
r"""Fine-tune a pretrained encoder on a GLUE task, or on your own texts, with LogitMix.

    python scripts/run_glue.py --model_name_or_path bert-base-uncased --task_name cola --mix_method logitmix \
        --do_train --do_eval --do_predict --max_seq_length 128 --output_dir runs/cola
    python scripts/run_glue.py config.yaml --seed 2 --output_dir runs/cola-2    # flags override the file

Data comes from the Hub (`--task_name`), from the official GLUE files (`--task_name` with `--data_dir`), from another
dataset (`--dataset_name`) or from your files (`--train_file --validation_file --test_file`).
"""

import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import datasets
import transformers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from glue_runs.arguments import DataArguments, ModelArguments
from glue_runs.command_line import parse_flags
from glue_runs.data import load_data, needed_splits
from glue_runs.labels import DataDescription, resolve_labels
from glue_runs.metrics import make_compute_metrics, predicted
from glue_runs.preprocessing import model_inputs, select_rows
from glue_runs.record import RunState, find_run, run_record, write_record
from glue_runs.submission import write_predictions
from glue_runs.tasks import get_task
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments

logger = logging.getLogger(__name__)

ARGUMENTS = (ModelArguments, DataArguments, LogitMixTrainingArguments)
USAGE = "%(prog)s [CONFIG.json | CONFIG.yaml] --model_name_or_path MODEL --task_name TASK --do_train ... (see --help)"


@dataclasses.dataclass
class Job:
    """All that is known before the first step: what to do, with which trainer, on which rows."""

    args: LogitMixTrainingArguments
    data_args: DataArguments
    description: DataDescription
    rows: datasets.DatasetDict
    inputs: datasets.DatasetDict
    trainer: LogitMixTrainer
    state: RunState


def parse_arguments(argv: Sequence[str]) -> tuple[ModelArguments, DataArguments, LogitMixTrainingArguments]:
    """Parse flags, or a configuration file and the flags that override it."""
    model_args, data_args, args = parse_flags(ARGUMENTS, argv, usage=USAGE)
    if not (args.do_train or args.do_eval or args.do_predict):
        raise ValueError("nothing to do; give at least one of --do_train, --do_eval, --do_predict.")
    if args.output_dir == "trainer_output":  # what the base class makes of no --output_dir at all
        raise ValueError("--output_dir is missing; give the folder that the results go to.")
    return model_args, data_args, args


def set_up_logging(args: LogitMixTrainingArguments) -> None:
    """Log to the console as much as `--log_level` asks for, on the main process."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    if args.should_log:
        transformers.utils.logging.set_verbosity_info()
    level = args.get_process_log_level()
    for name in (__name__, "glue_runs"):
        logging.getLogger(name).setLevel(level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)


def find_state(model_args: ModelArguments, data_args: DataArguments, args: LogitMixTrainingArguments) -> RunState:
    """Find out where the run of the output folder stands, and leave its record there if it starts now."""
    record = run_record(model_args, data_args, args)
    state = find_run(args.output_dir, record, args.resume_from_checkpoint)
    if state.finished:
        logger.info("%s holds the finished run; its model is used. To train anew, choose another.", args.output_dir)
    elif state.checkpoint is not None:
        logger.info("Resuming from %s; to start anew, choose another --output_dir.", state.checkpoint)
    if args.should_save and not state.finished:
        write_record(args.output_dir, record)
    return state


def load_model(
    args: ModelArguments, description: DataDescription
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, DataDescription]:
    """Model and tokenizer for the data, and the description with the label order that the model uses."""
    hub = {"cache_dir": args.cache_dir, "revision": args.model_revision, "token": args.token}
    hub["trust_remote_code"] = args.trust_remote_code
    config = AutoConfig.from_pretrained(args.config_name or args.model_name_or_path, **hub)
    description = resolve_labels(description, config.label2id)
    names, has_head = description.label_names or ("score",), "ForSequenceClassification" in str(config.architectures)
    if has_head and config.num_labels != len(names) and not args.ignore_mismatched_sizes:
        raise ValueError(
            f"{args.model_name_or_path} has a head of {config.num_labels} outputs, the data needs {len(names)}; "
            "to start a new head, pass --ignore_mismatched_sizes."
        )
    config.problem_type = "regression" if description.is_regression else "single_label_classification"
    config.id2label = dict(enumerate(names))
    config.label2id = {name: label for label, name in enumerate(names)}
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer_name or args.model_name_or_path, **hub)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model_name_or_path, config=config, ignore_mismatched_sizes=args.ignore_mismatched_sizes, **hub
    )
    return model, tokenizer, description


def prepare(argv: Sequence[str]) -> Job:
    """Read everything the user gave; whatever is wrong with it shows here, before the first step."""
    model_args, data_args, args = parse_arguments(argv)
    set_up_logging(args)
    set_seed(args.seed)
    splits = needed_splits(data_args, train=args.do_train, evaluate=args.do_eval, predict=args.do_predict)
    with args.main_process_first(desc="loading data"):
        state = find_state(model_args, data_args, args) if args.do_train else RunState()
        data, description = load_data(data_args, splits, cache_dir=model_args.cache_dir, token=model_args.token)
    if state.finished:
        model_args = ModelArguments(model_name_or_path=args.output_dir, trust_remote_code=model_args.trust_remote_code)
    model, tokenizer, description = load_model(model_args, description)
    logger.info("Texts: %s. Labels: %s.", ", ".join(description.text_columns), description.label_names or "scores")
    with args.main_process_first(desc="tokenizing"):
        rows = select_rows(data, splits, description, data_args)
        inputs = model_inputs(rows, tokenizer, description, data_args)
    evaluation = {name.removeprefix("validation_"): inputs[name] for name in splits if name.startswith("validation")}
    trainer = LogitMixTrainer(
        model=model,
        args=args,
        train_dataset=inputs.get("train"),
        eval_dataset=evaluation if len(evaluation) > 1 else inputs.get("validation"),
        processing_class=tokenizer,
        compute_metrics=make_compute_metrics(
            description.metrics, description.is_regression, data_args.n_bins, description.positive_label
        ),
    )
    return Job(args, data_args, description, rows, inputs, trainer, state)


def report(trainer: LogitMixTrainer, prefix: str, metrics: dict[str, float], rows: int) -> None:
    """Print and save the metrics of one stage."""
    metrics = {**metrics, f"{prefix}_samples": rows}
    trainer.log_metrics(prefix, metrics)
    trainer.save_metrics(prefix, metrics)


def train(job: Job) -> None:
    """Fine-tune, then save model, metrics and state."""
    result = job.trainer.train(resume_from_checkpoint=job.state.checkpoint)
    job.trainer.save_model()
    report(job.trainer, "train", result.metrics, len(job.inputs["train"]))
    job.trainer.save_state()


def evaluate(job: Job) -> None:
    """Score every evaluation split under a prefix of its own, `eval` for `validation`."""
    for name in job.description.evaluation_splits:
        prefix = name.replace("validation", "eval")
        report(
            job.trainer, prefix, job.trainer.evaluate(job.inputs[name], metric_key_prefix=prefix), len(job.rows[name])
        )


def predict(job: Job) -> None:
    """Write the predictions for every test split, spelt as the leaderboard wants them."""
    task = None if job.data_args.task_name is None else get_task(job.data_args.task_name)
    for name, file in job.description.prediction_files:
        prefix, rows = name.replace("test", "predict"), job.rows[name]
        output = job.trainer.predict(job.inputs[name], metric_key_prefix=prefix)
        report(job.trainer, prefix, output.metrics, len(rows))
        values = predicted(output.predictions, job.description.is_regression).tolist()
        if not job.description.is_regression:
            values = [job.trainer.model.config.id2label[value] for value in values]
        ids = range(len(rows)) if task is None else rows["idx"][:]
        if job.trainer.is_world_process_zero():
            path = Path(job.args.output_dir) / file
            write_predictions(task, values, ids, path)
            logger.info("Wrote %d predictions to %s", len(rows), path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; return 2, after one line on stderr, if something is wrong with what the user gave."""
    try:
        job = prepare(sys.argv[1:] if argv is None else argv)
    except (ValueError, OSError) as error:
        logger.debug("Where the error came from:", exc_info=True)
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    if job.args.do_train and not job.state.finished:
        train(job)
    if job.args.do_eval:
        evaluate(job)
    if job.args.do_predict:
        predict(job)
    return 0


if __name__ == "__main__":
    sys.exit(main())
