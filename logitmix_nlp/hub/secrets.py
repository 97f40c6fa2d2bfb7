# SPDX-License-Identifier: Apache-2.0
"""Tokens stay out of files and messages."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from huggingface_hub import get_token

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["check_token", "find_secret", "public_arguments", "redact"]

REDACTED = "<token>"
_TOKEN = re.compile(r"(?:hf|api_org)_(?:oauth_|jwt_)?[A-Za-z0-9.-]{16,}")
_SECRET_NAME = re.compile(r"token|secret|password|passwd|api_key|credential", re.IGNORECASE)
_PATH = re.compile(r"(?:/|~[/\\]|[A-Za-z]:[/\\]|\\\\).*")
_NOT_SECRET = ("include_num_input_tokens_seen", "average_tokens_across_devices")


def _literals(tokens: Iterable[str | None]) -> list[str]:
    known = {token.strip() for token in (*tokens, get_token()) if isinstance(token, str)}
    return sorted((token for token in known if len(token) >= 6), key=len, reverse=True)


def redact(text: object, *tokens: str | None) -> str:
    """`text` with everything that is a token replaced by `<token>`.

    Args:
        text (`object`): A message; anything else is turned into a string first.
        tokens (`str`, *optional*): Tokens in use. The one of the login or of `HF_TOKEN`, and whatever looks like a
            token of the Hub, are always replaced.

    Returns:
        `str`: The text without tokens.
    """
    text = str(text)
    for token in _literals(tokens):
        text = text.replace(token, REDACTED)
    return _TOKEN.sub(REDACTED, text)


def find_secret(path: str | Path, *tokens: str | None) -> bool:
    """Whether a text file holds a token: one in use, or what looks like one; files that are not UTF-8 are no text.

    Args:
        path (`str` or `Path`): The file.
        tokens (`str`, *optional*): Tokens in use, beside that of the login.

    Returns:
        `bool`: `True` if it does.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return _TOKEN.search(text) is not None or any(token in text for token in _literals(tokens))


def check_token(token: str | None) -> None:
    """Refuse a token that no HTTP header can carry, before an error message quotes it.

    Args:
        token (`str`, *optional*): The token; `None` is fine.

    Raises:
        ValueError: If it is empty or holds spaces, line breaks or characters outside ASCII. The message does not
            show it.
    """
    if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
        raise ValueError(
            "The Hub token is empty or holds spaces, line breaks or characters outside ASCII: copy it again from "
            "https://huggingface.co/settings/tokens, or log in with `hf auth login`."
        )


def _public(value: Any, tokens: Sequence[str | None]) -> Any:
    if isinstance(value, dict):
        return {name: _public(item, tokens) for name, item in value.items() if not _is_secret(str(name))}
    if isinstance(value, (list, tuple)):
        return [_public(item, tokens) for item in value]
    if isinstance(value, (str, PurePath)):
        text = str(value)
        return redact(PurePath(text.replace("\\", "/")).name if _PATH.fullmatch(text) else text, *tokens)
    return value


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and name not in _NOT_SECRET


def public_arguments(args: "TrainingArguments") -> dict[str, Any]:
    """Training arguments as JSON values that may be published.

    Args:
        args (`TrainingArguments`): The arguments.

    Returns:
        `dict[str, Any]`: All fields but those that hold secrets; of absolute paths only the last part.
    """
    values = json.loads(json.dumps(args.to_dict(), default=str))
    return _public(values, (args.hub_token,))
