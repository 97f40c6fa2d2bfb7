# SPDX-License-Identifier: Apache-2.0
"""Perturb texts: swap, drop or misspell some of their words."""

import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

__all__ = ["EDITS", "perturb_words"]

EDITS = ("swap_words", "drop_word", "swap_letters", "drop_letter", "neighbour_key")
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # US layout; each row starts half a key further right
PLACES = {key: (2 * column + row, row) for row, keys in enumerate(KEYBOARD) for column, key in enumerate(keys)}
NEIGHBOURS = {
    key: sorted(
        other for other, (across, down) in PLACES.items() if (abs(across - x), abs(down - y)) in ((2, 0), (1, 1))
    )
    for key, (x, y) in PLACES.items()
}
Text = TypeVar("Text", str, tuple, list)


def perturb_words(
    texts: Sequence[Text], rate: float, generator: torch.Generator | None = None, edits: Sequence[str] = EDITS
) -> list[Text]:
    """Change some words of each text, the same words for the same seed. Labels are kept, and are mostly still right.

    A word is a run of characters between white space, with the punctuation attached to it. Of each text,
    `rate * words` words are drawn (a fraction of a word by chance) and given one edit each, drawn from those that
    can be made:

    - `swap_words`: it changes places with the word behind it, which is not touched again. This counts once.
    - `drop_word`: it is left out, unless it is the only one.
    - `swap_letters`: two neighbouring, different letters inside it change places (`word`: `wrod`).
    - `drop_letter`: one of its letters is left out, if it has two or more.
    - `neighbour_key`: one of its letters a-z becomes the one of a neighbouring key, in its own case.

    Letters are what Unicode calls so; a letter goes with the combining marks behind it, so that accents do not move
    to other letters. White space between words that stay is kept. A word that no edit fits (`42`, with spelling edits
    alone) stays, and another is taken in its place.

    What this does not promise: that labels stay right. Dropping `not` turns a sentiment around, and for tasks on
    grammar or word order (CoLA, PAWS) the edits are the very thing that is asked about. Read the fall of accuracy as
    that of the model and of the task together; compare models on the same texts.

    Args:
        texts (`Sequence[str | tuple[str, ...] | list[str]]`): Texts, or pairs of them; each part of a pair is changed
            on its own. Not written to.
        rate (`float`): Share of the words of each text to touch, in `[0, 1]`; 0 changes nothing.
        generator (`torch.Generator`, *optional*): Gives one number, from which all draws follow, on the CPU; torch's
            global one if not given. What becomes of a row depends on that number, its position and its text alone.
        edits (`Sequence[str]`): Which of `EDITS` may be made.

    Returns:
        `list`: As many texts or pairs, of the types given. No text with a word in it becomes empty.

    Raises:
        ValueError: If `rate` lies outside `[0, 1]`, or `edits` is empty or holds an unknown name.
        TypeError: If `texts` is one string, or a row is neither a string nor a tuple or list of strings.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate must lie in [0, 1], got {rate}.")
    unknown = [name for name in edits if name not in EDITS]
    if unknown or not edits:
        raise ValueError(f"edits must be some of {', '.join(EDITS)}, got {list(edits)}.")
    if isinstance(texts, str):
        raise TypeError("texts must be a sequence of texts, got one string: put it into a list.")
    seed = int(torch.randint(2**62, (), generator=generator))
    return [_perturb_row(text, rate, edits, f"{seed}/{row}") for row, text in enumerate(texts)]


def _perturb_row(text: Text, rate: float, edits: Sequence[str], seed: str) -> Text:
    if isinstance(text, str):
        return _perturb_text(text, rate, edits, random.Random(seed))
    if isinstance(text, tuple | list) and all(isinstance(part, str) for part in text):
        return type(text)(
            _perturb_text(part, rate, edits, random.Random(f"{seed}/{side}")) for side, part in enumerate(text)
        )
    raise TypeError(f"Each text must be a string, or a tuple or list of strings, got {text!r}.")


def _perturb_text(text: str, rate: float, edits: Sequence[str], rng: random.Random) -> str:
    pieces = re.split(r"(\S+)", text)  # white space, word, white space, …, word, white space
    words: list[str | None] = pieces[1::2]
    free = [True] * len(words)
    wanted = int(rate * len(words) + rng.random())
    for place in rng.sample(range(len(words)), len(words)):
        if wanted <= 0:
            break
        changed = _edit_word(words, free, place, edits, rng) if free[place] else {}
        for where, word in changed.items():
            words[where], free[where] = word, False
        wanted -= bool(changed)
    kept = [[word, space] for word, space in zip(words, pieces[2::2], strict=True) if word is not None]
    if kept:
        kept[-1][1] = pieces[-1]  # the white space at the end, whichever word is the last now
    return pieces[0] + "".join(word + space for word, space in kept)


def _edit_word(
    words: list[str | None], free: list[bool], place: int, edits: Sequence[str], rng: random.Random
) -> dict[int, str | None]:
    """Places that one edit of the word at `place` changes, with what stands there then; empty if no edit fits."""
    word, behind = words[place], place + 1
    for edit in rng.sample(list(edits), len(edits)):
        if edit == "swap_words":
            if behind < len(words) and free[behind] and words[behind] != word:
                return {place: words[behind], behind: word}
        elif edit == "drop_word":
            if sum(other is not None for other in words) > 1:
                return {place: None}
        else:
            spellings = _SPELLINGS[edit](_characters(word))
            if spellings:
                return {place: "".join(rng.choice(spellings))}
    return {}


def _characters(word: str) -> list[str]:
    """Characters with the combining marks that belong to them."""
    characters: list[str] = []
    for point in word:
        if characters and unicodedata.category(point).startswith("M"):
            characters[-1] += point
        else:
            characters.append(point)
    return characters


def _letters(word: list[str]) -> list[int]:
    return [place for place, character in enumerate(word) if character[0].isalpha()]


def _swap_letters(word: list[str]) -> list[list[str]]:
    letters = set(_letters(word))
    return [
        [*word[:place], word[place + 1], word[place], *word[place + 2 :]]
        for place in letters
        if place + 1 in letters and word[place] != word[place + 1]
    ]


def _drop_letter(word: list[str]) -> list[list[str]]:
    letters = _letters(word)
    return [word[:place] + word[place + 1 :] for place in letters] if len(letters) > 1 else []


def _neighbour_key(word: list[str]) -> list[list[str]]:
    return [
        [*word[:place], key.upper() if word[place].isupper() else key, *word[place + 1 :]]
        for place in _letters(word)
        for key in NEIGHBOURS.get(word[place].lower(), [])
    ]


_SPELLINGS: dict[str, Callable[[list[str]], list[list[str]]]] = {
    "swap_letters": _swap_letters,
    "drop_letter": _drop_letter,
    "neighbour_key": _neighbour_key,
}
