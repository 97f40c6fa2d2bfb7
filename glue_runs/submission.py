# SPDX-License-Identifier: Apache-2.0
"""Prediction files as the GLUE leaderboard wants them."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from glue_runs.tasks import GlueTask

__all__ = ["write_predictions"]

HEADER = "index\tprediction"


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
    if len(set(ids)) != len(ids):
        repeated = next(index for position, index in enumerate(ids) if index in ids[:position])
        raise ValueError(f"{path}: row id {repeated} occurs twice; ids must differ.")
    rows = [f"{index}\t{_spell(task, value, path)}" for index, value in zip(ids, predictions, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8", newline="\n")
    os.replace(partial, path)


def _spell(task: GlueTask | None, value: str | float, path: Path) -> str:
    if task is None:
        text = value if isinstance(value, str) else f"{_finite(value, path):.6g}"
        if any(character in text for character in "\t\r\n"):
            raise ValueError(f"{path}: class name {text!r} holds a tab or a line break; rename the class.")
        return text
    if task.label_names is None:
        low, high = task.score_range
        return f"{min(max(_finite(value, path), low), high):.3f}"
    if value not in task.label_names:
        raise ValueError(f"{path}: found prediction {value!r}, allowed are: {', '.join(task.label_names)}.")
    return task.label_strings[task.label_names.index(value)]


def _finite(value: str | float, path: Path) -> float:
    if isinstance(value, str) or not math.isfinite(value):
        raise ValueError(f"{path}: found prediction {value!r}, allowed are finite numbers.")
    return float(value)
