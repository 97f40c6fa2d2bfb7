# SPDX-License-Identifier: Apache-2.0
"""Reader of the official GLUE files: tabs separate, everything else is text, no row is ever dropped."""

import math
from pathlib import Path

from glue_runs.tasks import GlueTask, TsvLayout

__all__ = ["MISSING_LABEL", "read_lines", "read_split", "require_file"]

MISSING_LABEL = -1
_BOM = b"\xef\xbb\xbf"


def require_file(path: Path) -> None:
    """Raise a `FileNotFoundError` that lists what the nearest existing folder holds unless `path` is a file."""
    if path.is_file():
        return
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    raise FileNotFoundError(f"{path} is not a file; {folder} holds: {shown or 'nothing'}.")


def read_lines(path: Path) -> list[str]:
    r"""Lines of a UTF-8 text file, split at `\n` alone; a byte order mark and a carriage return at the end are cut.

    Args:
        path (`Path`): File to read.

    Returns:
        `list[str]`: Lines, without the empty one after a final line feed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or is not UTF-8.
    """
    require_file(path)
    raw = path.read_bytes().removeprefix(_BOM)
    if not raw.strip():
        raise ValueError(f"{path}:1: the file is empty; it must hold one row per line.")
    lines = []
    for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            lines.append(line.decode("utf-8").removesuffix("\r"))
        except UnicodeDecodeError as error:
            found = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
            raise ValueError(f"{path}:{number}: {found} is not UTF-8; save the file as UTF-8.") from error
    return lines


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
    source = task.split(split)
    path, layout = Path(data_dir) / task.folder / source.file, source.layout
    lines = read_lines(path)
    header = 0 if layout.num_columns is not None else 1
    places, width = _locate(path, layout, lines[0].split("\t"))
    if len(lines) == header:
        raise ValueError(f"{path}:{header + 1}: there are no rows after the header.")
    columns: dict[str, list] = {name: [] for name in (*task.text_columns, "label", "idx")}
    seen: dict[int, int] = {}
    for number, line in enumerate(lines[header:], start=header + 1):
        where, cells = f"{path}:{number}", line.split("\t")
        if len(cells) != width:
            raise ValueError(f"{where}: found {len(cells)} tab-separated columns, expected {width}.")
        for name, place in zip(task.text_columns, layout.texts, strict=True):
            columns[name].append(cells[places[place]])
        columns["label"].append(
            _missing_label(task) if layout.label is None else _parse_label(task, cells[places[layout.label]], where)
        )
        index = number - header - 1 if layout.index is None else _parse_index(cells[places[layout.index]], where)
        if index in seen:
            raise ValueError(f"{where}: row id {index} was already given in line {seen[index]}; ids must differ.")
        seen[index] = number
        columns["idx"].append(index)
    return columns


def _locate(path: Path, layout: TsvLayout, first_line: list[str]) -> tuple[dict[str | int, int], int]:
    """Position of each column that the layout names, and the number of columns of every line."""
    wanted = [place for place in (*layout.texts, layout.label, layout.index) if place is not None]
    if layout.num_columns is not None:
        return {place: int(place) for place in wanted}, layout.num_columns
    missing = [str(name) for name in wanted if name not in first_line]
    if missing:
        found = ", ".join(first_line)
        raise ValueError(f"{path}:1: the header has no column {', '.join(missing)}; it holds: {found}.")
    return {name: first_line.index(name) for name in wanted}, len(first_line)


def _missing_label(task: GlueTask) -> int | float:
    return float(MISSING_LABEL) if task.label_names is None else MISSING_LABEL


def _parse_label(task: GlueTask, text: str, where: str) -> int | float:
    if task.label_strings is not None:
        if text not in task.label_strings:
            raise ValueError(f"{where}: found label {text!r}, allowed are: {', '.join(task.label_strings)}.")
        return task.label_strings.index(text)
    low, high = task.score_range
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not low <= score <= high:
        raise ValueError(f"{where}: found score {text!r}, allowed are numbers from {low:g} to {high:g}.")
    return score


def _parse_index(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{where}: found row id {text!r}, allowed are whole numbers from 0.")
    return int(text)
