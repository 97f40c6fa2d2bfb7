# SPDX-License-Identifier: Apache-2.0
"""The official files: hand-written ones against rows written out, the real ones against the official counts."""

import re
import shutil

import pytest
import samples
from glue_rows import COLUMNS, ROWS

from glue_runs.tasks.glue import GLUE_TASKS, get_task
from glue_runs.tasks.tsv import read_split

# MRPC's training file is rebuilt by each user from Microsoft's corpus: the official 3,668 rows, but a copy with 3,667
# is in use too.
OFFICIAL_ROWS = {
    "cola": ({8551}, {1043}, {1063}),
    "mrpc": ({3668, 3667}, {408}, {1725}),
    "rte": ({2490}, {277}, {3000}),
    "stsb": ({5749}, {1500}, {1379}),
    "wnli": ({635}, {71}, {146}),
}
FILES = [(name, split.name) for name, task in GLUE_TASKS.items() for split in task.splits if split.source is None]


def rows_of(columns):
    return list(zip(*columns.values(), strict=True))


@pytest.mark.parametrize(("name", "split"), FILES)
def test_every_file_is_read_to_the_rows_of_the_hub(glue, name, split):
    columns = read_split(get_task(name), split, glue)
    assert list(columns) == [*COLUMNS[name][0], "label", "idx"]
    assert rows_of(columns) == ROWS[name][split]


def test_every_file_has_its_sample():
    assert {f"{get_task(name).folder}/{get_task(name).split(split).file}" for name, split in FILES} == set(
        samples.GLUE_FILES
    )


@pytest.mark.parametrize(("name", "split"), FILES)
def test_byte_order_mark_and_carriage_returns_change_nothing(glue, name, split):
    path = glue / get_task(name).folder / get_task(name).split(split).file
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    path.write_bytes(b"\xef\xbb\xbf" + raw.replace(b"\n", b"\r\n"))
    assert rows_of(read_split(get_task(name), split, glue)) == ROWS[name][split]


@pytest.mark.parametrize("name", OFFICIAL_ROWS)
def test_official_files_have_the_official_row_counts(official_glue, name):
    task = get_task(name)
    for split, allowed in zip(task.splits, OFFICIAL_ROWS[name], strict=True):
        columns = read_split(task, split.name, official_glue)
        lines = (official_glue / task.folder / split.file).read_bytes().rstrip(b"\n").count(b"\n") + 1
        assert len(columns["idx"]) == lines - (split.layout.num_columns is None)
        assert len(columns["idx"]) in allowed
        assert split.num_rows in (None, len(columns["idx"]))


def test_diagnostics_may_lie_in_either_place(glue):
    expected = read_split(get_task("ax"), "test", glue)
    (glue / "AX").mkdir()
    shutil.move(glue / "diagnostic" / "diagnostic.tsv", glue / "AX" / "AX.tsv")
    assert read_split(get_task("ax"), "test", glue) == expected
    assert read_split(get_task("mnli"), "test_ax", glue) == expected
    (glue / "AX" / "AX.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"diagnostic\.tsv is not a file, nor is .*AX\.tsv; .* holds: nothing"):
        read_split(get_task("ax"), "test", glue)


QUESTIONS = "1\t2\t3\tWhy?\tHow?\t0"


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ([QUESTIONS], [("Why?", "How?", 0, 0)]),
        (["1\t2\t3\tWhy", "this?\tHow?\t1", QUESTIONS], [("Why this?", "How?", 1, 0), ("Why?", "How?", 0, 2)]),
        (['1\t2\t3\tWhy?\t"How', "", 'so?"\t1', QUESTIONS], [("Why?", '"How  so?"', 1, 0), ("Why?", "How?", 0, 3)]),
        (['1\t2\t3\t"Why?', '"\t"How?', '"\t1'], [('"Why? "', '"How? "', 1, 0)]),
    ],
)
def test_record_with_line_breaks_is_one_row(tmp_path, lines, rows):
    samples.write_text(tmp_path / "QQP" / "train.tsv", "\n".join([samples.QQP_HEADER, *lines]))
    assert rows_of(read_split(get_task("qqp"), "train", tmp_path)) == rows


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([QUESTIONS, "1\t2\t3\tWhy?", QUESTIONS], ":3: found 9 tab-separated columns up to line 4, expected 6."),
        ([QUESTIONS, "1\t2\t3\tWhy?", "so"], ":3: found 4 tab-separated columns up to line 4, expected 6."),
        ([QUESTIONS, "1\t2\t3\tWhy?"], ":3: found 4 tab-separated columns, expected 6."),
        ([QUESTIONS + "\t0"], ":2: found 7 tab-separated columns, expected 6."),
        (["1\t2\t3\tWhy?\t" + '"How', '"\tyes'], ":2: found label 'yes', allowed are: 0, 1."),
    ],
)
def test_record_that_does_not_add_up_is_named_with_its_first_line(tmp_path, lines, message):
    path = samples.write_text(tmp_path / "QQP" / "train.tsv", "\n".join([samples.QQP_HEADER, *lines]))
    with pytest.raises(ValueError, match=re.escape(f"{path}{message}")):
        read_split(get_task("qqp"), "train", tmp_path)


@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "stsb", "qnli", "rte", "wnli"])
def test_only_questions_may_go_on_in_the_next_line(glue, name):
    assert not any(split.layout.continued for split in get_task(name).splits)
    path = glue / get_task(name).folder / "dev.tsv"
    raw = path.read_bytes().rstrip(b"\r\n")
    place = raw.rindex(b"\t") - 1
    path.write_bytes(raw[:place] + b"\n" + raw[place:])
    with pytest.raises(ValueError, match=r"dev\.tsv:\d: found \d+ tab-separated columns, expected"):
        read_split(get_task(name), "validation", glue)
