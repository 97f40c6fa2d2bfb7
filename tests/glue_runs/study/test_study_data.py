# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import pytest
import samples

from glue_runs.study import data
from glue_runs.study.data import LabelledTexts, class_folders, load_task, read_source, training_rows

PETS = {"train": {"json": "texts.json", "key": "train"}, "validation_rows": 10, "test_rows": 8, "split_seed": 3}


def test_sources_give_the_same_rows(tmp_path, monkeypatch):
    rows = [["a cat", "cats"], ["a dog", "dogs"]]
    samples.write_text(tmp_path / "a.csv", "text,kind\na cat,cats\na dog,dogs\n")
    samples.write_text(tmp_path / "a.json", '{"train": [["a cat", "cats"], ["a dog", "dogs"]]}')
    for number, (text, name) in enumerate(rows):
        samples.write_text(tmp_path / "package" / "texts" / name / f"{number}.txt", f"{text}\nand more\n")
        samples.write_text(tmp_path / "package" / "texts" / name / "again.txt", f"{text}\nthe same first line\n")
    monkeypatch.setattr(data.importlib.resources, "files", lambda name: tmp_path / name)
    wanted = LabelledTexts([("a cat",), ("a dog",)], ["cats", "dogs"])
    assert read_source({"file": "a.csv", "text": ["text"], "label": "kind"}, tmp_path) == wanted
    assert read_source({"json": "a.json", "key": "train"}, tmp_path) == wanted
    assert read_source({"package": "package", "folder": "texts"}, tmp_path) == wanted


def test_glue_rows_have_class_names(tmp_path):
    samples.write_glue(tmp_path / "glue")
    found = read_source({"glue": "rte", "split": "train"}, tmp_path)
    assert found.texts[1] == ("A cat sat.", "It ran.")
    assert found.labels == ["entailment", "not_entailment"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"key": "train"}, "give exactly one of file, json, glue, package"),
        ({"json": "texts.json", "glue": "cola"}, "give exactly one of"),
        ({"json": "texts.json", "key": "dev"}, "no key 'dev'; there are: train, test, outside"),
        ({"glue": "stsb", "split": "train"}, "scores for labels"),
    ],
)
def test_a_source_that_cannot_be_read(pets, source, message):
    with pytest.raises(ValueError, match=message):
        read_source(source, pets)


def test_a_folder_without_texts(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no folders of .txt files"):
        class_folders(tmp_path)


def test_splits_share_no_row_and_are_always_the_same(pets):
    rows = load_task(PETS, pets)
    parts = [set(part.texts) for part in (rows.train, rows.validation, rows.test)]
    assert list(map(len, parts)) == [22, 10, 8]
    assert len(set.union(*parts)) == 40
    assert rows == load_task(PETS, pets)
    assert rows.validation != load_task({**PETS, "split_seed": 4}, pets).validation


def test_too_many_rows_to_draw(pets):
    with pytest.raises(ValueError, match="test_rows must lie between 1 and 29, got 30"):
        load_task({**PETS, "test_rows": 30}, pets)


def test_a_class_without_training_rows(tmp_path):
    samples.write_text(tmp_path / "t.json", '{"train": [["a", "x"], ["b", "y"]], "test": [["c", "z"]]}')
    task = {**PETS, "train": {"json": "t.json", "key": "train"}, "test": {"json": "t.json", "key": "test"}}
    with pytest.raises(ValueError, match="No training row of the classes"):
        load_task({**task, "validation_rows": 1}, tmp_path)


@pytest.fixture
def clear(pets):
    """All rows, and the right class of each training text."""
    rows = load_task(PETS, pets)
    return rows, dict(zip(rows.train.texts, rows.ids(rows.train), strict=True))


def test_so_many_rows_of_each_class(clear):
    rows, right = clear
    texts, labels = training_rows(rows, {"labels_per_class": 4, "wrong_labels": 0.0}, 1)
    assert Counter(labels) == {0: 4, 1: 4}
    assert [right[text] for text in texts] == labels
    assert len(set(texts)) == 8
    everything = training_rows(rows, {"labels_per_class": None, "wrong_labels": 0.0}, 1)[0]
    assert everything == training_rows(rows, {"labels_per_class": 999, "wrong_labels": 0.0}, 1)[0] == rows.train.texts


def test_a_seed_stands_for_its_rows(clear):
    rows, _ = clear
    regime = {"labels_per_class": 4, "wrong_labels": 0.25}
    assert training_rows(rows, regime, 1) == training_rows(rows, regime, 1)
    assert training_rows(rows, regime, 1)[0] != training_rows(rows, regime, 2)[0]


def test_wrong_labels_replace_a_share_of_the_right_ones(clear):
    rows, right = clear
    clean = training_rows(rows, {"labels_per_class": 10, "wrong_labels": 0.0}, 5)
    texts, labels = training_rows(rows, {"labels_per_class": 10, "wrong_labels": 0.3}, 5)
    assert texts == clean[0]
    assert sum(right[text] != label for text, label in zip(texts, labels, strict=True)) == 6


@pytest.mark.parametrize(
    "regime", [{"labels_per_class": 0, "wrong_labels": 0}, {"labels_per_class": 1, "wrong_labels": 1}]
)
def test_a_regime_out_of_range(clear, regime):
    with pytest.raises(ValueError, match="Expected labels_per_class >= 1 or null and wrong_labels in"):
        training_rows(clear[0], regime, 1)
