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
from glue_runs.runs.job import Job, prepare
from glue_runs.runs.modality import Modality
from glue_runs.runs.record import drop_weights, without_secrets
from glue_runs.runs.results import RunResult, installed_versions, with_site, write_result
from glue_runs.runs.texts import Texts
from glue_runs.tasks.description import drop_missing_labels
from glue_runs.tasks.scores import predicted
from logitmix_nlp.calibration.metrics import per_class_metrics
from logitmix_nlp.commands import refuse
from logitmix_nlp.evaluation.predicted_rows import keep_columns, prediction_columns, write_rows
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.publishing.trainer import push_or_explain
from logitmix_nlp.whole_files import write_json

__all__ = ["main"]

logger = logging.getLogger(__name__)


def main(
    argv: Sequence[str] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    modality: type[Modality] = Texts,
) -> int:
    """Run what the flags say.

    Args:
        argv (`Sequence[str]`, *optional*): Flags; `None` takes those of the process.
        callbacks (`Sequence[TrainerCallback]`): Given to the trainer.
        modality (`type[Modality]`): Texts or images.

    Returns:
        `int`: 0; 1 if the push to the Hub failed, 2 if something is wrong with what the user gave, both after one line
            on stderr.
    """
    start, argv = time.perf_counter(), list(sys.argv[1:] if argv is None else argv)
    try:
        job = prepare(modality, modality.parse(argv), callbacks)
    except (ValueError, OSError, ImportError) as error:
        return refuse(error)
    try:
        if job.trainer.args.do_train and not job.state.finished:
            train(job)
        if job.trainer.args.do_eval:
            evaluate(job)
        if job.trainer.args.do_predict:
            predict(job)
    except (SetupError, ImportError) as error:
        return refuse(error)
    return finish(job, without_secrets(given_flags(modality.arguments, argv)), time.perf_counter() - start)


def train(job: Job) -> None:
    """Fine-tune, then save model, metrics and state; a `Diverged` if there is no model worth saving."""
    result = job.trainer.train(resume_from_checkpoint=job.state.checkpoint)
    job.trainer.check_converged()
    job.trainer.save_model(_internal_call=True)  # pushed once, with the results, at the end
    job.trainer.save_state()
    report(job, "train", {**result.metrics, "train_samples": len(job.inputs["train"])})


def evaluate(job: Job) -> None:
    """Score every evaluation split under a prefix of its own, `eval` for `validation`."""
    description, folder = job.modality.description, Path(job.trainer.args.output_dir)
    for name in description.evaluation_splits:
        prefix = name.replace("validation", "eval")
        logits, labels = outputs(job, name, prefix)
        if not job.trainer.is_world_process_zero():
            continue
        if description.is_own and not description.is_regression:
            n_bins = job.modality.data_args.n_bins
            classes = labels.argmax(axis=-1) if description.soft_labels else labels
            by_class = per_class_metrics(logits, classes, description.label_names, n_bins)
            write_json(folder / f"{prefix}_class_results.json", by_class)
        if job.output_args.save_predictions:
            save_predictions(job, name, prefix, labels, logits)


def predict(job: Job) -> None:
    """Write the predictions for every test split, spelt as the leaderboard wants them."""
    modality, folder = job.modality, Path(job.trainer.args.output_dir)
    description = modality.description
    names = list(job.trainer.model.config.id2label.values())
    for name, file in description.prediction_files:
        prefix, rows = name.replace("test", "predict"), job.rows[name]
        logits, labels = outputs(job, name, prefix)
        values = predicted(logits, description.is_regression).tolist()
        if description.multi_label:
            values = [", ".join(names[place] for place in np.flatnonzero(row > 0)) for row in logits]
        elif not description.is_regression:
            values = [names[value] for value in values]
        if not job.trainer.is_world_process_zero():
            continue
        modality.write_predictions(folder / file, name, rows, values)
        logger.info("Wrote %d predictions to %s", len(rows), folder / file)
        if description.is_own and not description.is_regression:
            write_probabilities(
                folder / "predictions.csv",
                modality.table(name, drop_missing_labels(rows, description.label_column)),
                logits,
                names,
                multi_label=description.multi_label,
            )
        if job.output_args.save_predictions:
            save_predictions(job, name, prefix, labels, logits)


def outputs(job: Job, name: str, prefix: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits `(N, C)` of a split, and its labels if it has some; its metrics are logged and saved."""
    logits, labels, metrics = job.modality.predict(job.trainer, name, job.inputs[name], prefix)
    job.trainer.log(dict(metrics))
    report(job, prefix, {**metrics, f"{prefix}_samples": len(job.rows[name])})
    return logits, labels


def report(job: Job, prefix: str, metrics: dict[str, float]) -> None:
    """Print and save the metrics of one stage."""
    job.trainer.log_metrics(prefix, metrics)
    job.trainer.save_metrics(prefix, metrics)


def save_predictions(job: Job, name: str, prefix: str, labels: np.ndarray | None, logits: np.ndarray) -> None:
    """Write the Parquet file of a split that [`RunResult`] reads: row ids, labels, logits and probabilities.

    Of the user's own data all columns are kept but texts and labels.
    """
    description, logits = job.modality.description, logits.astype(np.float32)
    rows = job.modality.table(name, job.rows[name])
    columns = {"idx": rows["idx"][:] if "idx" in rows.column_names else range(len(rows))}
    if labels is not None:
        columns["label"] = list(labels) if labels.shape == logits.shape else labels.reshape(-1)
    columns["logits"] = list(logits)
    if logits.shape[1] > 1:
        columns["probabilities"] = list(expit(logits) if description.multi_label else softmax(logits, axis=-1))
    left_out = [*columns, *description.text_columns, description.label_column]
    kept = keep_columns(rows, left_out if description.is_own else rows.column_names)
    write_rows(Path(job.trainer.args.output_dir) / f"{prefix}_predictions.parquet", kept, columns)


def write_probabilities(
    path: Path, rows: Dataset, logits: np.ndarray, names: Sequence[str], *, multi_label: bool = False
) -> None:
    """Write class, entropy and all probabilities beside the rows' own columns; names that are taken get `model_`."""
    kept, columns = keep_columns(rows), prediction_columns(logits, names, multi_label=multi_label)
    while set(columns) & set(kept.column_names):
        columns = {f"model_{name}": values for name, values in columns.items()}
    write_rows(path, kept, columns)


def finish(job: Job, config: dict[str, Any], seconds: float) -> int:
    """Write `result.json` and the model card, push, and drop the weights if they are not to be kept; on all processes.

    Args:
        job (`Job`): What was done.
        config (`dict[str, Any]`): The flags that were given, without tokens.
        seconds (`float`): How long it took.

    Returns:
        `int`: Exit status: 0, or 1 if the push failed, in which case the weights stay.
    """
    args, keep = job.trainer.args, job.output_args.keep_weights
    folder, first = Path(args.output_dir), job.trainer.is_world_process_zero()
    is_new = args.do_train and not (job.state.finished and not (args.do_eval or args.do_predict))
    command = ["python", *job.modality.program, *to_flags(config)]
    job.trainer.card_options.command = command
    if is_new and first:
        result = RunResult(
            task=job.modality.name,
            method=job.output_args.report_as or args.mix_method,
            seed=args.seed,
            metrics=json.loads((folder / "all_results.json").read_text(encoding="utf-8")),
            config=with_site(config, args.mix_site),
            command=command,
            versions=installed_versions(),
            seconds=seconds,
            content=job.state.content,
        )
        write_result(folder, result)
    if args.push_to_hub:
        if not push_or_explain(job.trainer):
            return 1
    elif is_new and keep:
        job.trainer.create_model_card()
    if args.do_train and first and not keep:
        drop_weights(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
