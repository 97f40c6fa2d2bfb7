# SPDX-License-Identifier: Apache-2.0
"""Which columns of the user's own data hold the texts, and how a model remembers those it was trained on."""

import logging
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from datasets import Dataset

from logitmix_nlp.evaluation.data.lines import is_number

__all__ = [
    "COLUMNS_KEY", "NONE_NAMED", "TEXT_FLAG", "Columns", "check_texts", "guess_text_columns", "store_columns",
    "stored_columns", "with_trained",
]  # fmt: skip

logger = logging.getLogger(__name__)

COLUMNS_KEY = "data_columns"  # in the model's config.json
TEXT_FLAG = "--text_column_names"
SEEN_ROWS = 1000  # of a column whose contents are looked at
FEWEST_ROWS = 20  # below which nobody can say whether values come again and again
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "sentence"), ("question", "context"),
    ("question", "answer"), ("question", "passage"), ("query", "passage"), ("query", "document"),
    ("text", "text_pair"),
)  # fmt: skip
TEXTS = {
    "text", "texts", "sentence", "sentences", "review", "comment", "tweet", "post", "message", "document", "utterance",
    "content", "passage", "paragraph", "statement",
}  # fmt: skip
OTHERS = {
    "id", "ids", "idx", "index", "uid", "guid", "uuid", "key", "hash", "url", "uri", "link", "path", "file",
    "filename", "date", "time", "datetime", "timestamp", "day", "month", "year", "created", "updated", "author",
    "user", "username", "name", "email", "source", "language", "lang", "locale", "split", "category", "topic", "type",
    "domain", "genre", "country", "city", "label", "labels", "target", "class", "tag", "tags", "rating", "score",
    "version", "license", "status", "gender", "parse",
}  # fmt: skip
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([T ].*)?")


class Columns(NamedTuple):
    """Names of columns; `None` and empty are guessed."""

    text: tuple[str, ...] = ()
    image: str | None = None
    label: str | None = None


NONE_NAMED = Columns()


def store_columns(config: Any, columns: Columns) -> None:
    """Note in a model's configuration, and so in its `config.json`, which columns it is trained on."""
    setattr(config, COLUMNS_KEY, {**columns._asdict(), "text": list(columns.text)})


def stored_columns(config: Any) -> Columns:
    """The columns that a model was trained on, as far as its configuration says so.

    Raises:
        ValueError: If what stands there names no columns.
    """
    stored = vars(config).get(COLUMNS_KEY)
    if stored is None:
        return NONE_NAMED
    if isinstance(stored, dict) and set(stored) == set(Columns._fields) and isinstance(stored["text"], list):
        columns = Columns(tuple(stored["text"]), stored["image"], stored["label"])
        if all(isinstance(name, str) for name in (*columns.text, columns.image or "", columns.label or "")):
            return columns
    raise ValueError(f"{COLUMNS_KEY} of the model's configuration names no columns: {stored!r}; remove it.")


def with_trained(columns: Columns, trained: Columns, names: Sequence[str], origin: str) -> Columns:
    """The columns that are named, and for the others those the model was trained on, if the data has them.

    Args:
        columns (`Columns`): What the user named.
        trained (`Columns`): See [`stored_columns`].
        names (`Sequence[str]`): Columns of the data.
        origin (`str`): What the data was read from. If it lacks the trained text columns, a warning says so.

    Returns:
        `Columns`: What is still empty must be guessed.
    """
    if not columns.text and trained.text:
        if set(trained.text) <= set(names):
            columns = columns._replace(text=trained.text)
            logger.info("%s: texts from %s, as in training.", origin, _quoted(trained.text))
        else:
            logger.warning("%s lacks the text of training, %s.", origin, _quoted(trained.text))
    others = {kind: getattr(trained, kind) for kind in ("image", "label") if getattr(columns, kind) is None}
    return columns._replace(**{kind: name for kind, name in others.items() if name in names})


def guess_text_columns(split: Dataset, label_column: str, origin: str, flag: str = TEXT_FLAG) -> tuple[str, ...]:
    """The one or two columns that hold the texts; the log says which were taken.

    Names decide first: the two of a known pair (`premise`, `hypothesis`), two that differ in a final 1 and 2 or a and
    b, or the only one that means text (`text`, `review_text`). Else all columns of strings count whose name or content
    is none of ids, dates, sources and the like, or of a few values that come again and again.

    Args:
        split (`Dataset`): The rows.
        label_column (`str`): Is no text.
        origin (`str`): What to call the data in messages.
        flag (`str`): Flag that names the columns, for messages.

    Returns:
        `tuple[str, ...]`: One name or two.

    Raises:
        ValueError: If there is no text column, or more than two may be.
    """
    strings = [name for name in split.column_names if name != label_column and _is_string(split, name)]
    seen = {name: split[:SEEN_ROWS][name] for name in strings}
    strings = [name for name in strings if not all(value is not None and is_number(value) for value in seen[name])]
    if not strings:
        raise ValueError(f"{origin} has no text column; name one with {flag} out of: {', '.join(split.column_names)}.")
    likely = [name for name in strings if not _parts(name) & OTHERS and not _is_other(seen[name])]
    named = [name for name in strings if _parts(name) & TEXTS and not _parts(name) & OTHERS]
    pairs = [pair for pair in PAIRS if set(pair) <= set(strings)][:1] or _numbered_pairs(likely)
    by_content = likely or strings
    texts = pairs[0] if len(pairs) == 1 else tuple(named if len(named) in (1, 2) else by_content)
    if len(texts) > 2 or (len(texts) == 2 and not likely and not named):
        raise ValueError(
            f"{origin} has several columns that may be the text: {', '.join(texts)}; name one, or the two of a pair, "
            f"with {flag}."
        )
    unused = [name for name in strings if name not in texts]
    not_read = f", not from {_quoted(unused)}" if unused else ""
    logger.info("%s: texts from %s%s. Choose with %s.", origin, _quoted(texts), not_read, flag)
    for name in texts:
        if name not in named and _are_ids(seen[name]):
            logger.warning("%s: column %r looks like ids and is used as text. Choose with %s.", origin, name, flag)
    return texts


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))


def _parts(name: str) -> set[str]:
    """The words of a column's name: those of `reviewText`, `review_text` and `review_text1` are one set."""
    return set(re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower()))


def _numbered_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    ends = {"1": "2", "a": "b", "A": "B"}
    pairs = [(name, name[:-1] + ends[name[-1]]) for name in names if len(name) > 1 and name[-1] in ends]
    return [pair for pair in pairs if pair[1] in names]


def _is_other(values: Sequence[str | None]) -> bool:
    """Whether a column's content is no text: dates, ids, or few values for its rows."""
    given = [value.strip() for value in values if value]
    few = len(given) >= FEWEST_ROWS and len(set(given)) <= len(given) // 10
    return few or all(_DATE.fullmatch(value) for value in given) or _are_ids(given)


def _are_ids(values: Sequence[str | None]) -> bool:
    given = [value for value in values if value]
    one_word = all(value.isascii() and " " not in value for value in given)
    return len(given) > 2 and len(set(given)) == len(values) and one_word


def _is_string(split: Dataset, name: str) -> bool:
    return getattr(split.features[name], "dtype", None) in ("string", "large_string")


def check_texts(split: Dataset, texts: Sequence[str], origin: str) -> None:
    """Raise a `ValueError` unless every text column exists and holds a string in every row."""
    for name in texts:
        if name not in split.column_names:
            names = ", ".join(split.column_names)
            raise ValueError(f"{origin} has no text column {name!r}; it has: {names}.")
        if not _is_string(split, name):
            raise ValueError(
                f"{origin}: text column {name!r} is of type {split.features[name]}, it must hold strings."
            )
        cells = split.with_format("arrow")[:][name]
        if cells.null_count:
            row = cells.is_null().index(True).as_py() + 1
            raise ValueError(f"{origin}, row {row}: the text of column {name!r} is missing.")
