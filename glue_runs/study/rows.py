# SPDX-License-Identifier: Apache-2.0
"""One CSV row per finished run, and beside it what an analysis needs of its test rows, small enough to be kept."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glue_runs.study.metrics import kept_columns, run_metrics
from glue_runs.study.plan import RESULT_NAME, plan_digest
from logitmix_nlp.functional import ensemble_scores
from logitmix_nlp.reports.tables import csv_text
from logitmix_nlp.whole_files import write_whole

__all__ = ["LOGITS_NAME", "collect", "columns_of", "finished_rows", "read_ensembles", "read_rows", "row_of"]

LOGITS_NAME, ENSEMBLES_NAME = "logits.npz", "ensembles.csv"
KEY = ("task", "regime", "method", "learning_rate", "seed")
ABOUT = (*KEY, "spec", "epochs", "classes", "train_rows", "validation_score", "validation_nll")
LAST = ("train_seconds", "seconds", "digest", "plan", "torch", "transformers")
TEXTS = ("task", "regime", "method", "spec", "digest", "plan", "torch", "transformers")


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a run: what it was, its metrics, processor seconds, digests of its logits and of its plan."""
    about = {**result["plan"], "classes": result["classes"], "train_rows": result["rows"]["train"]}
    about |= {f"validation_{name}": value for name, value in result["validation"].items()}
    last = {**result, **result["versions"], "plan": plan_digest(result["plan"])}
    return {**{name: about[name] for name in ABOUT}, **result["test"], **{name: last[name] for name in LAST}}


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Rows by the digest of their plan, from a file that [`collect`] wrote; none if there is no such file."""
    return {row["plan"]: row for row in _read(path)}


def read_ensembles(path: Path) -> dict[tuple, dict[str, Any]]:
    """Rows of ensembles by task, regime, method and learning rate, from `ensembles.csv` beside that file."""
    rows = _read(path.with_name(ENSEMBLES_NAME))
    return {tuple(row[name] for name in KEY[:-1]): row for row in rows}


def _read(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV file, numbers where they are such; empty cells, metrics that a task lacks, are left out."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {"seed": int, **dict.fromkeys(TEXTS, str)}
    return [{name: kinds.get(name, float)(cell) for name, cell in row.items() if cell != ""} for row in rows]


def finished_rows(output_dir: Path, path: Path) -> dict[str, dict[str, Any]]:
    """Rows of all runs that a folder or a CSV file holds, by the digest of their plan."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(output_dir.rglob(RESULT_NAME))]
    return {**read_rows(path), **{row["plan"]: row for row in map(row_of, results)}}


def collect(output_dir: Path, path: Path) -> int:
    """Write the rows of all finished runs below a folder to a CSV file; rows of other runs that it holds stay.

    What [`columns_of`] reads goes to the folder `rows` beside it, one file per run. `ensembles.csv` there gets a row
    for all seeds of a method whose mean probabilities are taken, unless it has one of more seeds.

    Args:
        output_dir (`Path`): Folder of the runs.
        path (`Path`): CSV file; it is replaced whole.

    Returns:
        `int`: How many rows it holds now.
    """
    rows, members = read_rows(path), {}
    for file in sorted(output_dir.rglob(RESULT_NAME)):
        result = json.loads(file.read_text(encoding="utf-8"))
        row = row_of(result)
        rows[row["plan"]] = row
        members.setdefault(tuple(row[name] for name in KEY[:-1]), []).append((result, file.with_name(LOGITS_NAME)))
        kept = path.parent / "rows" / f"{row['plan']}.npz"
        if not kept.is_file():
            stream = io.BytesIO()
            np.savez_compressed(stream, **kept_columns(_arrays(file.with_name(LOGITS_NAME)), row["temperature"]))
            write_whole(kept, stream.getvalue())
    ensembles = read_ensembles(path)
    for key, runs in members.items():
        if len(runs) > 1 and len(runs) >= ensembles.get(key, {}).get("members", 0):
            ensembles[key] = dict(zip(KEY[:-1], key, strict=True)) | _ensemble(runs)
    _write(path, list(rows.values()), LAST)
    _write(path.with_name(ENSEMBLES_NAME), list(ensembles.values()), ())
    return len(rows)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _ensemble(runs: Sequence[tuple[Mapping[str, Any], Path]]) -> dict[str, Any]:
    """Metrics of the mean probabilities of several seeds; their energy, which is 0 for every row, is left out."""
    plan, arrays = runs[0][0]["plan"], [_arrays(path) for _, path in runs]
    labels = {name.removesuffix("_labels"): ids for name, ids in arrays[0].items() if name.endswith("_labels")}
    logits = {
        name: ensemble_scores(torch.from_numpy(np.stack([one[name] for one in arrays]))).log_probs.numpy()
        for name in arrays[0]
        if not name.endswith("_labels")
    }
    metrics = run_metrics(logits, labels, plan["data"]["score"], plan["evaluation"]["n_bins"])
    metrics = {name: value for name, value in metrics.items() if not name.endswith("_energy")}
    return {"members": len(runs), **metrics, "train_seconds": sum(result["train_seconds"] for result, _ in runs)}


def _write(path: Path, rows: Sequence[Mapping[str, Any]], last: Sequence[str]) -> None:
    """Rows in the order of their keys, every column that one of them has, `last` behind the others."""
    if rows:
        rows = sorted(rows, key=lambda row: tuple(row.get(name, 0) for name in KEY))
        names = list(dict.fromkeys(name for row in rows for name in row))
        names = [name for name in names if name not in last] + [name for name in last if name in names]
        write_whole(path, csv_text(names, [[row.get(name) for name in names] for row in rows]))


def columns_of(path: Path, digest: str) -> dict[str, np.ndarray]:
    """What is kept of the test rows of a run, see [`kept_columns`].

    Raises:
        FileNotFoundError: If there is no such file.
    """
    file = path.parent / "rows" / f"{digest}.npz"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: it belongs to a row of {path}; collect it or repeat the run.")
    return _arrays(file)
