# SPDX-License-Identifier: Apache-2.0
"""Command line flags, and configuration files that stand for them."""

import dataclasses
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

__all__ = ["config_flags", "parse_flags"]


def parse_flags(classes: Sequence[type], argv: Sequence[str], usage: str | None = None) -> tuple[Any, ...]:
    """Fill dataclasses from flags; a configuration file may come first, and later flags override it.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.
        argv (`Sequence[str]`): Command line, without the name of the program.
        usage (`str`, *optional*): Line to show when a flag cannot be read.

    Returns:
        `tuple`: One instance per class.

    Raises:
        FileNotFoundError: If there is no such configuration file.
        ValueError: If a flag or key is unknown, or a class refuses its values.
    """
    known = [field.name for cls in classes for field in dataclasses.fields(cls) if field.init]
    argv = list(argv)
    if argv and not argv[0].startswith("-"):
        argv = config_flags(Path(argv[0]), known) + argv[1:]
    parser = HfArgumentParser(classes, usage=usage)
    *parsed, rest = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True, look_for_args_file=False)
    if rest:
        name = rest[0].lstrip("-").partition("=")[0].replace("-", "_")
        raise ValueError(f"unknown argument {rest[0]!r}{_suggestion(name, known)}; --help lists all of them.")
    return tuple(parsed)


def config_flags(path: Path, known: Sequence[str]) -> list[str]:
    """A JSON or YAML file of `name: value` as command line flags; `null` leaves the default."""
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise ValueError(f"{path}: the first argument must be a flag or a .json, .yaml or .yml file.")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not a valid configuration file: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected one mapping of names to values, found {type(values).__name__}.")
    flags = []
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{path}: unknown key {name!r}{_suggestion(str(name), known)}; keys are flag names.")
        if isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:
            flags.append(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}")
    return flags


def _suggestion(name: str, known: Sequence[str]) -> str:
    """`, did you mean 'x'` if a known name is close, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""
