# SPDX-License-Identifier: Apache-2.0
"""The command line of this process, and which models' names are folders here."""

import os
import re
import sys

__all__ = ["command_of_process", "is_local_path"]

_MODEL_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def is_local_path(name: str) -> bool:
    """Whether a model's name is a folder here, or could not be one on the Hub."""
    return bool(name) and (os.path.isdir(name) or _MODEL_ID.fullmatch(name) is None or name.startswith("."))


def command_of_process() -> list[str] | None:
    """The command line of this process, if it is a script or a module that could be run again; else `None`."""
    main = sys.modules["__main__"]
    spec = main.__spec__
    if spec is not None:
        name = spec.name.removesuffix(".__main__")
        return None if name == "ipykernel_launcher" else ["python", "-m", name, *sys.argv[1:]]
    return ["python", *sys.argv] if sys.argv[0].endswith(".py") else None
