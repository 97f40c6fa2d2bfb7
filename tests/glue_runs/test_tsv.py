# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import samples

from glue_runs.tasks import GLUE_TASKS, get_task
from glue_runs.tsv import read_lines, read_split

# MRPC's training file is rebuilt by each user from Microsoft's corpus: the official 3,668 rows, but a copy with 3,667
# is in use too.
OFFICIAL_ROWS = {
    "cola": ({8551}, {1043}, {1063}),
    "mrpc": ({3668, 3667}, {408}, {1725}),
    "rte": ({2490}, {277}, {3000}),
    "stsb": ({5749}, {1500}, {1379}),
}


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_every_row_of_every_split_is_read_with_its_id(glue, name):
    task = get_task(name)
    for split in task.splits:
        columns = read_split(task, split.name, glue)
        lines = samples.GLUE_FILES[f"{task.folder}/{split.file}"].removesuffix("\n").split("\n")
        rows = len(lines) - (split.layout.num_columns is None)
        assert list(columns) == [*task.text_columns, "label", "idx"]
        assert all(len(column) == rows for column in columns.values())
        assert columns["idx"] == list(range(rows))
        assert (set(columns["label"]) == {-1}) == (split.name == "test")


@pytest.mark.parametrize("name", OFFICIAL_ROWS)
def test_official_files_have_the_official_row_counts(official_glue, name):
    task = get_task(name)
    for split, allowed in zip(task.splits, OFFICIAL_ROWS[name], strict=True):
        columns = read_split(task, split.name, official_glue)
        lines = (official_glue / task.folder / split.file).read_bytes().rstrip(b"\n").count(b"\n") + 1
        assert len(columns["idx"]) == lines - (split.layout.num_columns is None)
        assert len(columns["idx"]) in allowed


def test_quotes_and_spaces_are_text(glue):
    assert read_split(get_task("cola"), "train", glue)["sentence"][::2] == ['The "cat sat.', 'A cat, a "mat".']
    assert read_split(get_task("mrpc"), "train", glue)["sentence1"][0] == 'He said , " the cat sat .'
    assert read_split(get_task("mrpc"), "train", glue)["sentence2"][1] == '" A cat sat .'
    assert read_split(get_task("sst2"), "train", glue)["sentence"][0] == "a dull mat "


def test_labels_get_the_ids_of_the_hub(glue):
    assert read_split(get_task("cola"), "train", glue)["label"] == [1, 0, 1, 0]
    assert read_split(get_task("rte"), "train", glue)["label"] == [0, 1]
    assert read_split(get_task("stsb"), "train", glue)["label"] == [2.5, 5.0, 0.0]


def test_ids_are_those_of_the_file(glue):
    samples.write_text(glue / "RTE/test.tsv", "index\tsentence1\tsentence2\n7\ta\tb\n3\tc\td\n")
    assert read_split(get_task("rte"), "test", glue)["idx"] == [7, 3]


def test_columns_are_found_by_name(glue):
    samples.write_text(glue / "SST-2/dev.tsv", "note\tlabel\tsentence\nx\t1\tfine\n")
    assert read_split(get_task("sst2"), "validation", glue) == {"sentence": ["fine"], "label": [1], "idx": [0]}


def test_lines_end_at_line_feeds_only(tmp_path):
    path = samples.write_text(tmp_path / "x.tsv", "\ufeffa\u2028b\x0bc\u0085d\r\ne\rf\n\n g ")
    assert read_lines(path) == ["a\u2028b\x0bc\u0085d", "e\rf", "", " g "]


STSB_ROW = "\t".join(["7", *"abcdefgh"])
MALFORMED = [
    ("cola", "train", "gj04\t1\t\tGood.\ngj04\t1\tBad.\n", ":2: found 3 tab-separated columns, expected 4"),
    ("cola", "train", "gj04\t1\t\tGood.\tMore.\n", ":1: found 5 tab-separated columns, expected 4"),
    ("cola", "train", "gj04\t1\t\tGood.\n\ngj04\t1\t\tGood.\n", ":2: found 1 tab-separated columns, expected 4"),
    ("cola", "train", "gj04\t2\t\tGood.\n", ":1: found label '2', allowed are: 0, 1"),
    ("cola", "train", "gj04\t\t\tGood.\n", ":1: found label '', allowed are: 0, 1"),
    ("cola", "train", "", ":1: the file is empty"),
    ("cola", "train", "\n", ":1: the file is empty"),
    ("cola", "test", "index\tsentence\n", ":2: there are no rows after the header"),
    ("cola", "test", "index\ttext\n0\ta\n", ":1: the header has no column sentence; it holds: index, text"),
    ("cola", "test", "index\tsentence\nx\ta\n", ":2: found row id 'x', allowed are whole numbers from 0"),
    ("cola", "test", "index\tsentence\n-1\ta\n", ":2: found row id '-1'"),
    ("cola", "test", "index\tsentence\n0\ta\n1\tb\n0\tc\n", ":4: row id 0 was already given in line 2"),
    ("mrpc", "train", "Quality\t#1 String\n1\ta\n", ":1: the header has no column #2 String"),
    ("mrpc", "test", "\ufeffindex\t#1 String\t#2 String\n0\ta\n", ":2: found 2 tab-separated columns, expected 3"),
    ("rte", "train", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tneutral\n", ":2: found label 'neutral', allowed"),
    ("rte", "validation", "index\tsentence1\tsentence2\n0\ta\tb\n", ":1: the header has no column label"),
    ("sst2", "train", "sentence\tlabel\nfine\tpositive\n", ":2: found label 'positive', allowed are: 0, 1"),
    (
        "stsb",
        "train",
        f"{samples.STSB_HEADER}\tscore\n{STSB_ROW}\tnan\n",
        ":2: found score 'nan', allowed are numbers",
    ),
    ("stsb", "train", f"{samples.STSB_HEADER}\tscore\n{STSB_ROW}\t5.1\n", ":2: found score '5.1', allowed"),
    ("stsb", "train", f"{samples.STSB_HEADER}\tscore\n{STSB_ROW}\t-0.5\n", "from 0 to 5"),
    ("stsb", "train", f"{samples.STSB_HEADER}\tscore\n{STSB_ROW}\thigh\n", ":2: found score 'high'"),
    ("stsb", "train", f"{samples.STSB_HEADER}\tscore\n{STSB_ROW}\t\n", ":2: found score ''"),
]


@pytest.mark.parametrize(("name", "split", "text", "message"), MALFORMED)
def test_malformed_file_is_named_with_its_line(tmp_path, name, split, text, message):
    task = get_task(name)
    path = samples.write_text(tmp_path / task.folder / task.split(split).file, text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_split(task, split, tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a\t1\t\tgood\nb\t1\t\tcaf\xe9\n", ":2: byte 0xe9 at position 9 is not UTF-8"),
        ("a\t1\t\tgood\n".encode("utf-16"), ":1: byte 0xff at position 1 is not UTF-8"),
    ],
)
def test_other_encodings_are_refused(tmp_path, raw, message):
    samples.write_text(tmp_path / "CoLA" / "train.tsv", "").write_bytes(raw)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_split(get_task("cola"), "train", tmp_path)


def test_missing_file_lists_what_is_there(glue):
    (glue / "CoLA" / "dev.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv is not a file; .*CoLA holds: test\.tsv, train\.tsv\."):
        read_split(get_task("cola"), "validation", glue)


def test_missing_folder_lists_what_is_beside_it(glue):
    with pytest.raises(FileNotFoundError, match=r"glue holds: CoLA/, MRPC/, RTE/, SST-2/, STS-B/\."):
        read_split(get_task("cola"), "train", glue / "cola")
