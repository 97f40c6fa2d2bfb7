# SPDX-License-Identifier: Apache-2.0
import pytest
import samples

from glue_runs.tasks.glue import get_task
from glue_runs.tasks.tsv import read_split
from logitmix_nlp.evaluation.data.lines import read_lines


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


def test_missing_file_lists_what_is_there(glue):
    (glue / "CoLA" / "dev.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv is not a file; .*CoLA holds: test\.tsv, train\.tsv\."):
        read_split(get_task("cola"), "validation", glue)


def test_missing_folder_lists_what_is_beside_it(glue):
    with pytest.raises(
        FileNotFoundError,
        match=r"glue holds: CoLA/, MNLI/, MRPC/, QNLI/, QQP/, RTE/, SST-2/, STS-B/, WNLI/, diagnostic/",
    ):
        read_split(get_task("cola"), "train", glue / "cola")
