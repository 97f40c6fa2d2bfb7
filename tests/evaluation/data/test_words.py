# SPDX-License-Identifier: Apache-2.0
"""Words with tags, from CoNLL files and from columns of lists."""

import pytest
import samples
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf

from logitmix_nlp.evaluation.data.columns import Columns
from logitmix_nlp.evaluation.data.files import read_data_file
from logitmix_nlp.evaluation.data.words import check_words, encode_tags, tag_ids, word_columns

CONLL = "-DOCSTART- -X- O O\n\nthe DT I-NP O\ncat NN I-NP B-x\n \n\nit PRP I-NP O\n"
ROWS = {"tokens": [["the", "cat"], ["it"]], "ner_tags": [["O", "B-x"], ["O"]]}
BOTH = Columns(("tokens",), None, "ner_tags")


def with_tags(tags):
    return Dataset.from_dict({**ROWS, "ner_tags": tags})


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (CONLL, ROWS),
        ("the\tO\ncat\tB-x\n\t\nit\tO", ROWS),
        ("the\ncat\n\n\nit\n", {"tokens": ROWS["tokens"]}),
        ("a b\tO\n#\tO\n", {"tokens": [["a b", "#"]], "ner_tags": [["O", "O"]]}),
        ("5\xa0000 O \r\n\u2028 O\r\n", {"tokens": [["5\xa0000", "\u2028"]], "ner_tags": [["O", "O"]]}),
        ("\x85\tO\n \t \n\u3000\tB-x\t\n", {"tokens": [["\x85"], ["\u3000"]], "ner_tags": [["O"], ["B-x"]]}),
    ],
)
def test_conll_files_of_any_width(tmp_path, text, rows):
    assert read_data_file(samples.write_text(tmp_path / "x.CONLL", text)).to_dict() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the\tO\ncat\n", r"x\.conll:2: found 1 columns, expected 2 as in the lines before"),
        ("the\t\tO\ncat\t\n", r"x\.conll:1: found 3 columns"),
        ("-DOCSTART-\n\n", "holds no words"),
        ("", "x.conll:1: the file is empty"),
    ],
)
def test_damaged_conll_files_name_the_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_data_file(samples.write_text(tmp_path / "x.conll", text))


@pytest.mark.parametrize("kind", ["strings", "numbers", "classes"])
def test_tags_of_any_kind_become_class_ids(kind):
    names = {"strings": ("B-x", "O"), "numbers": ("0", "7"), "classes": ("O", "B-x", "I-x")}[kind]
    tags = {"strings": [["O", "B-x"], ["O"]], "numbers": [[7, 0], [7]], "classes": [[0, 1], [0]]}[kind]
    inner = {"strings": Value("string"), "numbers": Value("int64"), "classes": ClassLabel(names=list(names))}[kind]
    features = Features({"tokens": ListOf(Value("string")), "ner_tags": ListOf(inner)})
    data = Dataset.from_dict({**ROWS, "ner_tags": tags}, features=features)
    bare = data.remove_columns("ner_tags")
    splits, found = encode_tags({"train": data, "test": bare}, "ner_tags", {"train": "a", "test": "b"})
    assert found == names
    ids = {"strings": [[1, 0], [1]], "numbers": [[1, 0], [1]], "classes": [[0, 1], [0]]}[kind]
    assert splits["train"]["ner_tags"][:] == ids
    assert splits["test"].column_names == ["tokens"]
    label2id = {"I-X": 0, "b-x": 1, "O": 2} if kind != "numbers" else {"LABEL_0": 0, "LABEL_7": 1}
    expected = [[1, 0], [1]] if kind == "numbers" else [[2, 1], [2]]
    assert [one.tolist() for one in tag_ids(data, "ner_tags", label2id, "a")] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ner_tags": [["O"], ["O"]]}, "row 1: found 2 words and 1 tags; need one each"),
        ({"tokens": [["the", None], ["it"]]}, "row 1: a word of column 'tokens' is missing"),
        ({"tokens": ["the cat", "it"]}, r"'tokens' is of type .*, it must hold lists of words.*run_glue.py"),
        ({"ner_tags": ["O", "O"]}, "it must hold lists of tags"),
        ({"tokens": [[], []], "ner_tags": [[], []]}, "must hold lists of words|holds no words"),
    ],
)
def test_words_that_do_not_fit_their_tags_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        check_words(Dataset.from_dict({**ROWS, **change}), BOTH, "a.json")


def test_unknown_and_missing_tags_are_named():
    data = Dataset.from_dict(ROWS)
    with pytest.raises(ValueError, match="a, word by word, column 'ner_tags': the data has the labels B-x, O; the"):
        tag_ids(data, "ner_tags", {"O": 0, "B-y": 1}, "a")
    with pytest.raises(ValueError, match="a, row 2: the tags of column 'ner_tags' are missing"):
        encode_tags(
            {"train": Dataset.from_dict({**ROWS, "ner_tags": [["O", "B-x"], None]})}, "ner_tags", {"train": "a"}
        )
    with pytest.raises(ValueError, match="holds numbers with fractions, not tags"):
        encode_tags(
            {"train": Dataset.from_dict({**ROWS, "ner_tags": [[0.5, 1.0], [0.0]]})}, "ner_tags", {"train": "a"}
        )


def test_columns_are_named_or_known():
    assert word_columns(Columns(), ["id", "tokens", "ner_tags"], "a") == BOTH
    assert word_columns(Columns(("w",)), ["w", "tokens"], "a") == Columns(("w",))
    with pytest.raises(ValueError, match="a has no column tokens or words of words.*out of: text, label"):
        word_columns(Columns(), ["text", "label"], "a")
