# SPDX-License-Identifier: Apache-2.0
"""Prediction files as the GLUE leaderboard wants them: how they are written, and what is wrong with one."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from glue_runs.tasks.glue import GlueSplit, GlueTask
from logitmix_nlp.evaluation.data.lines import require_file
from logitmix_nlp.whole_files import write_whole

__all__ = ["check_predictions", "write_predictions"]

HEADER = "index\tprediction"
_BOM = "\ufeff"
_SCORE = re.compile(r"[0-9]+\.[0-9]{3}")


def write_predictions(
    task: GlueTask | None, predictions: Sequence[str] | Sequence[float], ids: Sequence[int], path: str | Path
) -> None:
    r"""Write one prediction per line under the header `index\tprediction`; the file appears whole or not at all.

    Args:
        task (`GlueTask`, *optional*): Its class names are written as the leaderboard spells them, its scores with 3
            decimals and clipped to the task's range. Without a task names and numbers are written as they are.
        predictions (`Sequence`): Class names, or scores of a regression.
        ids (`Sequence[int]`): Row ids of the test split, in the same order.
        path (`str` or `Path`): File to write.

    Raises:
        ValueError: If there is not one prediction per id, an id occurs twice, or a prediction cannot be written.
    """
    path = Path(path)
    if len(predictions) != len(ids) or not len(ids):
        raise ValueError(f"{path}: found {len(predictions)} predictions for {len(ids)} rows; need one for each row.")
    seen: set[int] = set()
    for index in ids:
        if index in seen:
            raise ValueError(f"{path}: row id {index} occurs twice; ids must differ.")
        seen.add(index)
    rows = [f"{index}\t{_spell(task, value, path)}" for index, value in zip(ids, predictions, strict=True)]
    write_whole(path, "\n".join([HEADER, *rows]) + "\n")


def check_predictions(path: str | Path, task: GlueTask, split: GlueSplit) -> None:
    r"""Refuse a prediction file unless it is exactly what the leaderboard expects for one test split.

    That is: its official name, UTF-8 without byte order mark, `\n` after every line, the header `index\tprediction`,
    one line for each of the split's `num_rows` rows, numbered from 0 in order, and in it one of the task's
    `label_strings`, or for a regression a number in its range with 3 decimals.

    Args:
        path (`str` or `Path`): The file.
        task (`GlueTask`): Task with the labels that are allowed.
        split (`GlueSplit`): Test split of the task.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: On the first deviation, as `file:line`, what was found and what is allowed.
    """
    path = Path(path)
    if path.name != split.submission:
        raise ValueError(f"{path}: the leaderboard calls the file for {task.name} {split.submission}; rename it.")
    lines = _strict_lines(path)
    if lines[0] != HEADER:
        raise ValueError(f"{path}:1: found the header {lines[0]!r}, expected {HEADER!r}.")
    for index, line in enumerate(lines[1:]):
        where = f"{path}:{index + 2}"
        if index >= split.num_rows:
            raise ValueError(f"{where}: found {len(lines) - 1} rows after the header, expected {split.num_rows}.")
        cells = line.split("\t")
        if len(cells) != 2:
            raise ValueError(f"{where}: found {len(cells)} tab-separated columns in {line!r}, expected 2.")
        if cells[0] != str(index):
            raise ValueError(f"{where}: found index {cells[0]!r}, expected {index}; rows count from 0 in order.")
        if not _is_allowed(task, cells[1]):
            raise ValueError(f"{where}: found prediction {cells[1]!r}, allowed are: {_allowed(task)}.")
    if len(lines) - 1 < split.num_rows:
        raise ValueError(
            f"{path}:{len(lines) + 1}: found {len(lines) - 1} rows after the header, expected {split.num_rows}."
        )


def _strict_lines(path: Path) -> list[str]:
    require_file(path)
    raw = path.read_bytes()
    if not raw:
        raise ValueError(f"{path}:1: the file is empty; expected the header {HEADER!r}.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{number}: byte 0x{raw[error.start]:02x} is not UTF-8.") from error
    if text.startswith(_BOM):
        raise ValueError(f"{path}:1: the file starts with a byte order mark; save it as UTF-8 without one.")
    if "\r" in text:
        number = text.count("\n", 0, text.index("\r")) + 1
        raise ValueError(f"{path}:{number}: found a carriage return; lines must end with a line feed alone.")
    if not text.endswith("\n"):
        raise ValueError(f"{path}:{text.count(chr(10)) + 1}: the last line does not end with a line feed; add one.")
    return text[:-1].split("\n")


def _is_allowed(task: GlueTask, text: str) -> bool:
    if task.label_strings is not None:
        return text in task.label_strings
    low, high = task.score_range
    return _SCORE.fullmatch(text) is not None and low <= float(text) <= high


def _allowed(task: GlueTask) -> str:
    if task.label_strings is not None:
        return ", ".join(task.label_strings)
    low, high = task.score_range
    return f"numbers from {low:.3f} to {high:.3f} with 3 decimals"


def _spell(task: GlueTask | None, value: str | float, path: Path) -> str:
    if task is None:
        text = value if isinstance(value, str) else f"{_finite(value, path):.6g}"
        if any(character in text for character in "\t\r\n"):
            raise ValueError(f"{path}: class name {text!r} holds a tab or a line break; rename the class.")
        return text
    if task.label_names is None:
        low, high = task.score_range
        return f"{min(max(low, _finite(value, path)), high):.3f}"
    if value not in task.label_names:
        raise ValueError(f"{path}: found prediction {value!r}, allowed are: {', '.join(task.label_names)}.")
    return task.label_strings[task.label_names.index(value)]


def _finite(value: str | float, path: Path) -> float:
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError(f"{path}: found prediction {value!r}, allowed are finite numbers.")
    return float(value)
