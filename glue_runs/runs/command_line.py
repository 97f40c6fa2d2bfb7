# SPDX-License-Identifier: Apache-2.0
"""Command line flags, and configuration files that stand for them."""

import argparse
import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

from logitmix_nlp.commands import OneLineErrors

__all__ = ["FlagParser", "config_flags", "given_flags", "parse_flags", "suggestion", "to_flags"]


class FlagParser(OneLineErrors, HfArgumentParser):
    """Flags out of dataclasses."""


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
    argv = _expand(classes, argv)
    parser = FlagParser(classes, usage=usage, allow_abbrev=False)
    *parsed, rest = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True, look_for_args_file=False)
    _refuse_unknown(classes, rest)
    return tuple(parsed)


def given_flags(classes: Sequence[type], argv: Sequence[str], usage: str | None = None) -> dict[str, Any]:
    """What the user gave, and nothing else: flags by name, with values of their type.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags; none of them is built.
        argv (`Sequence[str]`): Command line, without the name of the program; may begin with a configuration file.
        usage (`str`, *optional*): Line to show when a flag cannot be read.

    Returns:
        `dict[str, Any]`: Values by flag name, in the order of the fields.

    Raises:
        ValueError: If a flag or key is unknown.
    """
    parser = FlagParser(classes, usage=usage, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    values, rest = parser.parse_known_args(_expand(classes, argv))
    _refuse_unknown(classes, rest)
    return {name: value for name in _names(classes) if (value := getattr(values, name, None)) is not None}


def _names(classes: Sequence[type]) -> list[str]:
    return [field.name for cls in classes for field in dataclasses.fields(cls) if field.init]


def _expand(classes: Sequence[type], argv: Sequence[str]) -> list[str]:
    argv = list(argv)
    if argv and not argv[0].startswith("-"):
        return config_flags(Path(argv[0]), _names(classes)) + argv[1:]
    return argv


def _refuse_unknown(classes: Sequence[type], rest: Sequence[str]) -> None:
    if rest:
        name = rest[0].lstrip("-").partition("=")[0].replace("-", "_")
        raise ValueError(f"unknown argument {rest[0]!r}{suggestion(name, _names(classes))}; --help lists all of them.")


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
    for name in values:
        if name not in known:
            raise ValueError(f"{path}: unknown key {name!r}{suggestion(str(name), known)}; keys are flag names.")
    return to_flags(values)


def to_flags(values: Mapping[str, Any]) -> list[str]:
    """A mapping of flag names to values as command line flags; `None` leaves the default."""
    flags = []
    for name, value in values.items():
        if isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        elif value is not None:
            flags.append(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}")
    return flags


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return `, did you mean 'x'` if a known name is close, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""
