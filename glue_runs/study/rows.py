# SPDX-License-Identifier: Apache-2.0
"""One CSV row per finished run, and beside it what an analysis needs of its test rows, small enough to be kept."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glue_runs.study.figures import kept_columns
from glue_runs.study.plan import RESULT_NAME, plan_digest
from logitmix_nlp.reports.tables import csv_text
from logitmix_nlp.whole_files import write_whole

__all__ = ["LOGITS_NAME", "collect", "columns_of", "finished_rows", "read_rows", "row_of"]

LOGITS_NAME = "logits.npz"
KEY = ("task", "regime", "method", "learning_rate", "seed")
ABOUT = (*KEY, "spec", "epochs", "classes", "train_rows", "validation_score", "validation_nll")
LAST = ("train_seconds", "seconds", "digest", "plan", "torch", "transformers")
TEXTS = ("task", "regime", "method", "spec", "digest", "plan", "torch", "transformers")


def row_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a run: what it was, its figures, processor seconds, digests of its logits and of its plan."""
    about = {**result["plan"], "classes": result["classes"], "train_rows": result["rows"]["train"]}
    about |= {f"validation_{name}": value for name, value in result["validation"].items()}
    last = {**result, **result["versions"], "plan": plan_digest(result["plan"])}
    return {**{name: about[name] for name in ABOUT}, **result["test"], **{name: last[name] for name in LAST}}


def read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Rows by the digest of their plan, from a file that [`collect`] wrote; none if there is no such file.

    Cells that are empty, because a task lacks the figure, are left out.
    """
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {name: cell if name in TEXTS else float(cell) for name, cell in row.items() if cell != ""}
            for row in csv.DictReader(file)
        ]
    for row in rows:
        row["seed"] = int(row["seed"])
    return {row["plan"]: row for row in rows}


def finished_rows(output_dir: Path, path: Path) -> dict[str, dict[str, Any]]:
    """Rows of all runs that a folder or a CSV file holds, by the digest of their plan."""
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(output_dir.rglob(RESULT_NAME))]
    return {**read_rows(path), **{row["plan"]: row for row in map(row_of, results)}}


def collect(output_dir: Path, path: Path) -> int:
    """Write the rows of all finished runs below a folder to a CSV file; rows of other runs that it holds stay.

    What [`columns_of`] reads goes to the folder `rows` beside it, one file per run.

    Args:
        output_dir (`Path`): Folder of the runs.
        path (`Path`): CSV file; it is replaced whole.

    Returns:
        `int`: How many rows it holds now.
    """
    found = {**read_rows(path)}
    for file in sorted(output_dir.rglob(RESULT_NAME)):
        result = json.loads(file.read_text(encoding="utf-8"))
        row = row_of(result)
        found[row["plan"]] = row
        kept = path.parent / "rows" / f"{row['plan']}.npz"
        if not kept.is_file():
            with np.load(file.with_name(LOGITS_NAME)) as logits:
                columns = kept_columns({name: logits[name] for name in logits.files}, row["temperature"])
            stream = io.BytesIO()
            np.savez_compressed(stream, **columns)
            write_whole(kept, stream.getvalue())
    rows = sorted(found.values(), key=lambda row: tuple(row[name] for name in KEY))
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name not in LAST] + [name for name in LAST if name in names]
    if rows:
        write_whole(path, csv_text(names, [[row.get(name) for name in names] for row in rows]))
    return len(rows)


def columns_of(path: Path, digest: str) -> dict[str, np.ndarray]:
    """What is kept of the test rows of a run, see [`kept_columns`].

    Raises:
        FileNotFoundError: If there is no such file.
    """
    file = path.parent / "rows" / f"{digest}.npz"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: it belongs to a row of {path}; collect it or repeat the run.")
    with np.load(file) as columns:
        return {name: columns[name] for name in columns.files}
