# SPDX-License-Identifier: Apache-2.0
"""Reader of the user's own data files: csv, tsv, json, jsonl and parquet, each fault named by file and line."""

import csv
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.table import InMemoryTable

from glue_runs.tsv import read_lines, require_file

__all__ = ["FILE_TYPES", "is_number", "read_data_file"]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def is_number(text: str) -> bool:
    """Whether a cell of a text file is a number; `nan` and `inf` are numbers too."""
    return _NUMBER.fullmatch(text.strip()) is not None


def read_data_file(path: str | Path, label_column: str = "label") -> Dataset:
    """Rows of one data file, in file order.

    Args:
        path (`str` or `Path`): File whose extension is one of `FILE_TYPES`. In a `.csv` quotes follow the usual rules,
            in a `.tsv` they are text. Both need a header line, and their cells stay strings except for the labels.
        label_column (`str`): Column that is turned into integers or floats if all its cells are such; an empty cell
            becomes `None`.

    Returns:
        `Dataset`: The rows.

    Raises:
        FileNotFoundError: If there is no such file; the message lists what the folder holds.
        ValueError: If the file is malformed.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise ValueError(f"{path} has the unknown extension {path.suffix!r}; use one of: {', '.join(FILE_TYPES)}.")
    require_file(path)
    return _READERS[path.suffix](path, label_column)


def _read_csv(path: Path, label_column: str) -> Dataset:
    reader = csv.reader(io.StringIO("\n".join(read_lines(path)), newline=""), strict=True)
    rows = []
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}; check the quotes or save the file as .tsv.") from error
    return _from_cells(path, rows, label_column)


def _read_tsv(path: Path, label_column: str) -> Dataset:
    rows = [(number, line.split("\t")) for number, line in enumerate(read_lines(path), start=1)]
    return _from_cells(path, rows, label_column)


def _from_cells(path: Path, rows: list[tuple[int, list[str]]], label_column: str) -> Dataset:
    """A dataset from numbered rows of cells, the first of which is the header."""
    header = rows[0][1]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}:1: the header names {', '.join(repeated)} more than once; column names must differ.")
    if len(rows) == 1:
        raise ValueError(f"{path}:2: there are no rows after the header.")
    for number, cells in rows[1:]:
        if len(cells) != len(header):
            raise ValueError(
                f"{path}:{number}: found {len(cells)} columns, expected {len(header)}: {', '.join(header)}."
            )
    columns = dict(zip(header, zip(*(cells for _, cells in rows[1:]), strict=True), strict=True))
    if label_column in columns:
        columns[label_column] = _typed(columns[label_column])
    return Dataset.from_dict({name: list(cells) for name, cells in columns.items()})


def _typed(cells: tuple[str, ...]) -> list[int | float | str | None]:
    given = [cell for cell in cells if cell.strip()]
    kind = str
    if all(_INTEGER.fullmatch(cell.strip()) for cell in given):
        kind = int
    elif all(is_number(cell) for cell in given):
        kind = float
    return [kind(cell) if cell.strip() else None for cell in cells]


def _read_json(path: Path, label_column: str) -> Dataset:
    """A list of objects, or one object per line; types are those of the file."""
    lines = read_lines(path)
    if "\n".join(lines).lstrip().startswith("["):
        rows = [(f"{path}, item {n}", row) for n, row in enumerate(_parse_json("\n".join(lines), path, 1), start=1)]
    else:
        rows = [(f"{path}:{n}", _parse_json(line, path, n)) for n, line in enumerate(lines, start=1)]
    names = list(rows[0][1]) if rows and isinstance(rows[0][1], dict) else []
    for where, row in rows:
        if not isinstance(row, dict) or set(row) != set(names):
            found = f"the keys {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
            raise ValueError(f"{where}: found {found}, expected an object with the keys {', '.join(names) or '...'}.")
    if not rows:
        raise ValueError(f"{path}: the list is empty; it must hold one object per row.")
    return Dataset.from_dict({name: _json_column(path, name, [row[name] for _, row in rows]) for name in names})


def _parse_json(text: str, path: Path, first_line: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{first_line + error.lineno - 1}: not valid JSON: {error.msg}.") from error


def _json_column(path: Path, name: str, values: list) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in values})
        raise ValueError(f"{path}: column {name!r} mixes {', '.join(kinds)}; give it one type.") from error


def _read_parquet(path: Path, label_column: str) -> Dataset:
    """The table as it is; class names that `datasets` stored in it are kept."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a readable parquet file: {error}.") from error
    if table.num_rows == 0:
        raise ValueError(f"{path} holds no rows.")
    return Dataset(InMemoryTable(table))


_READERS = {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_json, ".parquet": _read_parquet, ".tsv": _read_tsv}
FILE_TYPES = tuple(_READERS)
