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
from transformers import TrainerCallback

from glue_runs.command_line import given_flags, to_flags
from glue_runs.job import ARGUMENTS, Job, parse_arguments, prepare
from glue_runs.metrics import first_output, predicted
from glue_runs.record import drop_weights, without_secrets
from glue_runs.results import RunResult, installed_versions, write_result
from glue_runs.submission import write_predictions
from glue_runs.tasks import get_task
from logitmix_nlp.outputs import SetupError
from logitmix_nlp.publishing import push_or_explain

__all__ = ["finish", "main", "refuse", "report", "run", "save_predictions", "train"]

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
    except (ValueError, OSError) as error:
        return refuse(error)
    try:
        run(job)
    except SetupError as error:
        return refuse(error)
    config, task = without_secrets(given_flags(ARGUMENTS, argv)), job.data_args.task_name or "own"
    return finish(job, config, time.perf_counter() - start, task=task, program=("-m", "glue_runs.run"))


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
    """Fine-tune, then save model, metrics and state."""
    result = job.trainer.train(resume_from_checkpoint=job.state.checkpoint)
    job.trainer.save_model(_internal_call=True)  # pushed once, with the results, at the end
    job.trainer.save_state()
    report(job, "train", result.metrics, len(job.inputs["train"]))


def evaluate(job: Job) -> None:
    """Score every evaluation split under a prefix of its own, `eval` for `validation`."""
    for name in job.description.evaluation_splits:
        prefix, rows = name.replace("validation", "eval"), job.rows[name]
        output = job.trainer.predict(job.inputs[name], metric_key_prefix=prefix)
        job.trainer.log(dict(output.metrics))
        report(job, prefix, output.metrics, len(rows))
        if job.output_args.save_predictions and job.trainer.is_world_process_zero():
            logits = first_output(output.predictions).reshape(len(rows), -1)
            save_predictions(
                Path(job.args.output_dir) / f"{prefix}_predictions.parquet",
                rows["idx"][:] if "idx" in rows.column_names else range(len(rows)),
                first_output(output.label_ids).reshape(-1),
                logits,
            )


def save_predictions(path: Path, ids: Sequence[int], labels: np.ndarray, logits: np.ndarray) -> None:
    """Write row ids `(N,)`, labels `(N,)` and logits `(N, C)` as a Parquet file that [`RunResult`] reads."""
    rows = Dataset.from_dict({"idx": list(ids), "label": labels, "logits": list(logits.astype(np.float32))})
    rows.to_parquet(str(path))


def predict(job: Job) -> None:
    """Write the predictions for every test split, spelt as the leaderboard wants them."""
    task = None if job.data_args.task_name is None else get_task(job.data_args.task_name)
    for name, file in job.description.prediction_files:
        prefix, rows = name.replace("test", "predict"), job.rows[name]
        output = job.trainer.predict(job.inputs[name], metric_key_prefix=prefix)
        report(job, prefix, output.metrics, len(rows))
        values = predicted(output.predictions, job.description.is_regression).tolist()
        if not job.description.is_regression:
            values = [job.trainer.model.config.id2label[value] for value in values]
        ids = range(len(rows)) if task is None else rows["idx"][:]
        if job.trainer.is_world_process_zero():
            path = Path(job.args.output_dir) / file
            write_predictions(task, values, ids, path)
            logger.info("Wrote %d predictions to %s", len(rows), path)


if __name__ == "__main__":
    sys.exit(main())
