# SPDX-License-Identifier: Apache-2.0
"""Reader of the official GLUE files: tabs separate, everything else is text, no row is ever dropped."""

import math
from collections.abc import Iterator
from pathlib import Path

from glue_runs.tasks.glue import GlueTask, TsvLayout, resolve_split
from logitmix_nlp.evaluation.data.labels import MISSING_LABEL
from logitmix_nlp.evaluation.data.lines import is_number, iter_lines, require_file

__all__ = ["LARGEST_ID", "read_split"]

LARGEST_ID = 2**31 - 1


def read_split(task: GlueTask, split: str, data_dir: str | Path) -> dict[str, list]:
    """Rows of one official file of a task, as columns of `nyu-mll/glue`.

    Args:
        task (`GlueTask`): Task record.
        split (`str`): Split name.
        data_dir (`str` or `Path`): Folder of the official distribution, which holds the task's folder.

    Returns:
        `dict[str, list]`: The task's text columns, `label` (-1 in a file without labels) and `idx`, in file order.

    Raises:
        FileNotFoundError: If there is no such file; the message lists what the folder holds.
        ValueError: On any malformed line, as `file:line`, what was found and what is allowed.
    """
    task, source = resolve_split(task, split)
    path, layout = require_file(*(Path(data_dir) / place for place in task.paths(source))), source.layout
    columns: dict[str, list] = {name: [] for name in (*task.text_columns, "label", "idx")}
    seen: dict[int, int] = {}
    numbered, first = enumerate(iter_lines(path), start=1), 1
    places, width = {place: place for place in _named(layout)}, layout.num_columns
    if width is None:
        places, width = _locate(path, layout, next(numbered)[1].split("\t"))
        first = 2
    for number, cells in _records(path, numbered, width, layout.continued):
        where = f"{path}:{number}"
        for name, place in zip(task.text_columns, layout.texts, strict=True):
            columns[name].append(cells[places[place]])
        columns["label"].append(
            _missing_label(task) if layout.label is None else _parse_label(task, cells[places[layout.label]], where)
        )
        index = number - first if layout.index is None else _parse_index(cells[places[layout.index]], where)
        if index in seen:
            raise ValueError(f"{where}: row id {index} was already given in line {seen[index]}; ids must differ.")
        seen[index] = number
        columns["idx"].append(index)
    if not seen:
        raise ValueError(f"{path}:{first}: there are no rows after the header.")
    return columns


def _records(
    path: Path, numbered: Iterator[tuple[int, str]], width: int, continued: bool
) -> Iterator[tuple[int, list[str]]]:
    """Cells of each record and the line it starts in; lines of a record that goes on are joined by a space."""
    for start, line in numbered:
        cells, number = line.split("\t"), start
        while continued and len(cells) < width:
            number, line = next(numbered, (number, None))
            if line is None:
                break
            more = line.split("\t")
            cells = [*cells[:-1], f"{cells[-1]} {more[0]}", *more[1:]]
        if len(cells) != width:
            joined = f" up to line {number}" if number > start else ""
            raise ValueError(f"{path}:{start}: found {len(cells)} tab-separated columns{joined}, expected {width}.")
        yield start, cells


def _named(layout: TsvLayout) -> list[str | int]:
    """The columns that a layout names."""
    return [place for place in (*layout.texts, layout.label, layout.index) if place is not None]


def _locate(path: Path, layout: TsvLayout, header: list[str]) -> tuple[dict[str | int, int], int]:
    """Position of each column that the layout names, and the number of columns of every line."""
    wanted, titles = _named(layout), ", ".join(header)
    for name in wanted:
        if header.count(name) > 1:
            raise ValueError(f"{path}:1: the header names {name} more than once; it holds: {titles}.")
    missing = [str(name) for name in wanted if name not in header]
    if missing:
        raise ValueError(f"{path}:1: the header has no column {', '.join(missing)}; it holds: {titles}.")
    return {name: header.index(name) for name in wanted}, len(header)


def _missing_label(task: GlueTask) -> int | float:
    return float(MISSING_LABEL) if task.label_names is None else MISSING_LABEL


def _parse_label(task: GlueTask, text: str, where: str) -> int | float:
    if task.label_strings is not None:
        if text not in task.label_strings:
            raise ValueError(f"{where}: found label {text!r}, allowed are: {', '.join(task.label_strings)}.")
        return task.label_strings.index(text)
    low, high = task.score_range
    score = float(text) if is_number(text) else math.nan
    if not low <= score <= high:
        raise ValueError(f"{where}: found score {text!r}, allowed are numbers from {low:g} to {high:g}.")
    return score


def _parse_index(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LARGEST_ID):
        raise ValueError(f"{where}: found row id {text!r}, allowed are whole numbers from 0 to {LARGEST_ID}.")
    return int(text)
