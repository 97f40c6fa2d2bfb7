# SPDX-License-Identifier: Apache-2.0
"""Command lines, names and texts as strangers may read them: no secrets, no places on somebody's disk."""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from logitmix_nlp.hub.secrets import redact

__all__ = ["command_of_process", "is_local_path", "last_part", "public_command"]

_SECRET_FLAG = re.compile(r"--?[\w.-]*(?:token|password|passwd|secret|api[_-]?key)[\w.-]*", re.IGNORECASE)
_PLACES_ONLY = ("--cache_dir", "--cache-dir", "--logging_dir", "--logging-dir")
_MODEL_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def is_local_path(name: str) -> bool:
    """Whether a model's name is a folder here, or could not be one on the Hub."""
    return bool(name) and (os.path.isdir(name) or _MODEL_ID.fullmatch(name) is None or name.startswith("."))


def last_part(path: str) -> str:
    """The last folder or file name of a path of any system."""
    return (PureWindowsPath(path) if "\\" in path else PurePosixPath(path)).name


def public_command(argv: Sequence[str]) -> str:
    """A command line without secrets, for a shell; paths from a root or a home folder keep their last part only.

    Args:
        argv (`Sequence[str]`): Program and arguments.

    Returns:
        `str`: Quoted where a shell needs it. Flags of tokens, passwords and caches are left out with their values.
    """
    shown, skip = [], False
    for word in argv:
        if skip and not word.startswith("-"):
            skip = False
            continue
        flag, equals, value = word.partition("=")
        skip = False
        if _SECRET_FLAG.fullmatch(flag) or flag in _PLACES_ONLY:
            skip = not equals
            continue
        if equals and flag.startswith("-"):
            shown.append(f"{flag}={_public_value(value)}")
        else:
            shown.append(_public_value(word))
    return redact(shlex.join(shown))


def _public_value(value: str) -> str:
    rooted = value.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", value) or value.startswith("\\\\")
    if rooted or str(Path.home()) in value:
        return last_part(value.rstrip("/\\")) or "."
    return value


def command_of_process() -> list[str] | None:
    """The command line of this process, if it is a script or a module that could be run again; else `None`."""
    main = sys.modules["__main__"]
    spec = main.__spec__
    if spec is not None:
        name = spec.name.removesuffix(".__main__")
        return None if name == "ipykernel_launcher" else ["python", "-m", name, *sys.argv[1:]]
    return ["python", *sys.argv] if sys.argv[0].endswith(".py") else None
