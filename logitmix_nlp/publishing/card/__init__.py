# SPDX-License-Identifier: Apache-2.0
"""The model card: what a model is, how it was made, and how good the saved weights are, measured on the spot."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData, eval_result_entries_to_yaml
from transformers.utils import logging

from logitmix_nlp.publishing.card.collect import card_facts
from logitmix_nlp.publishing.card.facts import CardFacts, CardOptions, DatasetFacts
from logitmix_nlp.publishing.card.metadata import eval_result_entries, header
from logitmix_nlp.publishing.card.method import method_tag
from logitmix_nlp.publishing.card.sections import MarkError, merge_body, merge_header, sections, split_card
from logitmix_nlp.publishing.card.text import body
from logitmix_nlp.publishing.hub.secrets import redact
from logitmix_nlp.reports.plots import reliability_diagrams
from logitmix_nlp.training.methods import MIX_METHODS
from logitmix_nlp.whole_files import write_whole

__all__ = ["CardFacts", "CardOptions", "DatasetFacts", "card_facts", "write_card"]

METHOD_TAGS = {*map(method_tag, MIX_METHODS), "logitmix", "calibration"}
CARD, DIAGRAM, RESULTS = "README.md", "figures/reliability.png", ".eval_results"

logger = logging.get_logger(__name__)


def write_card(folder: str | Path, *, facts: CardFacts, secrets: Sequence[str | None] = ()) -> Path:
    """Write `README.md`, and beside it `figures/reliability.png` and `.eval_results/logitmix-*.yaml`.

    A card that is there keeps everything outside its marked sections, see [`card.sections`]. One whose marks or header
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
            f"{path} is left as it is, so its results may be out of date: {why} Mend it, or move it away to "
            "have a new one."
        )
        return path
    write_whole(path, fresh)
    return path


def _merged(old: str, metadata: Mapping[str, Any], text: str) -> str:
    """The card that is there with its sections and our keys written anew."""
    line_break = "\r\n" if "\r\n" in old else "\n"
    old_header, old_body = split_card(old)
    new_header = merge_header(old_header or "", metadata, METHOD_TAGS - set(metadata["tags"]))
    if not sections(old_body):
        logger.warning(
            f"{CARD} in the model's folder has no sections of logitmix-nlp: its text stays, only its header is "
            "brought up to date. Move it away to have a new card."
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
    bins = {name: bins for name, bins in facts.bins.items()}
    if not bins:
        return False
    path.parent.mkdir(exist_ok=True)
    try:
        reliability_diagrams(bins, path)
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
