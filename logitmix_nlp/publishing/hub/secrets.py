# SPDX-License-Identifier: Apache-2.0
"""Tokens stay out of files and messages."""

import re
from collections.abc import Iterable
from typing import Any

from huggingface_hub import get_token

__all__ = ["check_token", "find_secret", "is_secret_name", "redact", "without_credentials"]

REDACTED = "<token>"
# Tokens of the Hub have 34 letters and digits without a break; names such as hf_bert-base-uncased do not.
_TOKEN = re.compile(r"(?:hf|api_org)_[A-Za-z0-9]{30,}|hf_(?:oauth|jwt)_[A-Za-z0-9._-]{16,}")
_SECRET_NAME = re.compile(r"(?:token|secrets?|passwords?|passwd|credentials?|(?:api|access|private)_?key)(?:_|$)")
_SPECIAL_TOKEN = re.compile(r"(?:^|_)(?:bos|cls|eos|image|mask|pad|sep|unk)_token(?:_|$)")  # of a tokenizer

_SIGNATURE = re.compile(r"(?:^|-)sig(?:nature)?$", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s\"<>]+")
# What stands before the last @ of the host, or after a colon that no port follows: passwords may hold any character.
_LOGIN = re.compile(r"(?<=://)(?:[^/?#]*|[^/?#:@]+:(?!\d*(?:[/?#]|$)).*)@")


def _literals(tokens: Iterable[str | None]) -> list[str]:
    known = {token.strip() for token in (*tokens, get_token()) if isinstance(token, str)}
    return sorted((token for token in known if len(token) >= 6), key=len, reverse=True)


def redact(text: object, *tokens: str | None) -> str:
    """Replace by `<token>` the tokens given, that of the login or of `HF_TOKEN`, and what looks like the Hub's."""
    text = str(text)
    for token in _literals(tokens):
        text = text.replace(token, REDACTED)
    return _TOKEN.sub(REDACTED, text)


def find_secret(content: bytes, *tokens: str | None) -> bool:
    """Whether a file, of text or not, holds what [`redact`] would replace, in any encoding with readable ASCII."""
    text = content.replace(b"\0", b"").decode("latin-1")  # UTF-16 and UTF-32 without their zeros
    return _TOKEN.search(text) is not None or any(token in text for token in _literals(tokens))


def without_credentials(value: Any) -> Any:
    """Copy JSON values, and drop user names, passwords and queries with a secret from every address in them."""
    if isinstance(value, dict):
        return {name: without_credentials(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_credentials(item) for item in value]
    return _URL.sub(_bare_url, value) if isinstance(value, str) else value


def _bare_url(url: re.Match) -> str:
    address, mark, rest = _LOGIN.sub("", url[0]).partition("?")
    query, *fragment = rest.partition("#")
    names = [part.partition("=")[0] for part in re.split("[&;]", query)]
    secret = any(is_secret_name(name) or _SIGNATURE.search(name) for name in names)
    return address + "".join(fragment) if secret else f"{address}{mark}{rest}"


def is_secret_name(name: str) -> bool:
    """Whether a flag, field or key of this name holds a secret: `hub_token`, `--api-key`; not `--tokenizer_name`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).lower()
    return _SECRET_NAME.search(words) is not None and _SPECIAL_TOKEN.search(words) is None


def check_token(token: str | None) -> None:
    """Raise a `ValueError` for a token that an HTTP header cannot carry, before an error message quotes it."""
    if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
        raise ValueError(
            "The Hub token is empty or holds spaces, line breaks or characters outside ASCII: copy it again from "
            "https://huggingface.co/settings/tokens, or log in with `hf auth login`."
        )
