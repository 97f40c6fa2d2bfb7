# SPDX-License-Identifier: Apache-2.0
"""From flags to everything that is known before the first step: data, model and trainer of one run."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import datasets
import transformers
from transformers import Trainer, TrainerCallback, set_seed
from transformers.trainer import TRAINER_STATE_NAME

from glue_runs.runs.arguments import OutputArguments
from glue_runs.runs.content import digests
from glue_runs.runs.modality import Modality
from glue_runs.runs.record import RecordWriter, RunState, all_values, check_results, find_run, run_record
from glue_runs.tasks.scores import check_best_metric
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.training.checkpoints import read_state

__all__ = ["Job", "prepare"]

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Job:
    """What to do, with which trainer, on which rows.

    Args:
        modality (`Modality`): Data and model, with the arguments that they were made from.
        output_args (`OutputArguments`): What to leave behind.
        rows (`Mapping`): Splits, as loaded.
        inputs (`Mapping`): Splits, as the model takes them; same rows, same order.
        trainer (`LogitMixTrainer`): Ready to train.
        state (`RunState`): Where the run of the output folder stands.
    """

    modality: Modality
    output_args: OutputArguments
    rows: Mapping[str, datasets.Dataset]
    inputs: Mapping[str, Any]
    trainer: LogitMixTrainer
    state: RunState


def prepare(modality: type[Modality], arguments: Sequence[Any], callbacks: Sequence[TrainerCallback] = ()) -> Job:
    """Read everything the user gave; whatever is wrong with it shows here, before the first step.

    Args:
        modality (`type[Modality]`): Texts or images.
        arguments (`Sequence`): One instance of each of its `arguments`, from [`Modality.parse`].
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
    source = modality(model_args, data_args, args)
    splits = source.needed_splits()
    with args.main_process_first(desc="loading data"):
        state = find_state(model_args, data_args, args, splits)
        source.load(splits)
    model, processor = source.load_model(finished=state.finished)
    rows, inputs = source.make_inputs(model, processor)
    description = source.description
    evaluation = {name.removeprefix("validation_"): inputs[name] for name in inputs if name.startswith("validation")}
    with without_trace(args.output_dir):
        trainer = source.trainer(
            model=model,
            args=args,
            train_dataset=inputs.get("train"),
            eval_dataset=evaluation if len(evaluation) > 1 else inputs.get("validation"),
            processing_class=processor,
            data_collator=source.collator(processor),
            compute_metrics=source.compute_metrics(),
            callbacks=list(callbacks),
        )
        if args.do_train:
            several = description.multi_label or description.soft_labels
            kind = {"is_regression": description.is_regression, "multi_label": several}
            check_best_metric(trainer, **kind, tokens=description.tokens)
    trainer.card_options = source.card_options()
    attach_run(trainer, state)
    return Job(source, output_args, rows, inputs, trainer, state)


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


def set_up_logging(args: LogitMixTrainingArguments) -> None:
    """Log to the console as much as `--log_level` asks for, on the main process; no bars with `--disable_tqdm`."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    if args.should_log:
        transformers.utils.logging.set_verbosity_info()
    level = args.get_process_log_level()
    for name in ("glue_runs", "logitmix_nlp"):
        logging.getLogger(name).setLevel(level)
    datasets.utils.logging.set_verbosity(level)
    transformers.utils.logging.set_verbosity(level)
    if args.disable_tqdm:
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()


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
