# SPDX-License-Identifier: Apache-2.0
"""One run: fine-tune, evaluate, predict, and leave a record of all of it in the output folder."""

import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.special import expit, softmax
from transformers import TrainerCallback

from glue_runs.runs.command_line import given_flags, to_flags
from glue_runs.runs.job import ARGUMENTS, Job, parse_arguments, prepare
from glue_runs.runs.record import drop_weights, without_secrets
from glue_runs.runs.results import RunResult, installed_versions, write_result
from glue_runs.tasks.glue import get_task
from glue_runs.tasks.labels import drop_missing_labels
from glue_runs.tasks.prediction_files import write_predictions
from glue_runs.tasks.scores import first_output, predicted
from logitmix_nlp.calibration.metrics import per_class_figures
from logitmix_nlp.evaluation.predicted_rows import keep_columns, prediction_columns, write_rows
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.publishing.trainer import push_or_explain
from logitmix_nlp.whole_files import write_json

__all__ = [
    "finish", "main", "refuse", "report", "run", "save_predictions", "train", "write_class_results",
    "write_probabilities",
]  # fmt: skip

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, callbacks: Sequence[TrainerCallback] = ()) -> int:
    """Run what the flags say.

    Args:
        argv (`Sequence[str]`, *optional*): Flags; `None` takes those of the process.
        callbacks (`Sequence[TrainerCallback]`): Given to the trainer.

    Returns:
        `int`: 0; 1 if the push to the Hub failed, 2 if something is wrong with what the user gave, both after one line
            on stderr.
    """
    start, argv = time.perf_counter(), list(sys.argv[1:] if argv is None else argv)
    try:
        job = prepare(parse_arguments(argv), callbacks)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
    try:
        run(job)
    except (SetupError, ImportError) as error:
        return refuse(error)
    config, task = without_secrets(given_flags(ARGUMENTS, argv)), job.data_args.task_name or "own"
    return finish(job, config, time.perf_counter() - start, task=task, program=("-m", "glue_runs.runs.run"))


def refuse(error: Exception) -> int:
    """Say what is wrong with what the user gave in one line on stderr; returns the exit code 2."""
    logger.debug("Where the error came from:", exc_info=True)
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2


def run(job: Job) -> None:
    """Fine-tune, evaluate and predict, as far as the job asks for it; figures go to `all_results.json`."""
    if job.args.do_train and not job.state.finished:
        train(job)
    if job.args.do_eval:
        evaluate(job)
    if job.args.do_predict:
        predict(job)


def finish(job: Job, config: dict[str, Any], seconds: float, *, task: str, program: Sequence[str]) -> int:
    """Write `result.json` and the model card, push, and drop the weights if they are not to be kept; on all processes.

    Args:
        job (`Job`): What was done.
        config (`dict[str, Any]`): The flags that were given, without tokens.
        seconds (`float`): How long it took.
        task (`str`): Name of the task or data in the result.
        program (`Sequence[str]`): What comes between `python` and the flags in the command that repeats the run.

    Returns:
        `int`: Exit status: 0, or 1 if the push failed, in which case the weights stay.
    """
    folder, trained, keep = Path(job.args.output_dir), job.args.do_train, job.output_args.keep_weights
    is_new = trained and not (job.state.finished and not (job.args.do_eval or job.args.do_predict))
    command, first = ["python", *program, *to_flags(config)], job.trainer.is_world_process_zero()
    job.trainer.card_options.command = command
    if is_new and first:
        result = RunResult(
            task=task,
            method=job.output_args.report_as or job.args.mix_method,
            seed=job.args.seed,
            metrics=json.loads((folder / "all_results.json").read_text(encoding="utf-8")),
            config=config,
            command=command,
            versions=installed_versions(),
            seconds=seconds,
            content=job.state.content,
        )
        write_result(folder, result)
    if job.args.push_to_hub:
        if not push_or_explain(job.trainer):
            return 1
    elif is_new and keep:
        job.trainer.create_model_card()
    if trained and first and not keep:
        drop_weights(folder)
    return 0


def report(job: Job, prefix: str, metrics: dict[str, float], rows: int) -> None:
    """Print and save the metrics of one stage."""
    metrics = {**metrics, f"{prefix}_samples": rows}
    job.trainer.log_metrics(prefix, metrics)
    job.trainer.save_metrics(prefix, metrics)


def train(job: Job) -> None:
    """Fine-tune, then save model, metrics and state; a `Diverged` if there is no model worth saving."""
    result = job.trainer.train(resume_from_checkpoint=job.state.checkpoint)
    job.trainer.check_converged()
    job.trainer.save_model(_internal_call=True)  # pushed once, with the results, at the end
    job.trainer.save_state()
    report(job, "train", result.metrics, len(job.inputs["train"]))


def evaluate(job: Job) -> None:
    """Score every evaluation split under a prefix of its own, `eval` for `validation`."""
    description, folder = job.description, Path(job.args.output_dir)
    for name in description.evaluation_splits:
        prefix, rows = name.replace("validation", "eval"), job.rows[name]
        output = job.trainer.predict(job.inputs[name], metric_key_prefix=prefix)
        job.trainer.log(dict(output.metrics))
        report(job, prefix, output.metrics, len(rows))
        if not job.trainer.is_world_process_zero():
            continue
        logits, labels = first_output(output.predictions).reshape(len(rows), -1), first_output(output.label_ids)
        if description.is_own and not description.is_regression:
            write_class_results(folder, prefix, logits, labels, description.label_names, job.data_args.n_bins)
        if job.output_args.save_predictions:
            save_kept(job, prefix, rows, labels, logits)


def write_class_results(
    folder: Path, prefix: str, logits: np.ndarray, labels: np.ndarray, names: Sequence[str], n_bins: int
) -> None:
    """Write accuracy, F1 score and ECE of every class to `PREFIX_class_results.json`; see [`per_class_figures`]."""
    write_json(folder / f"{prefix}_class_results.json", per_class_figures(logits, labels, names, n_bins))


def save_predictions(
    path: Path,
    ids: Sequence[int],
    labels: np.ndarray | None,
    logits: np.ndarray,
    *,
    multi_label: bool = False,
    rows: Dataset | None = None,
) -> None:
    """Write a Parquet file that [`RunResult`] reads.

    Args:
        path (`Path`): The file.
        ids (`Sequence[int]`): Row ids `(N,)`.
        labels (`np.ndarray` of shape `(N,)` or `(N, C)`, *optional*): What is true.
        logits (`np.ndarray` of shape `(N, C)`): What the model gives. Of a classifier, `probabilities` are added.
        multi_label (`bool`): Whether they are those of a sigmoid.
        rows (`Dataset`, *optional*): Rows whose other columns are kept.
    """
    logits = logits.astype(np.float32)
    columns = {"idx": list(ids)}
    if labels is not None:
        columns["label"] = list(labels) if multi_label else labels.reshape(-1)
    columns["logits"] = list(logits)
    if logits.shape[1] > 1:
        columns["probabilities"] = list(expit(logits) if multi_label else softmax(logits, axis=-1))
    rows = Dataset.from_dict({}) if rows is None else rows
    write_rows(path, keep_columns(rows, leave_out=list(columns)), columns)


def save_kept(job: Job, prefix: str, rows: Dataset, labels: np.ndarray | None, logits: np.ndarray) -> None:
    """Save the predictions of a split; the user's own data with all columns but texts and labels."""
    description = job.description
    leave_out = [*description.text_columns, description.label_column]
    save_predictions(
        Path(job.args.output_dir) / f"{prefix}_predictions.parquet",
        rows["idx"][:] if "idx" in rows.column_names else range(len(rows)),
        labels,
        logits,
        multi_label=description.multi_label,
        rows=keep_columns(rows, leave_out) if description.is_own else None,
    )


def predict(job: Job) -> None:
    """Write the predictions for every test split, spelt as the leaderboard wants them."""
    task = None if job.data_args.task_name is None else get_task(job.data_args.task_name)
    description, folder = job.description, Path(job.args.output_dir)
    names = list(job.trainer.model.config.id2label.values())
    for name, file in description.prediction_files:
        prefix, rows = name.replace("test", "predict"), job.rows[name]
        output = job.trainer.predict(job.inputs[name], metric_key_prefix=prefix)
        report(job, prefix, output.metrics, len(rows))
        logits = first_output(output.predictions).reshape(len(rows), -1)
        values = predicted(logits, description.is_regression).tolist()
        if description.multi_label:
            values = [", ".join(names[place] for place in np.flatnonzero(row > 0)) for row in logits]
        elif not description.is_regression:
            values = [names[value] for value in values]
        ids = range(len(rows)) if task is None else rows["idx"][:]
        if not job.trainer.is_world_process_zero():
            continue
        write_predictions(task, values, ids, folder / file)
        logger.info("Wrote %d predictions to %s", len(rows), folder / file)
        if description.is_own and not description.is_regression:
            rows = drop_missing_labels(rows, description.label_column)
            write_probabilities(folder / "predictions.csv", rows, logits, names, multi_label=description.multi_label)
        if job.output_args.save_predictions:
            save_kept(job, prefix, rows, None, logits)


def write_probabilities(
    path: Path, rows: Dataset, logits: np.ndarray, names: Sequence[str], *, multi_label: bool = False
) -> None:
    """Write class, entropy and all probabilities beside the rows' own columns; names that are taken get `model_`."""
    kept, columns = keep_columns(rows), prediction_columns(logits, names, multi_label=multi_label)
    while set(columns) & set(kept.column_names):
        columns = {f"model_{name}": values for name, values in columns.items()}
    write_rows(path, kept, columns)


if __name__ == "__main__":
    sys.exit(main())
