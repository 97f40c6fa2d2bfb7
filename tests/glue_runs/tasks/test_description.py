# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from glue_runs.tasks.description import DataDescription, drop_missing_labels, resolve_labels, with_label_order
from logitmix_nlp.evaluation.data.columns import check_texts, guess_text_columns
from logitmix_nlp.evaluation.data.labels import align_labels, encode_labels

ORIGINS = {"train": "train.csv", "validation": "dev.csv", "test": "test.csv"}
NLI = {"contradiction": 0, "neutral": 1, "entailment": 2}


def encode(**labels):
    splits = {name: Dataset.from_dict({"text": ["x"] * len(values), "y": values}) for name, values in labels.items()}
    return encode_labels(splits, "y", ORIGINS)


def class_labels(names, values):
    features = Features({"text": Value("string"), "y": ClassLabel(names=names)})
    return Dataset.from_dict({"text": ["x"] * len(values), "y": values}, features=features)


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        (["no", "yes", "no"], ("no", "yes"), [0, 1, 0]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([1, -1, 0], ("-1", "0", "1"), [2, 0, 1]),
        ([True, False], ("False", "True"), [1, 0]),
    ],
)
def test_classes_are_the_sorted_training_labels(labels, names, ids):
    data, found = encode(train=labels)
    assert found == names
    assert data["train"]["y"][:] == ids
    assert data["train"].features["y"] == ClassLabel(names=list(names))


def test_float_labels_are_scores_also_where_a_split_has_whole_numbers():
    data, names = encode(train=[0.5, 2.0], validation=[1, 3])
    assert names is None
    assert data["validation"]["y"][:] == [1.0, 3.0]
    assert data["validation"].features["y"].dtype == "float32"


def test_class_label_keeps_its_order_and_unused_classes():
    data, names = encode_labels({"train": class_labels(["z", "b", "a"], [0, 2])}, "y", ORIGINS)
    assert names == ("z", "b", "a")
    assert data["train"]["y"][:] == [0, 2]


def test_splits_with_other_class_label_order_are_renumbered():
    splits = {"train": class_labels(["a", "b"], [0, 1]), "validation": class_labels(["b", "a"], [0, 1])}
    assert encode_labels(splits, "y", ORIGINS)[0]["validation"]["y"][:] == [1, 0]


def test_numbers_as_strings_match_numbers():
    assert encode(train=["1", "x"], validation=[1])[0]["validation"]["y"][:] == [0]


@pytest.mark.parametrize("unlabelled", [[-1, -1], [None, None], [None, -1]])
def test_test_split_may_have_no_labels(unlabelled):
    assert encode(train=[0, 1], test=unlabelled)[0]["test"]["y"][:] == [-1, -1]


def test_test_split_may_lack_the_column():
    splits = {
        "train": Dataset.from_dict({"text": ["a", "b"], "y": [0.5, 1.5]}),
        "test": Dataset.from_dict({"text": ["a"]}),
    }
    assert encode_labels(splits, "y", ORIGINS)[0]["test"]["y"][:] == [-1.0]
    data, names = encode_labels({"test": splits["test"]}, "y", ORIGINS)
    assert (names, data["test"]["y"][:]) == ((), [-1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"train": ["a", "b"], "validation": ["a", "c"]}, "dev.csv, row 2: found label 'c', allowed are: a, b"),
        ({"train": ["a", "b"], "test": ["c"]}, "test.csv, row 1: found label 'c', allowed are: a, b"),
        ({"train": [0, 1], "validation": [1, 0.5]}, "dev.csv, row 1: found label 1.0, allowed are: 0, 1"),
        ({"train": ["a", None]}, "train.csv, row 2: the label is None; every row needs a label"),
        ({"train": [0.5, float("nan")]}, "train.csv, row 2: the label is nan"),
        ({"train": [0.5, float("inf")]}, "train.csv, row 2: the label is inf"),
        ({"train": [0, 1], "test": [0, None]}, "test.csv, row 2: the label is None"),
        ({"train": [0.5, 1.5], "validation": ["x"]}, "dev.csv, row 1: found label 'x', allowed are numbers"),
        ({"train": ["a", "a"]}, "train.csv: every label is 'a'; training needs two classes"),
        ({"train": [[[0]], [[1]]]}, "train.csv, row 1: found label [[0]], allowed are strings and numbers"),
        ({"train": [[0, 1], [1]], "validation": [0, 1]}, "dev.csv, row 1: found label 0, others are lists"),
    ],
)
def test_label_that_cannot_be_used_is_named_with_file_and_row(labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        encode(**labels)


def test_lists_of_zeros_and_ones_are_switches_only_if_they_are_of_one_length():
    for rows, ids in (([[0, 1, 1], [1, 0, 0]], [[1, 2], [0]]), ([[0, 1, 1], [0]], [[0, 1], [0]])):
        data, _ = encode_labels({"train": Dataset.from_dict({"text": ["a", "b"], "y": rows})}, "y", ORIGINS)
        assert data["train"]["y"][:] == ids


def test_class_label_without_label_is_refused_in_training():
    with pytest.raises(ValueError, match=r"train\.csv, row 2: found label -1, allowed are: a, b"):
        encode_labels({"train": class_labels(["a", "b"], [0, -1])}, "y", ORIGINS)


def test_missing_label_column_lists_those_that_exist():
    with pytest.raises(ValueError, match=r"no label column 'z'; choose with --label_column_name out of: text, y"):
        encode_labels({"train": Dataset.from_dict({"text": ["a"], "y": [1]})}, "z", ORIGINS)


@pytest.mark.parametrize(
    ("label2id", "names", "order"),
    [
        ({"entailment": 1, "not_entailment": 0}, ("entailment", "not_entailment"), ("not_entailment", "entailment")),
        ({"NOT_ENTAILMENT": 0, "Entailment": 1}, ("entailment", "not_entailment"), ("not_entailment", "entailment")),
        ({"LABEL_0": 0, "LABEL_1": 1}, ("negative", "positive"), ("negative", "positive")),
        ({"LABEL_1": 0, "LABEL_0": 1}, ("0", "1"), ("1", "0")),
        (NLI, ("entailment", "not_entailment"), ("entailment", "not_entailment")),
        (NLI, ("entailment", "neutral"), ("entailment", "neutral")),
        ({"a": 1, "A": 0}, ("a", "A"), ("A", "a")),
        ({"a": 1, "b": 0}, ("a", "A"), ("a", "A")),
        ({"a": 0, "LABEL_a": 2, "b": 1}, ("b", "a"), ("b", "a")),
        (None, ("a", "b"), ("a", "b")),
    ],
)
def test_the_models_order_is_kept_for_the_same_names_only(label2id, names, order):
    assert align_labels(label2id, names) == order


def test_without_training_split_the_model_says_which_classes_exist():
    assert align_labels(NLI, ("Entailment",), complete=False) == ("contradiction", "neutral", "Entailment")
    assert align_labels({"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}, ("2",), complete=False) == (
        "LABEL_0",
        "LABEL_1",
        "2",
    )
    with pytest.raises(ValueError, match="the data has the labels maybe, the model knows contradiction, neutral"):
        align_labels(NLI, ("maybe",), complete=False)


def test_positive_class_moves_with_the_order():
    description = DataDescription(("text",), "y", ("no", "yes"), metrics=("f1",))
    resolved = resolve_labels(description, {"yes": 0, "no": 1})
    assert (resolved.label_names, resolved.positive_label) == (("yes", "no"), 0)


def test_unlabelled_data_takes_everything_from_the_model():
    description = DataDescription(("text",), "y", (), labels_complete=False)
    assert resolve_labels(description, NLI).label_names == tuple(NLI)
    assert resolve_labels(description, {"LABEL_0": 0}).is_regression


def test_ids_are_renumbered_and_missing_labels_stay():
    split = with_label_order(class_labels(["a", "b"], [0, 1, -1]), "y", ("b", "a"))
    assert split["y"][:] == [1, 0, -1]
    assert split.features["y"].names == ["b", "a"]
    assert with_label_order(class_labels(["a", "b"], [0]), "y", ("a", "b", "c"))["y"][:] == [0]


def test_label_column_is_dropped_only_if_every_label_is_missing():
    assert drop_missing_labels(Dataset.from_dict({"y": [-1.0, -1.0]}), "y").column_names == []
    assert drop_missing_labels(Dataset.from_dict({"y": [-1, 0]}), "y").column_names == ["y"]


def test_texts_that_cannot_be_used_are_refused():
    split = Dataset.from_dict({"a": ["x", None], "n": [1, 2]})
    with pytest.raises(ValueError, match=r"x\.csv, row 2: the text of column 'a' is missing"):
        check_texts(split, ("a",), "x.csv")
    with pytest.raises(ValueError, match=r"x\.csv has no text column 'b'; it has: a, n"):
        check_texts(split, ("b",), "x.csv")
    with pytest.raises(ValueError, match=r"text column 'n' is of type .*, it must hold strings"):
        check_texts(split, ("n",), "x.csv")
    with pytest.raises(ValueError, match=r"x\.csv has no text column; name one with --text_column_names out of: n"):
        guess_text_columns(split.remove_columns("a"), "label", "x.csv")
