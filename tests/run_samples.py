# SPDX-License-Identifier: Apache-2.0
"""Made-up folders of finished runs, for the tests of the report."""

import json
from pathlib import Path

import numpy as np
from datasets import Dataset, disable_progress_bars
from transformers import EvalPrediction

from glue_runs.grid.plan import PlannedRun
from glue_runs.runs.record import FLAGS_NAME
from glue_runs.runs.results import RunResult, write_result
from glue_runs.tasks.glue import get_task
from glue_runs.tasks.scores import make_compute_metrics

VERSIONS = {"python": "3.11.2", "torch": "2.13.0"}


def planned(folder: Path, count: int) -> list[PlannedRun]:
    """Runs of a grid that have a folder with flags and have not begun."""
    runs = [PlannedRun("cola", "mixup", seed, folder / str(seed), {}) for seed in range(count)]
    for run in runs:
        run.folder.mkdir()
        (run.folder / FLAGS_NAME).write_text("{}")
    return runs


def sample_predictions(task: str, rows: int, seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a task, the same for all seeds, and logits that follow them; the larger `scale`, the surer."""
    names, rng = get_task(task).label_names, np.random.default_rng(seed)
    if names is None:
        labels = np.round(np.random.default_rng(rows).uniform(0, 5, rows), 1)
        return labels, (labels + rng.normal(size=rows))[:, None].astype(np.float32)
    labels = np.random.default_rng(rows).integers(len(names), size=rows)
    logits = scale * (rng.normal(size=(rows, len(names))) + 1.5 * np.eye(len(names))[labels])
    return labels, logits.astype(np.float32)


def save_predictions(path: Path, ids, labels, logits) -> None:
    """Write predictions the way a run does."""
    disable_progress_bars()
    Dataset.from_dict({"idx": list(ids), "label": labels, "logits": list(logits)}).to_parquet(str(path))


def write_run(
    root: Path, task: str, method: str, seed: int, *, rows=60, scale=2.0, keep=True, history=None, config=(), **metrics
) -> Path:
    """One finished run: result, predictions unless `keep` is false, log if there is a `history`.

    `metrics` are put over those of the predictions; `None` takes one out.
    """
    record = get_task(task)
    folder = root / task / method.replace("/", "+").replace(":", "_") / f"seed-{seed}"
    folder.mkdir(parents=True)
    found = {"train_runtime": 100.0, "train_samples": 8 * rows}
    for place, split in enumerate(record.evaluation_splits):
        prefix = split.replace("validation", "eval")
        labels, logits = sample_predictions(task, rows, 10 * seed + place, scale)
        compute_metrics = make_compute_metrics(record.metrics, record.label_names is None)
        scores = compute_metrics(EvalPrediction(logits, labels))
        found |= {f"{prefix}_{name}": value for name, value in scores.items()} | {f"{prefix}_samples": rows}
        if keep:
            save_predictions(folder / f"{prefix}_predictions.parquet", range(rows), labels, logits)
    if history is not None:
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    flags = {"model_name_or_path": "tiny-bert", "task_name": task, "seed": seed, "learning_rate": 2e-5}
    flags |= {"mix_method": method.split("/")[0], **dict(config)}
    command = ["python", "-m", "glue_runs.runs.run", "--task_name", task, "--seed", str(seed)]
    metrics = {name: value for name, value in {**found, **metrics}.items() if value is not None}
    write_result(folder, RunResult(task, method, seed, metrics, flags, command, VERSIONS, 120.0))
    return folder
