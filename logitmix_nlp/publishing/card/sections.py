# SPDX-License-Identifier: Apache-2.0
"""A card has two authors: what stands between our marks is written anew, everything else is a person's and stays.

    <!-- logitmix:begin results -->
    …
    <!-- logitmix:end results -->

A section whose marks a person has deleted is not put back.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

__all__ = ["OWNED_KEYS", "MarkError", "merge_body", "merge_header", "sections", "split_card"]

OWNED_KEYS = ("model-index", "metrics", "tags")
_LIKE_A_MARK = re.compile(r"<!--\s*/?logitmix\s*:.*?(?:-->|$)", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(r"<!-- logitmix:(begin|end) ([a-z-]+) -->")
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[A-Za-z_][^:#]*?)\s*:(?:\s|$)""")


class MarkError(ValueError):
    """The marks or the header of a card do not fit together, so that writing to it could destroy text."""


def sections(body: str) -> dict[str, tuple[int, int]]:
    """Where the text between each pair of marks begins and ends.

    Args:
        body (`str`): A card without its header.

    Returns:
        `dict[str, tuple[int, int]]`: Name of each section and its positions in `body`.

    Raises:
        MarkError: If marks are damaged, nested, doubled, or come without their partner; it names the line.
    """
    found, opened = {}, None
    for like in _LIKE_A_MARK.finditer(body):
        line = body.count("\n", 0, like.start()) + 1
        mark = _MARK.fullmatch(like.group())
        if mark is None:
            raise MarkError(f"line {line} of the text: {like.group()!r} is no whole mark.")
        kind, name = mark.groups()
        if kind == "begin":
            if opened is not None or name in found:
                why = f"{opened[0]!r} is still open" if opened is not None else f"{name!r} was there before"
                raise MarkError(f"line {line} of the text: section {name!r} begins, but {why}.")
            opened = (name, like.end())
        else:
            if opened is None or opened[0] != name:
                raise MarkError(f"line {line} of the text: section {name!r} ends, but it is not open.")
            found[name], opened = (opened[1], like.start()), None
    if opened is not None:
        raise MarkError(f"section {opened[0]!r} begins, but does not end.")
    return found


def merge_body(old: str, new: str) -> str:
    """The old text with the contents of its sections taken from the new one.

    Args:
        old (`str`): Body of the card that is there, perhaps edited by a person.
        new (`str`): Body of the card as it would be written today.

    Returns:
        `str`: The old one, every byte outside its sections as it was; sections that it lacks are not added, and such
        as today's card does not have are emptied.

    Raises:
        MarkError: See [`sections`].
    """
    line_break = "\r\n" if "\r\n" in old else "\n"
    fresh = {name: new[start:end] for name, (start, end) in sections(new).items()}
    parts, place = [], 0
    for name, (start, end) in sections(old).items():
        parts += [old[place:start], fresh.get(name, "\n").replace("\n", line_break)]
        place = end
    return "".join([*parts, old[place:]])


def split_card(text: str) -> tuple[str | None, str]:
    """The YAML of a card's header, or `None` if it has none, and its body."""
    match = REGEX_YAML_BLOCK.search(text)
    return (None, text) if match is None else (match.group(2), text[match.end() :])


def merge_header(old: str, new: Mapping[str, Any], retired_tags: Collection[str] = ()) -> str:
    """The old header with our keys written anew; all other keys, their order, layout and comments stay.

    `OWNED_KEYS` are ours; of `model-index`, results with a `source` or a `verifyToken` are kept, and of `tags`, what a
    person added. Other keys are added where the old header has none; what it has wins.

    Args:
        old (`str`): YAML of the header that is there.
        new (`Mapping[str, Any]`): Metadata as they would be written today.
        retired_tags (`Collection[str]`): Tags that were ours and hold no more.

    Returns:
        `str`: YAML.

    Raises:
        MarkError: If the old header is no mapping, or so laid out that its keys cannot be told apart.
    """
    given = _read(old) or {}
    if not isinstance(given, dict):
        raise MarkError("the header is no mapping of keys to values.")
    ours = {
        "model-index": _merged_results(given.get("model-index") or [], new.get("model-index") or []),
        "metrics": new.get("metrics"),
        "tags": _merged_tags(given.get("tags") or [], new.get("tags") or [], retired_tags),
    }
    merged = {**new, **given, **ours}
    merged = {key: value for key, value in merged.items() if value or key not in OWNED_KEYS}
    blocks = _blocks(old)
    lines = [block for key, block in blocks if key not in OWNED_KEYS or given[key] == merged.get(key)]
    told = {key for key, _ in blocks if key not in OWNED_KEYS or given[key] == merged.get(key)}
    rest = {key: merged[key] for key in (*given, *new) if key in merged and key not in told}
    added = yaml.safe_dump(rest, sort_keys=False, allow_unicode=True) if rest else ""
    text = "".join(lines) + (added.replace("\n", "\r\n") if "\r\n" in old else added)
    if _read(text) != merged:
        raise MarkError("the keys of the header cannot be told apart; write one `key: value` or list below another.")
    return text.rstrip("\r\n")


def _read(header: str) -> Any:
    try:
        return yaml.safe_load(header)
    except yaml.YAMLError as error:
        raise MarkError(f"the header is no valid YAML ({' '.join(str(error).split())}).") from error


def _merged_results(old: Any, fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not isinstance(old, list) or not all(isinstance(model, dict) for model in old):
        raise MarkError("the header's model-index is no list of models.")
    foreign = [result for model in old for result in model.get("results") or [] if _is_foreign(result)]
    if not foreign:
        return fresh
    results = fresh[0]["results"] if fresh else []
    return [{"name": (fresh or old)[0]["name"], "results": [*results, *foreign]}]


def _merged_tags(old: Any, fresh: list[str], retired: Collection[str]) -> list[str]:
    kept = [tag for tag in ([old] if isinstance(old, str) else old) if tag not in retired]
    return list(dict.fromkeys([*kept, *fresh]))


def _is_foreign(result: Mapping[str, Any]) -> bool:
    return "source" in result or any("verifyToken" in metric for metric in result.get("metrics") or [])


def _blocks(header: str) -> list[tuple[str | None, str]]:
    """Top-level keys, each with its lines; comments and blank lines stay with the key above, or with no key."""
    blocks: list[tuple[str | None, str]] = [(None, "")]
    for line in header.splitlines(keepends=True):
        line = line if line.endswith(("\n", "\r")) else line + ("\r\n" if "\r\n" in header else "\n")
        key = _KEY.match(line)
        if key is not None:
            blocks.append((yaml.safe_load(key[1]), line))
        elif line.startswith("#") and line.strip():
            blocks.append((None, line))
        else:
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + line)
    return blocks
