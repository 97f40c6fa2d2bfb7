# SPDX-License-Identifier: Apache-2.0
"""Command lines, settings and results as strangers may read them: no secrets, no places on somebody's disk."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from logitmix_nlp.publishing.hub.secrets import is_secret_name, redact, without_credentials

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["last_part", "public_arguments", "public_command", "public_result", "public_text", "public_values"]

_PLACES_ONLY = ("cache_dir", "logging_dir")
_NAME = re.compile(r"-{0,2}[A-Za-z_][\w.-]*")
_ROOTED = re.compile(r"[/~]|[A-Za-z]:[\\/]|\\\\|file:", re.IGNORECASE)
_UPWARDS = re.compile(r"(?:^|[\\/])\.\.(?:[\\/]|$)")


def last_part(path: str) -> str:
    """The last folder or file name of a path of any system."""
    return (PureWindowsPath(path) if "\\" in path else PurePosixPath(path)).name


def public_text(text: str, *tokens: str | None) -> str:
    """One value, such as that of a flag, as it may be published: without tokens, those in use and what looks like one.

    Of paths from a root or a home folder, upwards (`..`) and of `file:` addresses the last part stays; so within JSON.
    Addresses lose names, passwords and secret queries.
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if values is not None:
            public = public_values(values, *tokens)
            return redact(text if public == values else json.dumps(public), *tokens)
    if _ROOTED.match(text) or _UPWARDS.search(text) or (str(Path.home()) in text and len(str(Path.home())) > 1):
        return redact(last_part(text.rstrip("/\\")).replace("..", "") or ".", *tokens)
    return redact(without_credentials(text), *tokens)


def public_values(value: Any, *tokens: str | None) -> Any:
    """Copy JSON values without entries of secret names, and with strings as [`public_text`] leaves them."""
    if isinstance(value, dict):
        return {name: public_values(item, *tokens) for name, item in value.items() if not is_secret_name(str(name))}
    if isinstance(value, (list, tuple)):
        return [public_values(item, *tokens) for item in value]
    return public_text(str(value), *tokens) if isinstance(value, (str, PurePath)) else value


def public_words(argv: Sequence[str]) -> list[str]:
    """The words of a command line as [`public_text`] leaves them; secrets and caches are left out with their flags."""
    shown, skip = [], False
    for word in map(str, argv):
        if skip and not word.startswith("-"):
            skip = False
            continue
        name, equals, value = word.partition("=")
        is_flag, is_setting = name.startswith("-"), bool(equals) and _NAME.fullmatch(name) is not None
        bare, skip = name.lstrip("-").replace("-", "_"), False
        if (is_flag or is_setting) and (is_secret_name(bare) or bare in _PLACES_ONLY):
            skip = is_flag and not equals
            continue
        shown.append(f"{name}={public_text(value)}" if is_setting else public_text(word))
    return shown


def public_command(argv: Sequence[str]) -> str:
    """The [`public_words`] of a command line, quoted where a shell needs it."""
    return shlex.join(public_words(argv))


def public_arguments(args: "TrainingArguments") -> dict[str, Any]:
    """All fields of training arguments that hold no secrets, as [`public_values`] leaves them."""
    return public_values(json.loads(json.dumps(args.to_dict(), default=str)), args.hub_token)


def public_result(content: bytes) -> bytes:
    """The content of a `result.json` as it may be published; the local file keeps its paths, to repeat the run.

    An entry `command` is the list of the words of a command line. Raises a `ValueError` if it is not JSON.
    """
    values = json.loads(content)
    public = public_values(values)
    if isinstance(values, dict) and isinstance(values.get("command"), list):
        public["command"] = public_words(values["command"])
    return content if public == values else (json.dumps(public, indent=2) + "\n").encode("utf-8")
