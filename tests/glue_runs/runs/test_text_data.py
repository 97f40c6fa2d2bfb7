# SPDX-License-Identifier: Apache-2.0
import re
from types import SimpleNamespace

import pytest
import samples
from datasets import Dataset, DatasetDict

from glue_runs.runs.arguments import DataArguments
from glue_runs.runs.text_data import load_data
from glue_runs.runs.texts import Texts
from glue_runs.tasks.glue import GLUE_TASKS, get_task
from logitmix_nlp.evaluation.data.columns import Columns

TABLE = "sentence,label\nfine,yes\ndull,no\n"


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_description_of_a_task_follows_its_record(glue, name):
    task = get_task(name)
    description = load_data(DataArguments(task_name=name, data_dir=str(glue)))[1]
    assert description.text_columns == task.text_columns
    assert description.label_names == task.label_names
    assert description.is_regression == (name == "stsb")
    assert description.metrics == task.metrics
    assert description.evaluation_splits == task.evaluation_splits
    assert description.prediction_files == task.prediction_files
    assert (description.task, description.is_own, description.label_column) == (task, False, "label")


def needed_splits(train, evaluate, predict, **data):
    args = SimpleNamespace(do_train=train, do_eval=evaluate, do_predict=predict)
    return Texts(None, DataArguments(**data), args).needed_splits()


def test_only_needed_files_must_exist(glue):
    (glue / "CoLA" / "test.tsv").unlink()
    samples.write_text(glue / "CoLA" / "train.tsv", "broken")
    args = DataArguments(task_name="cola", data_dir=str(glue))
    assert list(load_data(args, ["validation"])[0]) == ["validation"]
    with pytest.raises(FileNotFoundError, match=r"test\.tsv is not a file"):
        load_data(args, ["test"])
    with pytest.raises(ValueError, match=r"train\.tsv:1: found 1 tab-separated columns"):
        load_data(args)


@pytest.mark.parametrize(
    ("task", "todo", "splits"),
    [
        ("cola", (True, True, False), ["train", "validation"]),
        ("cola", (False, False, True), ["test"]),
        ("mnli", (True, True, False), ["train", "validation_matched", "validation_mismatched"]),
        ("mnli", (False, False, True), ["test_matched", "test_mismatched", "test_ax"]),
        ("ax", (False, False, True), ["test"]),
    ],
)
def test_needed_splits_follow_what_is_done(task, todo, splits):
    assert needed_splits(*todo, task_name=task) == splits


def test_needed_splits_of_own_files():
    assert needed_splits(True, False, True, train_file="x.csv") == ["train", "test"]


@pytest.mark.parametrize(("train", "missing"), [(True, "train"), (False, "validation")])
def test_task_without_training_data_says_what_to_train_on(train, missing):
    with pytest.raises(
        ValueError, match=f"'ax' has no split '{missing}'; its splits are: test. Fine-tune on mnli, whose"
    ):
        needed_splits(train, True, True, task_name="ax")


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".csv", TABLE),
        (".tsv", TABLE.replace(",", "\t")),
        (".json", '[{"sentence": "fine", "label": "yes"}, {"sentence": "dull", "label": "no"}]'),
        (".jsonl", '{"sentence": "fine", "label": "yes"}\n{"sentence": "dull", "label": "no"}\n'),
    ],
)
def test_own_files(tmp_path, suffix, text):
    path = str(samples.write_text(tmp_path / f"x{suffix}", text))
    data, description = load_data(DataArguments(train_file=path, validation_file=path), ["train", "validation"])
    assert description.text_columns == ("sentence",)
    assert description.label_names == ("no", "yes")
    assert description.metrics == ("accuracy",)
    for split in data.values():
        assert split["sentence"][:] == ["fine", "dull"]
        assert split["label"][:] == [1, 0]


def test_own_parquet_files_and_columns_by_name(tmp_path):
    rows = {"q": ["a", "b"], "a": ["c", "d"], "note": ["e", "f"], "stars": [1.5, 3.0]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "x.parquet")
    args = DataArguments(
        train_file=str(tmp_path / "x.parquet"), text_column_names=["a", "q"], label_column_name="stars"
    )
    data, description = load_data(args, ["train"])
    assert description.text_columns == ("a", "q")
    assert description.is_regression
    assert description.metrics == ("pearson", "spearmanr")
    assert data["train"]["stars"][:] == [1.5, 3.0]


def test_columns_that_are_named_win_over_those_of_an_earlier_training(tmp_path):
    path = samples.write_text(tmp_path / "x.csv", "a,b,label\nfine cat,the mat,yes\ndull cat,a mat,no\n")
    trained = Columns(("a",))
    for named, texts in ((None, ("a",)), (["b"], ("b",))):
        args = DataArguments(train_file=str(path), text_column_names=named)
        assert load_data(args, ["train"], trained=trained)[1].text_columns == texts


def test_label_that_training_lacks_is_named_with_its_file(tmp_path):
    train = samples.write_text(tmp_path / "train.csv", TABLE)
    dev = samples.write_text(tmp_path / "dev.csv", TABLE + "so so,maybe\n")
    with pytest.raises(ValueError, match=re.escape(f"{dev}, row 3: found label 'maybe', allowed are: no, yes.")):
        load_data(DataArguments(train_file=str(train), validation_file=str(dev)))


def test_missing_split_lists_those_that_exist(tmp_path):
    args = DataArguments(train_file=str(samples.write_text(tmp_path / "x.csv", TABLE)))
    with pytest.raises(ValueError, match="the given files: no split validation; there is only: train"):
        load_data(args, ["train", "validation"])


def test_evaluation_alone_does_not_know_all_labels(tmp_path):
    args = DataArguments(validation_file=str(samples.write_text(tmp_path / "x.csv", TABLE)))
    assert not load_data(args, ["validation"])[1].labels_complete


def test_folders_of_save_to_disk(tmp_path):
    split = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    DatasetDict(train=split, validation=split, extra=split).save_to_disk(tmp_path / "many")
    split.save_to_disk(tmp_path / "one")
    data, description = load_data(DataArguments(dataset_name=str(tmp_path / "many")), ["train", "validation"])
    assert list(data) == ["train", "validation"]
    assert description.label_names == ("0", "1")
    assert list(load_data(DataArguments(dataset_name=str(tmp_path / "one")))[0]) == ["train"]
    DatasetDict(extra=split).save_to_disk(tmp_path / "odd")
    with pytest.raises(ValueError, match=r"none of the splits train, validation, test; it has: extra"):
        load_data(DataArguments(dataset_name=str(tmp_path / "odd")))


def test_local_folder_of_files(tmp_path):
    samples.write_text(tmp_path / "data" / "train.csv", TABLE)
    samples.write_text(tmp_path / "data" / "validation.csv", TABLE + "so so,maybe\n")
    args = DataArguments(dataset_name=str(tmp_path / "data"))
    with pytest.raises(ValueError, match=r"split 'validation', row 3: found label 'maybe', allowed are: no, yes"):
        load_data(args, cache_dir=str(tmp_path / "cache"))


def test_unknown_dataset_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'no/such' is neither a local folder.*give local files"):
        load_data(DataArguments(dataset_name="no/such"), cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "exactly one source of data: .*; got none\\.$"),
        ({"task_name": "colla"}, "Unknown GLUE task 'colla'; choose one of: cola"),
        ({"task_name": "cola", "dataset_name": "x"}, "got --task_name and --dataset_name"),
        ({"task_name": "cola", "test_file": "x.csv"}, "got --task_name and --test_file"),
        ({"data_dir": "x"}, "say which with --task_name: cola"),
        ({"task_name": "cola", "dataset_config_name": "x"}, "--dataset_config_name belongs to --dataset_name"),
        ({"task_name": "cola", "text_column_names": ["x"]}, "are for your own data"),
        ({"train_file": "x.txt"}, "--train_file x.txt: unknown extension; use one of: .csv, .json"),
        ({"train_file": "x.csv", "text_column_names": ["a", "b", "c"]}, "one column or two different ones, got: a, b"),
        ({"train_file": "x.csv", "text_column_names": ["a", "a"]}, "two different ones"),
        ({"train_file": "x.csv", "text_column_names": ["label"]}, "'label' is given as text and as label"),
        ({"task_name": "cola", "max_seq_length": 0}, "--max_seq_length must be at least 1, got 0"),
        ({"task_name": "cola", "max_eval_samples": -1}, "--max_eval_samples must be at least 1"),
        ({"task_name": "cola", "n_bins": 0}, "--n_bins must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        DataArguments(**given)
