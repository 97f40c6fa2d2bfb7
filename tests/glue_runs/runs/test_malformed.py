# SPDX-License-Identifier: Apache-2.0
"""Malformed input of every kind, from every source: one line that says where it is and what is wrong."""

import json

import datasets
import glue_rows
import pytest
import samples
from datasets import ClassLabel, Value

from glue_runs.runs.arguments import DataArguments
from glue_runs.runs.text_data import load_data
from glue_runs.tasks.glue import get_task


def refusal(splits, **arguments):
    """The one line that refuses the input."""
    with pytest.raises((ValueError, OSError)) as error:
        load_data(DataArguments(**arguments), splits)
    message = str(error.value)
    assert len(message.splitlines()) == 1, message
    assert "Traceback" not in message
    return message


COLA, STSB = "gj04\t1\t\tFine.\n", f"{samples.STSB_HEADER}\tscore\n0\t{samples.STSB_START}\ta\tb\t"
RTE, MNLI = "index\tsentence1\tsentence2\tlabel\n", f"{samples.MNLI_HEADER}\tlabel1\tgold_label\n"
MNLI_ROW = f"0\t{samples.MNLI_START}\ta\tb\tneutral\t"
OFFICIAL = {
    "cut off within a line": ("cola", "train", COLA + "gj04\t0", ":2: found 2 tab-separated columns, expected 4"),
    "cut off within a record": ("qqp", "train", f"{samples.QQP_HEADER}\n1\t2\t3\tWhy?", ":2: found 4 tab-separated"),
    "tab within a text": ("cola", "train", "gj04\t1\t\tFi\tne.\n", ":1: found 5 tab-separated columns, expected 4"),
    "blank line": ("cola", "train", f"{COLA}\n{COLA}", ":2: found 1 tab-separated columns, expected 4"),
    "commas for tabs": ("sst2", "train", "sentence,label\na,1\n", ":1: the header has no column sentence, label"),
    "missing column": ("rte", "train", "index\tsentence1\tlabel\n0\ta\t1\n", "the header has no column sentence2"),
    "column named twice": ("sst2", "train", "label\tsentence\tlabel\n1\ta\t0\n", "names label more than once"),
    "wrong columns": ("qnli", "train", RTE + "0\ta\tb\tentailment\n", "no column question, sentence"),
    "header of the wrong split": ("qqp", "test", f"{samples.QQP_HEADER}\n" + "1\t2\t3\ta\tb\t0\n" * 2, ":3: row id 1"),
    "no labels": ("wnli", "train", "index\tsentence1\tsentence2\n0\ta\tb\n", ":1: the header has no column label"),
    "no header": ("sst2", "train", "fine\t1\ndull\t0\n", ":1: the header has no column sentence, label"),
    "header only": ("rte", "train", RTE, ":2: there are no rows after the header"),
    "empty file": ("cola", "train", "", ":1: the file is empty"),
    "blank file": ("cola", "train", "\n \n", ":1: the file is empty"),
    "latin-1": ("cola", "train", COLA.encode() + b"a\t1\t\tcaf\xe9\n", ":2: byte 0xe9 at position 9 is not UTF-8"),
    "UTF-16": ("cola", "train", COLA.encode("utf-16"), ":1: byte 0xff at position 1 is not UTF-8"),
    "UTF-16 without mark": ("cola", "train", COLA.encode("utf-16-le"), ":1: byte 0x00 at position 2 is not UTF-8"),
    "mark twice": ("mrpc", "train", "\ufeff\ufeffQuality\t#1 String\t#2 String\n1\ta\tb\n", "has no column Quality"),
    "gzip": ("cola", "train", b"\x1f\x8b\x08\x00", ":1: byte 0x8b at position 2 is not UTF-8"),
    "unknown label": ("cola", "train", "gj04\t2\t\tFine.\n", ":1: found label '2', allowed are: 0, 1"),
    "empty label": ("cola", "train", "gj04\t\t\tFine.\n", ":1: found label '', allowed are: 0, 1"),
    "label with spaces": ("cola", "train", "gj04\t 1 \t\tFine.\n", ":1: found label ' 1 ', allowed are: 0, 1"),
    "label by name": ("wnli", "train", RTE + "0\ta\tb\tentailment\n", ":2: found label 'entailment', allowed"),
    "no gold label": ("mnli", "train", f"{MNLI}{MNLI_ROW}-\n", ":2: found label '-', allowed are: entailment"),
    "label in capitals": ("mnli", "train", f"{MNLI}{MNLI_ROW}Neutral\n", ":2: found label 'Neutral', allowed"),
    "NaN": ("stsb", "train", STSB + "nan\n", ":2: found score 'nan', allowed are numbers from 0 to 5"),
    "infinite": ("stsb", "train", STSB + "inf\n", ":2: found score 'inf', allowed"),
    "out of range": ("stsb", "train", STSB + "5.001\n", ":2: found score '5.001', allowed"),
    "negative score": ("stsb", "train", STSB + "-0.5\n", ":2: found score '-0.5', allowed"),
    "score in words": ("stsb", "train", STSB + "high\n", ":2: found score 'high', allowed"),
    "no score": ("stsb", "train", STSB + "\n", ":2: found score '', allowed"),
    "underscore in a score": ("stsb", "train", STSB + "0_1\n", ":2: found score '0_1', allowed"),
    "id twice": ("rte", "train", RTE + "4\ta\tb\tentailment\n" * 2, ":3: row id 4 was already given in line 2"),
    "id that is no number": ("rte", "train", RTE + "x\ta\tb\tentailment\n", ":2: found row id 'x', allowed are whole"),
    "fraction as id": ("rte", "train", RTE + "1.0\ta\tb\tentailment\n", ":2: found row id '1.0', allowed"),
    "negative id": ("rte", "train", RTE + "-1\ta\tb\tentailment\n", ":2: found row id '-1', allowed are whole"),
    "id too large": ("rte", "train", RTE + "9" * 5000 + "\ta\tb\tentailment\n", ", allowed are whole numbers from 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", OFFICIAL)
def test_official_file(tmp_path, case):
    task, split, content, message = OFFICIAL[case]
    path = tmp_path / get_task(task).folder / get_task(task).split(split).file
    samples.write_text(path, "").write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refusal([split], task_name=task, data_dir=str(tmp_path))
    assert error.startswith(f"{path}:")
    assert message in error


def test_folder_instead_of_a_file(tmp_path):
    (tmp_path / "CoLA" / "train.tsv").mkdir(parents=True)
    assert "train.tsv is not a file" in refusal(["train"], task_name="cola", data_dir=str(tmp_path))


STORED = {
    "missing column": (lambda s: s.remove_columns("idx"), " has no column idx; it holds: sentence, label."),
    "other columns": (lambda s: s.rename_column("sentence", "text"), " has no column sentence; it holds: text"),
    "texts are numbers": (
        lambda s: s.remove_columns("sentence").add_column("sentence", [1, 2, 3, 4]),
        ": text column 'sentence' is of type Value('int64'), it must hold strings.",
    ),
    "null text": (lambda s: replaced(s, "sentence", None), ", row 4: the text of column 'sentence' is missing."),
    "wrong label names": (
        lambda s: s.cast_column("label", ClassLabel(names=["acceptable", "unacceptable"])),
        ": labels ('acceptable', 'unacceptable'), expected ('unacceptable', 'acceptable').",
    ),
    "labels are strings": (
        lambda s: s.cast_column("label", Value("string")),
        ": column 'label' is of type string, it must hold signed integers.",
    ),
    "null label": (lambda s: replaced(s, "label", None), ", row 4: found label -1 (or none), allowed are 0 to 1"),
    "unlabelled row": (lambda s: replaced(s, "label", -1), ", row 4: found label -1 (or none), allowed are 0 to 1"),
    "unknown label": (
        lambda s: replaced(s.cast_column("label", Value("int64")), "label", 2),
        ", row 4: found label 2, allowed are 0 to 1, the classes unacceptable, acceptable.",
    ),
    "id twice": (lambda s: replaced(s, "idx", 1), ", row 4: row id 1 was already given in row 2; ids must differ."),
    "negative id": (lambda s: replaced(s, "idx", -7), ", row 4: found row id -7, allowed are whole numbers from 0 to"),
    "null id": (lambda s: replaced(s, "idx", None), ", row 4: found row id -1 (or none), allowed are whole numbers"),
    "fractions as ids": (
        lambda s: s.cast_column("idx", Value("float64")),
        ": column 'idx' is of type double, it must hold signed integers.",
    ),
}


def replaced(split, column, value):
    """The split with another value in the last row of a column."""
    values = [*split[column][:-1], value]
    return split.remove_columns(column).add_column(column, values, feature=split.features[column])


@pytest.mark.parametrize("layout", ["parquet", "saved"])
@pytest.mark.parametrize("case", STORED)
def test_stored_split(tmp_path, case, layout):
    change, message = STORED[case]
    split = change(glue_rows.hub_data("cola")["train"])
    if layout == "saved":
        datasets.DatasetDict(train=split).save_to_disk(tmp_path / "cola")
        origin = f"{tmp_path / 'cola'}, split 'train'"
    else:
        origin = str(samples.write_text(tmp_path / "cola" / "train-00000-of-00001.parquet", ""))
        split.to_parquet(origin)
    error = refusal(["train"], task_name="cola", data_dir=str(tmp_path))
    assert error.startswith(origin + message)


def test_stored_split_without_rows(tmp_path):
    split = glue_rows.hub_data("cola")["train"].select([])
    datasets.DatasetDict(train=split).save_to_disk(tmp_path / "cola")
    assert "or a split is empty" in refusal(["train"], task_name="cola", data_dir=str(tmp_path))
    path = samples.write_text(tmp_path / "copy" / "cola" / "train-00000-of-00001.parquet", "")
    split.to_parquet(str(path))
    assert refusal(["train"], task_name="cola", data_dir=str(tmp_path / "copy")) == f"{path} holds no rows."


@pytest.mark.parametrize(("score", "shown"), [(float("nan"), "nan"), (float("inf"), "inf"), (5.5, "5.5")])
def test_stored_score(tmp_path, score, shown):
    data = glue_rows.hub_data("stsb")
    datasets.DatasetDict(train=replaced(data["train"], "label", score)).save_to_disk(tmp_path / "stsb")
    error = refusal(["train"], task_name="stsb", data_dir=str(tmp_path))
    assert error == f"{tmp_path / 'stsb'}, split 'train', row 3: found label {shown}, allowed are 0 to 5, scores."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1", "is not a readable parquet file"),
        (glue_rows.parquet(glue_rows.hub_data("cola")["train"])[:-9], "is not a readable parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "fetch it with `git lfs pull`"),
    ],
)
def test_damaged_parquet_file(tmp_path, content, message):
    path = samples.write_text(tmp_path / "cola" / "train-00000-of-00001.parquet", "")
    path.write_bytes(content)
    error = refusal(["train"], task_name="cola", data_dir=str(tmp_path))
    assert error.startswith(str(path))
    assert message in error


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset_dict.json", b"{"),
        ("dataset_dict.json", b"[]"),
        ("dataset_dict.json", b'{"splits": ["train", "nowhere"]}'),
        ("train/state.json", b"{}"),
        ("train/dataset_info.json", b"\xff"),
        ("train/data-00000-of-00001.arrow", b""),
        ("train/data-00000-of-00001.arrow", b"not arrow"),
    ],
)
def test_damaged_folder_of_save_to_disk(tmp_path, file, content):
    datasets.DatasetDict(train=glue_rows.hub_data("cola")["train"]).save_to_disk(tmp_path / "cola")
    (tmp_path / "cola" / file).write_bytes(content)
    for source in ({"task_name": "cola", "data_dir": str(tmp_path)}, {"dataset_name": str(tmp_path / "cola")}):
        error = refusal(["train"], **source)
        assert error.startswith(f"{tmp_path / 'cola'} is not a readable folder of save_to_disk (")


OWN = {
    "ragged rows": ("x.csv", "text,label\na,1\nb\n", ":3: found 1 columns, expected 2: text, label"),
    "open quote": ("x.csv", 'text,label\n"a,1\nb,0\n', ": unexpected end of data; check the quotes"),
    "header only": ("x.csv", "text,label\n", ":2: there are no rows after the header"),
    "column named twice": ("x.tsv", "text\ttext\na\t1\n", ":1: the header names text more than once"),
    "too many tabs": ("x.tsv", "text\tlabel\na\tb\tc\n", ":2: found 3 columns, expected 2"),
    "latin-1": ("x.csv", b"text,label\ncaf\xe9,1\n", ":2: byte 0xe9 at position 4 is not UTF-8"),
    "UTF-16": ("x.tsv", "text\tlabel\n".encode("utf-16"), ":1: byte 0xff at position 1 is not UTF-8"),
    "no text": ("x.csv", "a,label\n1,0\n2,1\n", " has no text column"),
    "no label": ("x.csv", "text,stars\na,1\n", " has no label column 'label'"),
    "empty label": ("x.csv", "text,label\na,1\nb,\n", ", row 2: the label is None"),
    "NaN label": ("x.csv", "text,label\na,0.5\nb,nan\n", ", row 2: the label is nan"),
    "one class": ("x.csv", "text,label\na,1\nb,1\n", ": every label is '1'; training needs two classes"),
    "huge label": ("x.csv", f"text,label\na,1\nb,{'9' * 30}\n", ": column 'label' holds a whole number beyond"),
    "endless label": ("x.csv", f"text,label\na,1\nb,{'9' * 5000}\n", ": column 'label' holds a whole number"),
    "JSON of columns": ("x.json", '{"text":\n ["a", "b"], "label": [0, 1]}', " holds columns (text, label), not rows"),
    "JSON of splits": ("x.json", '{"train": [{"text": "a"}], "test": [{"text": "b"}]}', " holds lists of rows (tr"),
    "JSON cut off over lines": ("x.json", '{\n"text": "a",\n"label":', ":3: not valid JSON"),
    "decimal commas": ("x.csv", "text;label\na;0,5\nb;1,5\n", ": column 'label' holds numbers with a decimal comma"),
    "JSON number": ("x.json", "3", ":1: found int, expected an object"),
    "JSON cut off": ("x.json", '[{"text": "a", "label": 0},\n{"text":', ":2: not valid JSON"),
    "JSON list of lists": ("x.json", '[["a", 0]]', ", item 1: found list, expected an object"),
    "JSON keys differ": ("x.jsonl", '{"text": "a"}\n{"test": "b"}\n', ":2: found the keys test, expected"),
    "JSON without keys": ("x.jsonl", "{}\n{}\n", " has no text column"),
    "JSON null text": ("x.jsonl", '{"text": "a", "label": 0}\n{"text": null, "label": 1}\n', ", row 2: the text of"),
    "JSON half a character": ("x.jsonl", '{"text": "\\ud800", "label": 0}\n', ": column 'text' holds half a"),
    "JSON huge number": ("x.jsonl", f'{{"text": "a", "label": {"9" * 30}}}\n', ": column 'label' holds a whole"),
    "JSON endless number": ("x.jsonl", f'{{"text": "a", "label": {"9" * 5000}}}\n', ":1: a number is too long"),
    "JSON without end": ("x.json", "[" * 100_000, ":1: a number is too long or objects lie too deep"),
    "JSON infinite label": ("x.jsonl", '{"text": "a", "label": 1e999}\n', ", row 1: the label is inf"),
    "not parquet": ("x.parquet", "text,label\na,1\n", " is not a readable parquet file"),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN)
def test_own_file(tmp_path, case):
    name, content, message = OWN[case]
    path = samples.write_text(tmp_path / name, "")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refusal(["train"], train_file=str(path))
    assert error.startswith(str(path))
    assert message in error


def test_own_labels_that_training_lacks(tmp_path):
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    train = samples.write_text(tmp_path / "train.json", json.dumps(rows))
    dev = samples.write_text(tmp_path / "dev.json", json.dumps([*rows, {"text": "c", "label": 2}]))
    error = refusal(["train", "validation"], train_file=str(train), validation_file=str(dev))
    assert error == f"{dev}, row 3: found label 2, allowed are: 0, 1."
