# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, whenever the process that writes them is killed; JSON read back from them."""

import json
import os
import threading
from pathlib import Path
from typing import Any

__all__ = ["PARTIAL", "read_object", "write_json", "write_whole"]

PARTIAL = ".partial"  # ends the name of a file that is not finished; one that is left over may be deleted


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write a file, and its folder, beside its place and move it there: readers see the old content or the new.

    Permissions of a file that is there stay, and of a link the target is replaced.

    Args:
        path (`str` or `Path`): The file.
        content (`bytes` or `str`): Its content; text is written as UTF-8, line ends as they are.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o777)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, values: Any) -> None:
    """Write JSON as [`write_whole`] does, indented by two."""
    write_whole(path, json.dumps(values, indent=2) + "\n")


def read_object(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path (`str` or `Path`): The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else; the sentence names the file and the cause.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: it is not valid JSON ({error}).") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is damaged: it holds {type(values).__name__}, not an object.")
    return values
