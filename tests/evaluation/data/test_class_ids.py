# SPDX-License-Identifier: Apache-2.0
import pytest
from datasets import ClassLabel, Dataset

from logitmix_nlp.evaluation.data.labels import class_ids

NLI = {"Contradiction": 0, "neutral": 1, "entailment": 2}
UNNAMED = {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def ids(labels, label2id, names=None) -> list[int]:
    data = Dataset.from_dict({"text": ["a"] * len(labels), "label": labels})
    data = data.cast_column("label", ClassLabel(names=names)) if names else data
    return class_ids(data, "label", label2id, "x.csv").tolist()


def test_names_are_matched_whatever_their_order_and_case():
    assert ids(["entailment", "contradiction", "NEUTRAL"], NLI) == [2, 0, 1]
    assert ids(["neutral", "neutral"], NLI) == [1, 1]


def test_numbers_of_a_named_feature_are_matched_by_name():
    assert ids([0, 1, 2], NLI, ["entailment", "neutral", "contradiction"]) == [2, 1, 0]


def test_plain_numbers_are_the_ids_of_the_model():
    assert ids([2, 0, 1, 1], NLI) == [2, 0, 1, 1]
    assert ids([2, 0], UNNAMED) == [2, 0]
    assert ids(["2", "0"], UNNAMED) == [2, 0]


def test_numbers_that_are_names_are_matched_as_names():
    assert ids([1, 5, 3], {"5": 0, "3": 1, "1": 2}) == [2, 0, 1]


def test_names_are_taken_in_order_if_the_model_has_none_and_that_is_said(caplog):
    assert ids([2, 0], UNNAMED, ["bad", "fair", "good"]) == [2, 0]
    assert "does not name its classes; those of x.csv are taken in their order: bad, fair, good" in caplog.text
    caplog.clear()
    assert ids([2, 0], UNNAMED, ["0", "1", "2"]) == [2, 0]
    assert not caplog.text


@pytest.mark.parametrize(
    ("labels", "label2id", "message"),
    [
        (["neutral", "maybe"], NLI, "data has the labels maybe, neutral; the model knows Contradiction, neutral, ent"),
        (["good", "bad"], UNNAMED, "data has the labels bad, good; the model knows LABEL_0"),
        ([0, 3], NLI, "found the class 3, but the model has 3 classes, 0 to 2"),
        ([0, -1], NLI, "found the class -1, but the model has 3 classes"),
        ([0.5, 1.0], NLI, "numbers with fractions, the scores of a regression"),
        (["neutral", None], NLI, "row 2: the label is None"),
        ([[1, 0, 0]], NLI, "column 'label' holds lists, several labels per row; a classifier of one label per row"),
    ],
)
def test_labels_that_are_not_the_models_are_refused(labels, label2id, message):
    with pytest.raises(ValueError, match=message):
        ids(labels, label2id)


def test_another_number_of_named_classes_is_refused():
    with pytest.raises(ValueError, match=r"data has the labels bad, good; the model knows LABEL_0"):
        ids([0, 1], UNNAMED, ["bad", "good"])


def test_whole_floats_are_ids_without_a_warning(caplog):
    assert ids([2.0, 0.0, 1.0], NLI) == [2, 0, 1]
    assert not caplog.text


def test_a_thousand_names_are_not_listed():
    names = {f"class {place}": place for place in range(1000)}
    with pytest.raises(ValueError, match=r"class 9 and 990 more\. Rename them"):
        ids(["other"], names)
