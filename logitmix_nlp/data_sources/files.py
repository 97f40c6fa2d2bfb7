# SPDX-License-Identifier: Apache-2.0
"""Reader of data files, csv, tsv, json, jsonl and parquet, and of `save_to_disk`; each fault is named by its place."""

import csv
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, load_from_disk
from datasets.table import InMemoryTable

from logitmix_nlp.data_sources.lines import is_number, read_lines, require_file

__all__ = ["FILE_TYPES", "SAVED_NAME", "read_data_file", "read_saved"]

SAVED_NAME = "dataset_dict.json"

_INTEGER = re.compile(r"[+-]?[0-9]+")
_LFS_POINTER = b"version https://git-lfs"


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


def read_saved(folder: str | Path) -> DatasetDict:
    """Splits that `save_to_disk` wrote; a single dataset is the split `train`.

    Args:
        folder (`str` or `Path`): Folder that holds `dataset_dict.json`, or `state.json` of a single dataset.

    Returns:
        `DatasetDict`: The splits.

    Raises:
        ValueError: If a file in it is missing or damaged, or a split is empty.
    """
    try:
        data = load_from_disk(str(folder))
    except (ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(
            f"{folder} is not a readable folder of save_to_disk ({found}): a file in it is missing or damaged, or a "
            "split is empty; save it again."
        ) from error
    return data if isinstance(data, DatasetDict) else DatasetDict(train=data)


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
        columns[label_column] = _typed(path, label_column, columns[label_column])
    return Dataset.from_dict({name: _column(path, name, list(cells)) for name, cells in columns.items()})


def _typed(path: Path, name: str, cells: tuple[str, ...]) -> list[int | float | str | None]:
    given = [cell.strip() for cell in cells if cell.strip()]
    kind = str
    if all(_INTEGER.fullmatch(cell) for cell in given):
        kind = int
    elif all(is_number(cell) for cell in given):
        kind = float
    try:
        return [kind(cell) if cell.strip() else None for cell in cells]
    except ValueError as error:  # Python reads no number of thousands of digits
        raise _too_large(path, name) from error


def _too_large(path: Path, name: str) -> ValueError:
    return ValueError(f"{path}: column {name!r} holds a whole number beyond 64 bits; write it with letters, as text.")


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
    return Dataset.from_dict({name: _column(path, name, [row[name] for _, row in rows]) for name in names})


def _parse_json(text: str, path: Path, first_line: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{first_line + error.lineno - 1}: not valid JSON: {error.msg}.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}:{first_line}: a number is too long or objects lie too deep: {error}.") from error


def _column(path: Path, name: str, values: list) -> pa.Array:
    try:
        return pa.array(values)
    except OverflowError as error:
        raise _too_large(path, name) from error
    except UnicodeEncodeError as error:
        raise ValueError(f"{path}: column {name!r} holds half a character, {error.object!r}; mend it.") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in values})
        raise ValueError(f"{path}: column {name!r} mixes {', '.join(kinds)}; give it one type.") from error


def _read_parquet(path: Path, label_column: str) -> Dataset:
    """The table as it is; class names that `datasets` stored in it are kept."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        with path.open("rb") as file:
            pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
        found = "it only points to one; fetch it with `git lfs pull`" if pointer else " ".join(str(error).split())
        raise ValueError(f"{path} is not a readable parquet file: {found}.") from error
    if table.num_rows == 0:
        raise ValueError(f"{path} holds no rows.")
    return Dataset(InMemoryTable(table))


_READERS = {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_json, ".parquet": _read_parquet, ".tsv": _read_tsv}
FILE_TYPES = tuple(_READERS)
