# SPDX-License-Identifier: Apache-2.0
"""Text files line by line: what is no UTF-8 text is refused by file and line."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["counted", "is_number", "iter_lines", "read_lines", "require_file", "shown"]

_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def is_number(text: str) -> bool:
    """Whether a cell of a text file is a number; `nan` and `inf` are numbers too."""
    return _NUMBER.fullmatch(text.strip()) is not None


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 row, 2 rows."""
    return f"{number} {noun}" + "s" * (number != 1)


def shown(names: Sequence[str], most: int = 10) -> str:
    """Names for a message: all, or the first ones and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def require_file(*paths: Path) -> Path:
    """The first of these places that is a file; a `FileNotFoundError` names them and lists the nearest folder."""
    for path in paths:
        if path.is_file():
            return path
    folder = paths[0].parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    others = "".join(f", nor is {path}" for path in paths[1:])
    raise FileNotFoundError(f"{paths[0]} is not a file{others}; {folder} holds: {shown(names, 20) or 'nothing'}.")


def iter_lines(path: Path) -> Iterator[str]:
    r"""Lines of a UTF-8 text file, split at `\n` alone; a byte order mark and a carriage return at the end are cut.

    Args:
        path (`Path`): File to read.

    Yields:
        `str`: The next line; no empty one after a final line feed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or is not UTF-8.
    """
    require_file(path)
    with path.open("rb") as file:
        if not any(line.removeprefix(_BOM).strip() for line in file):
            raise ValueError(f"{path}:1: the file is empty; it must hold one row per line.")
        file.seek(0)
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(_BOM) if number == 1 else line
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, line, error.start) from error
            if "\0" in text:
                raise _not_utf8(path, number, line, line.index(b"\0"))
            yield text.removesuffix("\n").removesuffix("\r")


def read_lines(path: Path) -> list[str]:
    """All lines of a text file; see [`iter_lines`]."""
    return list(iter_lines(path))


def _not_utf8(path: Path, number: int, line: bytes, place: int) -> ValueError:
    broken = f"byte 0x{line[place]:02x} at position {place + 1}"
    return ValueError(f"{path}:{number}: {broken} is not UTF-8 text; save the file as UTF-8.")
