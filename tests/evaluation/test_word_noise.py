# SPDX-License-Identifier: Apache-2.0
"""Slips of the pen: which words are touched, by what, and what never happens."""

import difflib
import random
import unicodedata

import pytest
import torch

from logitmix_nlp.evaluation.robustness import perturb_words
from logitmix_nlp.evaluation.word_noise import EDITS

TEXT = "The quick brown fox jumps over the lazy dog, and none of the 24 hens minds it at all today!"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed_words(before: str, after: str) -> int:
    """Words of `before` that are not at their place any more, by a matcher of the standard library."""
    matcher = difflib.SequenceMatcher(None, before.split(), after.split(), autojunk=False)
    return sum(i2 - i1 for tag, i1, i2, _, _ in matcher.get_opcodes() if tag != "equal")


def test_the_same_seed_and_row_give_the_same_text_whatever_the_other_rows():
    texts = [TEXT, "another one of a few words", TEXT]
    first = perturb_words(texts, 0.4, seeded(3))
    assert first == perturb_words(texts, 0.4, seeded(3))
    assert first[2] == perturb_words(["", "x", TEXT], 0.4, seeded(3))[2]
    assert first[0] != first[2]  # the row counts, too
    assert first != perturb_words(texts, 0.4, seeded(4))
    assert texts == [TEXT, "another one of a few words", TEXT]


def test_the_global_generator_is_the_default_and_gives_one_number():
    torch.manual_seed(5)
    first, after = perturb_words([TEXT] * 3, 0.5), torch.rand(1)
    torch.manual_seed(5)
    assert perturb_words([TEXT] * 9, 0.5)[:3] == first
    assert torch.rand(1) == after


def test_the_rate_is_the_share_of_words_edited():
    """Spelling leaves words in their places, so they can be counted; fractions of a word even out."""
    spelling, words = ("swap_letters", "drop_letter", "neighbour_key"), ["alpha", "beta", "gamma", "delta", "omega"]
    for rate in (0.1, 0.5, 1.0):
        texts = perturb_words([" ".join(words)] * 2000, rate, seeded(), spelling)
        counts = [sum(a != b for a, b in zip(words, text.split(), strict=True)) for text in texts]
        assert set(counts) == {int(5 * rate), int(5 * rate) + (5 * rate % 1 > 0)}
        assert sum(counts) / 2000 / 5 == pytest.approx(rate, abs=0.01)
    assert perturb_words([TEXT] * 20, 0.0, seeded()) == [TEXT] * 20


def test_each_edit_by_a_reference_of_its_own():
    words = TEXT.split()
    for text in perturb_words([TEXT] * 200, 0.05, seeded(), ["swap_words"]):
        swapped = [[*words[:i], words[i + 1], words[i], *words[i + 2 :]] for i in range(len(words) - 1)]
        assert text.split() in [words, *swapped]
    for text in perturb_words([TEXT] * 200, 0.05, seeded(), ["drop_word"]):
        assert text.split() in [words, *([*words[:i], *words[i + 1 :]] for i in range(len(words)))]
    swaps = {"word": {"owrd", "wrod", "wodr"}, "aab": {"aba"}, "a1b": set(), "aa": set(), "Aa": {"aA"}}
    drops = {"word": {"ord", "wrd", "wod", "wor"}, "a1b": {"1b", "a1"}, "x!": set(), "42": set()}
    keys = {"q": {"w", "a"}, "P": {"O", "L"}, "g1": {"f1", "h1", "t1", "y1", "v1", "b1"}, "é": set(), "ß": set()}
    for edit, cases in (("swap_letters", swaps), ("drop_letter", drops), ("neighbour_key", keys)):
        for word, expected in cases.items():
            assert set(perturb_words([word] * 200, 1.0, seeded(), [edit])) == (expected or {word})


def test_a_word_that_no_edit_fits_passes_its_turn():
    for text in perturb_words(["42 17 word 99"] * 50, 0.25, seeded(), ["drop_letter"]):
        assert text in {"42 17 ord 99", "42 17 wrd 99", "42 17 wod 99", "42 17 wor 99"}


def test_words_do_not_vanish_nor_does_white_space():
    rng = random.Random(0)
    texts = [" ".join(rng.choices(["a", "bc", "7", "—"], k=rng.randint(1, 4))) for _ in range(300)]
    for rate in (0.3, 1.0):
        assert all(text.strip() for text in perturb_words(texts, rate, seeded()))
    assert perturb_words(["", "   ", "\n\t"], 1.0, seeded()) == ["", "   ", "\n\t"]
    for text in perturb_words(["  one\ttwo\n\nthree  "] * 50, 1.0, seeded(), ["swap_letters"]):
        assert "".join(c for c in text if c.isspace()) == "  \t\n\n  "
    for text in perturb_words(["\tone two\n"] * 50, 0.5, seeded(), ["drop_word"]):
        assert text in {"\tone\n", "\ttwo\n"}


def test_pairs_keep_their_type_and_each_side_its_words():
    pairs = perturb_words([("one two three", "four"), ["five six", "seven"]] * 30, 1.0, seeded())
    assert [type(pair) for pair in pairs] == [tuple, list] * 30
    assert all(len(pair) == 2 and all(part.strip() for part in pair) for pair in pairs)
    apart = perturb_words([(TEXT, TEXT)], 0.5, seeded())
    assert apart[0][0] != apart[0][1]  # sides have draws of their own


def test_accents_stay_on_their_letters_in_either_form():
    word = "çéñöš"
    for form in ("NFC", "NFD"):
        for text in perturb_words([unicodedata.normalize(form, word)] * 60, 1.0, seeded(), ["swap_letters"]):
            assert sorted(unicodedata.normalize("NFC", text)) == sorted(word)
            assert unicodedata.normalize("NFC", text) != word
    for text in perturb_words(["हिन्दी भाषा", "Ελληνικά γλώσσα", "日本語 文章", "🙂🙃 👩‍👩‍👧 ok"] * 50, 1.0, seeded()):
        text.encode("utf-8")
        for piece in text.split():
            assert not unicodedata.category(piece[0]).startswith("M")
    for text in perturb_words(["👩‍👩‍👧🙂"] * 20, 1.0, seeded(), EDITS[2:]):
        assert text == "👩‍👩‍👧🙂"


def test_all_edits_together_touch_about_the_share_asked_for():
    touched = [changed_words(TEXT, text) for text in perturb_words([TEXT] * 300, 0.2, seeded())]
    assert 0.2 < sum(touched) / 300 / len(TEXT.split()) < 0.25  # a swap moves its neighbour, too


def test_impossible_input_is_refused():
    for rate in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\]"):
            perturb_words(["x"], rate)
    with pytest.raises(ValueError, match="edits must be some of swap_words"):
        perturb_words(["x"], 0.5, edits=["reverse"])
    with pytest.raises(ValueError, match="edits must be some of"):
        perturb_words(["x"], 0.5, edits=[])
    with pytest.raises(TypeError, match="put it into a list"):
        perturb_words("x", 0.5)
    for row in (None, 3, ("a", None)):
        with pytest.raises(TypeError, match="must be a string, or a tuple or list of strings"):
            perturb_words([row], 0.5)
