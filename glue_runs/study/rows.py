# SPDX-License-Identifier: Apache-2.0
"""One CSV row per finished run of a study, collected from the folders of the runs."""

import csv
import json
from pathlib import Path
from typing import Any

from glue_runs.study.plan import RESULT_NAME
from logitmix_nlp.reports.tables import csv_text
from logitmix_nlp.whole_files import write_whole

__all__ = ["KEY", "read_rows", "write_rows"]

KEY = ("task", "regime", "method", "learning_rate", "seed")
ABOUT = (*KEY, "spec", "epochs", "classes", "train_rows", "validation_score", "validation_nll")
LAST = ("train_seconds", "seconds", "digest", "torch", "transformers")


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file that [`write_rows`] wrote; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(output_dir: Path, path: Path) -> int:
    """Write the rows of all finished runs below a folder; rows of other runs that the file holds stay.

    Args:
        output_dir (`Path`): Folder of the runs.
        path (`Path`): CSV file; it is replaced whole.

    Returns:
        `int`: How many rows it holds now.

    Raises:
        FileNotFoundError: If there is no finished run.
    """
    found = [_row(json.loads(file.read_text(encoding="utf-8"))) for file in sorted(output_dir.rglob(RESULT_NAME))]
    if not found:
        raise FileNotFoundError(f"{output_dir}: no finished run ({RESULT_NAME}) in or below this folder.")
    rows = {_key(row): row for row in [*read_rows(path), *found]}
    rows = [rows[key] for key in sorted(rows)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name not in LAST] + [name for name in LAST if name in names]
    write_whole(path, csv_text(names, [[row.get(name) for name in names] for row in rows]))
    return len(rows)


def _row(result: dict[str, Any]) -> dict[str, Any]:
    plan = result["plan"]
    about = {**plan, "classes": result["classes"], "train_rows": result["rows"]["train"]}
    about |= {f"validation_{name}": value for name, value in result["validation"].items()}
    last = {**result, **result["versions"]}
    return {
        **{name: about[name] for name in ABOUT},
        **result["test"],
        **{name: last[name] for name in LAST},
    }


def _key(row: dict[str, Any]) -> tuple:
    return tuple(row[name] for name in KEY[:3]) + (float(row["learning_rate"]), int(row["seed"]))
