# SPDX-License-Identifier: Apache-2.0
"""A card has two authors: what stands between our marks is written anew, everything else is a person's and stays.

    <!-- logitmix:begin results -->
    …
    <!-- logitmix:end results -->

A section whose marks a person has deleted is not put back.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from transformers.utils import logging

from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.publishing.card.facts import CardFacts
from logitmix_nlp.publishing.card.method import method_tag
from logitmix_nlp.publishing.card.results import eval_result_entries, header
from logitmix_nlp.publishing.card.text import body
from logitmix_nlp.publishing.hub.secrets import redact
from logitmix_nlp.reports.plots import reliability_diagrams
from logitmix_nlp.training.methods import MIX_METHODS
from logitmix_nlp.whole_files import write_whole

__all__ = ["OWNED_KEYS", "MarkError", "merge_body", "merge_header", "sections", "split_card", "write_card"]

CARD, DIAGRAM, RESULTS = "README.md", "figures/reliability.png", ".eval_results"
OWNED_KEYS = ("model-index", "metrics", "tags", TEMPERATURE_KEY)
_LIKE_A_MARK = re.compile(r"<!--\s*/?logitmix\s*:.*?(?:-->|$)", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(r"<!-- logitmix:(begin|end) ([a-z-]+) -->")
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[A-Za-z_][^:#]*?)\s*:(?:\s|$)""")

logger = logging.get_logger(__name__)


def write_card(folder: str | Path, *, facts: CardFacts, secrets: Sequence[str | None] = ()) -> Path:
    """Write `README.md`, and beside it `figures/reliability.png` and `.eval_results/logitmix-*.yaml`.

    A card that is there keeps everything outside its marked sections, see [`sections`]. One whose marks or header
    are damaged, or which is not UTF-8, stays as it is, with a warning; so does the text of one without any marks,
    which gets a new header.

    Args:
        folder (`str` or `Path`): Folder of the saved model.
        facts (`CardFacts`): What to say.
        secrets (`Sequence[str]`): Tokens in use, which are kept out; so is whatever looks like one.

    Returns:
        `Path`: The card.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = Path(folder)
    path = folder / CARD
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _draw(folder, facts)
    _write_results(folder, facts)
    text = redact(body(facts, drawn), *secrets)
    metadata = json.loads(redact(json.dumps(header(facts), ensure_ascii=False), *secrets))
    fresh = f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---\n\n{text}"
    try:
        old = path.read_bytes().decode("utf-8-sig") if path.is_file() else ""
        fresh = _merged(old, metadata, text) if old.strip() and not _is_draft(old) else fresh
    except (MarkError, UnicodeDecodeError) as error:
        why = error if isinstance(error, MarkError) else "it is not UTF-8."
        logger.warning(
            f"{path} is left as it is, so its results may be out of date: {why} Repair it, or move it away to "
            "get a new one."
        )
        return path
    write_whole(path, fresh)
    return path


def _merged(old: str, metadata: Mapping[str, Any], text: str) -> str:
    """The card that is there with its sections and our keys written anew."""
    line_break = "\r\n" if "\r\n" in old else "\n"
    old_header, old_body = split_card(old)
    old_tags = {*map(method_tag, MIX_METHODS), "logitmix", "calibration"} - set(metadata["tags"])
    new_header = merge_header(old_header or "", metadata, old_tags)
    if not sections(old_body):
        logger.warning(
            f"{CARD} in the model's folder has no sections of logitmix-nlp: only its header is brought up to "
            "date. Move it away to get a new card."
        )
    space = line_break if old_header is None else ""
    return f"---{line_break}{new_header}{line_break}---{line_break}{space}{merge_body(old_body, text)}"


def _is_draft(text: str) -> bool:
    """Whether this is the empty form that PEFT saves with every adapter, filled in nowhere."""
    form = ModelCard.from_template(ModelCardData()).text.strip()
    rest = split_card(text)[1].strip().removeprefix(form)
    return re.fullmatch(r"(?:\s*### Framework versions\s+- PEFT \S+)?", rest) is not None


def _draw(folder: Path, facts: CardFacts) -> bool:
    """Draw the reliability diagram, or delete that of an earlier card."""
    path = folder / DIAGRAM
    path.unlink(missing_ok=True)
    if not facts.bins:
        return False
    path.parent.mkdir(exist_ok=True)
    try:
        reliability_diagrams(facts.bins, path)
    except ImportError as error:
        logger.warning(f"The model card has no reliability diagram. {error}")
        return False
    return True


def _write_results(folder: Path, facts: CardFacts) -> None:
    """Write the results for leaderboards, and delete ours of an earlier card; files of other names stay."""
    for path in (folder / RESULTS).glob("logitmix-*.yaml"):
        path.unlink()
    for name, entries in eval_result_entries(facts).items():
        (folder / RESULTS).mkdir(exist_ok=True)
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        (folder / RESULTS / name).write_text(text, encoding="utf-8")


class MarkError(ValueError):
    """The marks or the header of a card do not fit together, so that writing to it could destroy text."""


def sections(body: str) -> dict[str, tuple[int, int]]:
    """Name of each section of a card without its header, and where the text between its marks begins and ends.

    Raises:
        MarkError: If marks are damaged, nested, doubled, or come without their partner; it names the line.
    """
    places, opened = {}, None
    for like in _LIKE_A_MARK.finditer(body):
        line = body.count("\n", 0, like.start()) + 1
        mark = _MARK.fullmatch(like.group())
        if mark is None:
            raise MarkError(f"line {line} of the text: {like.group()!r} is not a whole mark.")
        kind, name = mark.groups()
        if kind == "begin":
            if opened is not None or name in places:
                why = f"{opened[0]!r} is still open" if opened is not None else f"{name!r} was there before"
                raise MarkError(f"line {line} of the text: section {name!r} begins, but {why}.")
            opened = (name, like.end())
        else:
            if opened is None or opened[0] != name:
                raise MarkError(f"line {line} of the text: section {name!r} ends, but it is not open.")
            places[name], opened = (opened[1], like.start()), None
    if opened is not None:
        raise MarkError(f"section {opened[0]!r} begins, but does not end.")
    return places


def merge_body(old: str, new: str) -> str:
    """The old text, perhaps edited by a person, with the contents of its sections taken from the new one.

    Every byte outside them stays. Sections that the old text lacks are not added; those that the new one lacks are
    emptied.

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
        retired_tags (`Collection[str]`): Tags of ours that are out of date.

    Raises:
        MarkError: If the old header is not a mapping, or its keys cannot be separated line by line.
    """
    given = _read(old) or {}
    if not isinstance(given, dict):
        raise MarkError("the header is not a mapping of keys to values.")
    ours = {
        "model-index": _merged_results(given.get("model-index") or [], new.get("model-index") or []),
        "metrics": new.get("metrics"),
        TEMPERATURE_KEY: new.get(TEMPERATURE_KEY),
        "tags": _merged_tags(given.get("tags") or [], new.get("tags") or [], retired_tags),
    }
    merged = {**new, **given, **ours}
    merged = {key: value for key, value in merged.items() if value or key not in OWNED_KEYS}
    blocks = _blocks(old)
    kept = [(key, block) for key, block in blocks if key not in OWNED_KEYS or given[key] == merged.get(key)]
    rest = {key: merged[key] for key in (*given, *new) if key in merged and key not in dict(kept)}
    added = yaml.safe_dump(rest, sort_keys=False, allow_unicode=True) if rest else ""
    text = "".join(block for _, block in kept) + (added.replace("\n", "\r\n") if "\r\n" in old else added)
    if _read(text) != merged:
        raise MarkError("the keys of the header cannot be separated; write one `key: value` or list below another.")
    return text.rstrip("\r\n")


def _read(header: str) -> Any:
    try:
        return yaml.safe_load(header)
    except yaml.YAMLError as error:
        raise MarkError(f"the header is not valid YAML ({' '.join(str(error).split())}).") from error


def _merged_results(old: Any, fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not isinstance(old, list) or not all(isinstance(model, dict) for model in old):
        raise MarkError("the header's model-index is not a list of models.")
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
