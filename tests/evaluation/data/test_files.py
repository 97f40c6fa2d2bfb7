# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import samples
from datasets import ClassLabel, Dataset, Features, Value

from logitmix_nlp.evaluation.data.files import FILE_TYPES, read_data_file
from logitmix_nlp.evaluation.data.lines import is_number


@pytest.mark.parametrize("text", ["1", "-2", "+3.5", ".5", "1e-3", " 4 ", "nan", "-inf"])
def test_numbers(text):
    assert is_number(text)


@pytest.mark.parametrize("text", ["", "1_000", "a", "1,5", "0x1", "infinite"])
def test_not_numbers(text):
    assert not is_number(text)


def test_csv_quotes_are_syntax(tmp_path):
    path = samples.write_text(tmp_path / "x.csv", '\ufefftext,label\r\n"a, ""b""\nc",1\r\nnull,0\r\n')
    assert read_data_file(path).to_dict() == {"text": ['a, "b"\nc', "null"], "label": [1, 0]}


def test_tsv_quotes_are_text(tmp_path):
    path = samples.write_text(tmp_path / "x.tsv", 'text\tlabel\n"a\tyes\nb"\tno\n')
    assert read_data_file(path).to_dict() == {"text": ['"a', 'b"'], "label": ["yes", "no"]}


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ("1 0 2", [1, 0, 2]),
        ("1 0.5 2", [1.0, 0.5, 2.0]),
        ("1 0 no", ["1", "0", "no"]),
        ("NA None no", ["NA", "None", "no"]),
    ],
)
def test_label_cells_get_one_type_and_texts_stay_strings(tmp_path, cells, labels):
    text = "text,stars\n" + "".join(f"12,{cell}\n" for cell in cells.split())
    table = read_data_file(samples.write_text(tmp_path / "x.csv", text), "stars")
    assert table["stars"][:] == labels
    assert table["text"][:] == ["12"] * 3


def test_empty_label_cell_is_none(tmp_path):
    assert read_data_file(samples.write_text(tmp_path / "x.csv", "text,label\na,\nb,1\n"))["label"][:] == [None, 1]


JSON_ROWS = ('{"t": "a", "label": 1}', '{"label": 0, "t": "b"}')


@pytest.mark.parametrize("text", ["[" + ",\n".join(JSON_ROWS) + "]", "\n".join(JSON_ROWS)])
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_as_a_list_or_by_line(tmp_path, text, suffix):
    table = read_data_file(samples.write_text(tmp_path / f"x{suffix}", text))
    assert table.to_dict() == {"t": ["a", "b"], "label": [1, 0]}


READ_ANYWAY = {
    "upper-case extension": ("X.CSV", "t,label\na,1\nb,0\n"),
    "mixed-case extension": ("x.Jsonl", "\n".join(JSON_ROWS)),
    "blank last line of JSONL": ("x.jsonl", "\n".join(JSON_ROWS) + "\n\n"),
    "blank lines between": ("x.jsonl", "\n\n".join(JSON_ROWS) + "\n \n"),
    "blank last line of CSV": ("x.csv", "t,label\na,1\nb,0\n\n\n"),
    "blank last line of TSV": ("x.tsv", "t\tlabel\na\t1\nb\t0\n\n"),
    "semicolons": ("x.csv", 't;label\na;1\n"b";0\n'),
    "list over many lines": ("x.json", '[\n  {\n    "t": "a",\n    "label": 1\n  },\n  {"t": "b", "label": 0}\n]\n'),
    "objects over many lines": ("x.json", '{\n  "t": "a",\n  "label": 1\n}\n{\n  "t": "b",\n  "label": 0\n}\n'),
    "an object that holds the rows": ("x.json", '{\n  "version": 1,\n  "data": [' + ", ".join(JSON_ROWS) + "]\n}\n"),
}


@pytest.mark.parametrize("case", READ_ANYWAY)
def test_other_forms_of_the_same_rows_are_read(tmp_path, case):
    name, text = READ_ANYWAY[case]
    table = read_data_file(samples.write_text(tmp_path / name, text))
    assert table.to_dict() == {"t": ["a", "b"], "label": [1, 0]}


def test_one_object_is_one_row_on_one_line_or_on_many(tmp_path):
    for text in ('{"t": "a", "label": [0, 2]}', '{\n  "t": "a",\n  "label": [\n    0,\n    2\n  ]\n}\n'):
        table = read_data_file(samples.write_text(tmp_path / "x.json", text))
        assert table.to_dict() == {"t": ["a"], "label": [[0, 2]]}
    table = read_data_file(samples.write_text(tmp_path / "x.jsonl", '{"tokens": ["a", "b"], "ner_tags": [0, 1]}'))
    assert table.to_dict() == {"tokens": [["a", "b"]], "ner_tags": [[0, 1]]}


def test_commas_stay_text_between_semicolons_and_semicolons_between_commas(tmp_path):
    path = samples.write_text(tmp_path / "x.csv", "t;label\na, b;1\n")
    assert read_data_file(path).to_dict() == {"t": ["a, b"], "label": [1]}
    path = samples.write_text(tmp_path / "x.csv", "t;u,label\na; b,1\n")
    assert read_data_file(path).to_dict() == {"t;u": ["a; b"], "label": [1]}
    path = samples.write_text(tmp_path / "x.csv", '"t;u"\na; b\n')
    assert read_data_file(path).to_dict() == {"t;u": ["a; b"]}


def test_parquet_keeps_class_names(tmp_path):
    features = Features({"t": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict({"t": ["a", "b"], "label": [1, 0]}, features=features).to_parquet(tmp_path / "x.parquet")
    table = read_data_file(tmp_path / "x.parquet")
    assert table.features == features
    assert table["label"][:] == [1, 0]


MALFORMED = [
    ("x.csv", "text,label\na,1\nb\n", ":3: found 1 columns, expected 2: text, label"),
    ("x.csv", "text,label\na,1\n\nb,1\n", ":3: found 0 columns, expected 2"),
    ("x.csv", 'text,label\n"a,1\nb,0\n', "unexpected end of data; check the quotes or save the file as .tsv"),
    ("x.csv", 'text,label\n"a" b,1\n', ":2: "),
    ("x.csv", "text,text\na,1\n", ":1: the header names text more than once"),
    ("x.csv", "text,label\n", ":2: there are no rows after the header"),
    ("x.tsv", "text\tlabel\na\tb\tc\n", ":2: found 3 columns, expected 2"),
    ("x.tsv", "", ":1: the file is empty"),
    ("x.jsonl", '{"a": 1}\n{"a": \n', ":2: not valid JSON"),
    ("x.jsonl", '{"a": 1}\n{"b": 1}\n', ":2: found the keys b, expected an object with the keys a"),
    ("x.jsonl", '{"a": 1}\n3\n', ":2: found int, expected an object with the keys a"),
    ("x.json", '[{"a": 1},\n{"a": 1, "b": 2}]', ", item 2: found the keys a, b, expected an object with the keys a"),
    ("x.json", '[{"a": 1},\n{"a" 1}]', ":2: not valid JSON"),
    ("x.json", "[]", ": the list is empty"),
    ("x.json", '{"data": []}', ": the list 'data' is empty"),
    ("x.json", '{\n"a": 1,\n"b" 2\n}', ":3: not valid JSON"),
    ("x.json", '{\n"a": 1\n}\n{\n"a": 2, \n}', ":6: not valid JSON"),
    ("x.json", '{\n"a": 1\n}\n{\n"b": 2\n}', ":4: found the keys b, expected an object with the keys a"),
    ("x.json", '{"t": ["a", "b"], "label": [1, 0]}', "holds columns (t, label), not rows; write one object per row"),
    ("x.JSON", '{"t":\n ["a"], "label": [1]}', "holds columns (t, label), not rows; write one object per row"),
    ("x.json", '{"t": {"0": "a"}, "label": {"0": 1}}', "holds columns (t, label), not rows; write one object per row"),
    ("x.json", '{"train": [{"a": 1}], "test": [{"a": 1}]}', "holds lists of rows (train, test); give each a file"),
    ("x.csv", "t;label\na;1,5\nb;2\n", ": column 'label' holds numbers with a decimal comma; write them with a point"),
    ("x.csv", "t;label\na;1;2\n", ":2: found 3 columns, expected 2: t, label"),
    ("x.json", '[{"a": 1}, {"a": "b"}]', ": column 'a' mixes int, str; give it one type"),
    ("x.parquet", "not parquet", "is not a readable parquet file"),
    ("x.txt", "a", "unknown extension '.txt'; use one of: .csv, .json, .jsonl, .parquet, .tsv"),
]


@pytest.mark.parametrize(("name", "text", "message"), MALFORMED)
def test_malformed_file_is_named_with_its_line(tmp_path, name, text, message):
    path = samples.write_text(tmp_path / name, text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_data_file(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("suffix", FILE_TYPES)
def test_missing_file_lists_what_is_there(tmp_path, suffix):
    samples.write_text(tmp_path / "y.csv", "a")
    with pytest.raises(FileNotFoundError, match=r"holds: y\.csv"):
        read_data_file(tmp_path / f"x{suffix}")
