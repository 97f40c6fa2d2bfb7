# SPDX-License-Identifier: Apache-2.0
"""Reader of data files, csv, tsv, json, jsonl, parquet and conll, and of `save_to_disk`; faults are named by place."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, load_from_disk
from datasets.table import InMemoryTable

from logitmix_nlp.evaluation.data.lines import is_number, read_lines, require_file

__all__ = ["CONLL_COLUMNS", "FILE_TYPES", "SAVED_NAME", "is_data_file", "read_data_file", "read_saved"]

SAVED_NAME = "dataset_dict.json"
CONLL_COLUMNS = ("tokens", "ner_tags")
DOCUMENT = "-DOCSTART-"

_NOT_SPACE = re.compile(r"\S")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LFS_POINTER = b"version https://git-lfs"


def read_data_file(path: str | Path, label_column: str | None = "label") -> Dataset:
    """Rows of one data file, in file order.

    Args:
        path (`str` or `Path`): File whose extension is one of `FILE_TYPES`, in any case. In a `.csv` quotes follow the
            usual rules, in a `.tsv` they are text. Both need a header line, and their cells stay strings except for
            the labels. A `.csv` whose header has semicolons and no comma is separated by them. A `.json` or `.jsonl`
            holds a list of objects, an object per row on one line or on several, or one object with such a list. A
            `.conll` holds a word per line and blank lines between sentences, which become the rows: `tokens`, the
            first columns, and `ner_tags`, the last ones, if there are two or more (by tab, else by spaces).
        label_column (`str`): Column that is turned into integers or floats if all its cells are such; an empty cell
            becomes `None`. `None` leaves all cells strings.

    Returns:
        `Dataset`: The rows.

    Raises:
        FileNotFoundError: If there is no such file; the message lists what the folder holds.
        ValueError: If the file is malformed.
    """
    path = Path(path)
    if not is_data_file(path):
        raise ValueError(f"{path} has the unknown extension {path.suffix!r}; use one of: {', '.join(FILE_TYPES)}.")
    require_file(path)
    return _READERS[path.suffix.lower()](path, label_column)


def is_data_file(path: str | Path) -> bool:
    """Whether the extension of a path is one of `FILE_TYPES`, in whatever case."""
    return Path(path).suffix.lower() in _READERS


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
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(
            f"{folder} is not a readable folder of save_to_disk ({reason}): a file in it is missing or damaged, or a "
            "split is empty; save it again."
        ) from error
    return data if isinstance(data, DatasetDict) else DatasetDict(train=data)


def _read_csv(path: Path, label_column: str | None) -> Dataset:
    lines = read_lines(path)
    separator = _separator(lines[0])
    reader = csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}; check the quotes or save the file as .tsv.") from error
    return _from_cells(path, rows, label_column, decimal_comma=separator == ";")


def _separator(header: str) -> str:
    """A semicolon, as spreadsheets of many languages write it, if that parts the header and a comma does not."""
    parts = {mark: len(next(csv.reader([header], delimiter=mark), [])) for mark in ",;"}
    return ";" if parts[","] == 1 < parts[";"] else ","


def _read_tsv(path: Path, label_column: str | None) -> Dataset:
    rows = [(number, line.split("\t")) for number, line in enumerate(read_lines(path), start=1)]
    return _from_cells(path, rows, label_column)


def _from_cells(
    path: Path, rows: list[tuple[int, list[str]]], label_column: str | None, decimal_comma: bool = False
) -> Dataset:
    """A dataset from numbered rows of cells, the first of which is the header; blank lines at the end are none."""
    header = rows[0][1]
    while rows[-1][1] in ([], [""][: len(header) - 1]):
        rows.pop()
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
        if decimal_comma and _has_decimal_commas(columns[label_column]):
            raise ValueError(
                f"{path}: column {label_column!r} holds numbers with a decimal comma; write them with a point."
            )
        columns[label_column] = _typed(path, label_column, columns[label_column])
    return Dataset.from_dict({name: _column(path, name, list(cells)) for name, cells in columns.items()})


def _has_decimal_commas(cells: Sequence[str]) -> bool:
    given = [cell for cell in cells if cell.strip()]
    return any("," in cell for cell in given) and all(is_number(cell.replace(",", ".", 1)) for cell in given)


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


def _read_json(path: Path, label_column: str | None) -> Dataset:
    """A list of objects, or objects one after another; types are those of the file."""
    rows = _json_rows(path, read_lines(path))
    names = list(rows[0][1]) if isinstance(rows[0][1], dict) else []
    for where, row in rows:
        if not isinstance(row, dict) or set(row) != set(names):
            got = f"the keys {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
            raise ValueError(f"{where}: found {got}, expected an object with the keys {', '.join(names) or '...'}.")
    return Dataset.from_dict({name: _column(path, name, [row[name] for _, row in rows]) for name in names})


def _json_rows(path: Path, lines: list[str]) -> list[tuple[str, object]]:
    """The values in a file, each with its place: the items of a list, one per line, or written over many lines."""
    text = "\n".join(lines)
    if text.lstrip().startswith("["):
        return _items(path, _parse_json(path, json.loads, text), "the list")
    by_line = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if _is_json(by_line[0][1]):
        rows = [(f"{path}:{number}", _parse_json(path, json.loads, line, number)) for number, line in by_line]
    else:
        rows, end = [], 0
        while start := _NOT_SPACE.search(text, end):
            row, end = _parse_json(path, json.JSONDecoder().raw_decode, text, 1, start.start())
            rows.append((f"{path}:{text.count(chr(10), 0, start.start()) + 1}", row))
    return _rows_inside(path, rows[0][1]) if len(rows) == 1 and isinstance(rows[0][1], dict) else rows


def _rows_inside(path: Path, value: dict[str, object]) -> list[tuple[str, object]]:
    """The rows that a file's only object holds, which is one row itself unless it looks like something else."""
    lists = [name for name, inner in value.items() if inner == [] or _are_objects(inner)]
    if len(lists) == 1:
        return _items(path, value[lists[0]], f"the list {lists[0]!r}")
    if len(lists) > 1:
        raise ValueError(f"{path} holds lists of rows ({', '.join(lists)}); give each a file of its own.")
    is_row = path.suffix.lower() == ".jsonl" and all(isinstance(inner, list) for inner in value.values())
    if value and not is_row and all(isinstance(inner, (list, dict)) for inner in value.values()):
        raise ValueError(f"{path} holds columns ({', '.join(value)}), not rows; write one object per row.")
    return [(f"{path}:1", value)]


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _items(path: Path, items: list, name: str) -> list[tuple[str, object]]:
    if not items:
        raise ValueError(f"{path}: {name} is empty; it must hold one object per row.")
    return [(f"{path}, item {number}", item) for number, item in enumerate(items, start=1)]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    except (ValueError, RecursionError):
        return True  # too long or too deep, which is said when it is parsed
    return True


def _parse_json(path: Path, parse: Callable, text: str, first_line: int = 1, *where: int) -> Any:
    try:
        return parse(text, *where)
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
        raise ValueError(f"{path}: column {name!r} holds half a character, {error.object!r}; fix it.") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in values})
        raise ValueError(f"{path}: column {name!r} mixes {', '.join(kinds)}; give it one type.") from error


def _read_parquet(path: Path, label_column: str | None) -> Dataset:
    """The table as it is; class names that `datasets` stored in it are kept."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        with path.open("rb") as file:
            pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
        reason = "it only points to one; fetch it with `git lfs pull`" if pointer else " ".join(str(error).split())
        raise ValueError(f"{path} is not a readable parquet file: {reason}.") from error
    if table.num_rows == 0:
        raise ValueError(f"{path} holds no rows.")
    return Dataset(InMemoryTable(table))


def _read_conll(path: Path, label_column: str | None) -> Dataset:
    """Sentences of words; lines `-DOCSTART-` between documents are left out."""
    sentences: list[list[list[str]]] = [[]]
    width = 0
    for number, line in enumerate(read_lines(path), start=1):
        line = line.strip(" ").rstrip(" \t")  # other white space may be a word, or within one
        cells = line.split("\t") if "\t" in line else re.split(" +", line)
        if cells == [""] or cells[0] == DOCUMENT:
            sentences.append([])
            continue
        width = width or len(cells)
        if len(cells) != width or not all(cells):
            raise ValueError(f"{path}:{number}: found {len(cells)} columns, expected {width} as in the lines before.")
        sentences[-1].append([cells[0].strip(" "), cells[-1].strip(" ")])
    sentences = [words for words in sentences if words]
    if not sentences:
        raise ValueError(f"{path} holds no words.")
    columns = [[[cells[place] for cells in words] for words in sentences] for place in (0, 1)]
    return Dataset.from_dict(dict(zip(CONLL_COLUMNS[: min(width, 2)], columns, strict=False)))


_READERS = {
    ".csv": _read_csv, ".json": _read_json, ".jsonl": _read_json, ".parquet": _read_parquet, ".tsv": _read_tsv,
    ".conll": _read_conll,
}  # fmt: skip
FILE_TYPES = tuple(_READERS)
