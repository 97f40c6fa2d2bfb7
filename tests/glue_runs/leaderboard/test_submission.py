# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import samples

from glue_runs.tasks.glue import GLUE_TASKS, get_task
from glue_runs.tasks.prediction_files import check_predictions, write_predictions

PREDICTED = [(task, split) for task in GLUE_TASKS.values() for split in task.splits if split.submission]
OFFICIAL_ROWS = {  # rows with header in the files of the leaderboard
    "AX.tsv": 1105, "CoLA.tsv": 1064, "MNLI-m.tsv": 9797, "MNLI-mm.tsv": 9848, "MRPC.tsv": 1726, "QNLI.tsv": 5464,
    "QQP.tsv": 390966, "RTE.tsv": 3001, "SST-2.tsv": 1822, "STS-B.tsv": 1380, "WNLI.tsv": 147,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "predictions", "written"),
    [
        ("cola", ["acceptable", "unacceptable"], ["1", "0"]),
        ("sst2", ["positive", "negative"], ["1", "0"]),
        ("mrpc", ["not_equivalent", "equivalent"], ["0", "1"]),
        ("rte", ["not_entailment", "entailment"], ["not_entailment", "entailment"]),
        ("stsb", [-0.2, 5.7], ["0.000", "5.000"]),
        ("stsb", [1.23456, 4], ["1.235", "4.000"]),
        ("stsb", [-0.0, -1e-9], ["0.000", "0.000"]),
        ("wnli", ["entailment", "not_entailment"], ["1", "0"]),
        ("mnli", ["neutral", "contradiction"], ["neutral", "contradiction"]),
    ],
)
def test_labels_are_spelt_as_the_leaderboard_does(tmp_path, name, predictions, written):
    path = tmp_path / "new" / "file.tsv"
    write_predictions(get_task(name), predictions, [4, 2], path)
    assert path.read_bytes().decode() == f"index\tprediction\n4\t{written[0]}\n2\t{written[1]}\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.tsv"]


def test_other_data_is_written_as_it_is(tmp_path):
    write_predictions(None, ["no", "maybe so"], range(2), tmp_path / "names.tsv")
    write_predictions(None, [0.123456789, -2], range(2), tmp_path / "scores.tsv")
    assert (tmp_path / "names.tsv").read_text() == "index\tprediction\n0\tno\n1\tmaybe so\n"
    assert (tmp_path / "scores.tsv").read_text() == "index\tprediction\n0\t0.123457\n1\t-2\n"


@pytest.mark.parametrize(
    ("name", "predictions", "ids", "message"),
    [
        ("cola", ["acceptable"], [0, 1], "1 predictions for 2 rows"),
        ("cola", [], [], "0 predictions for 0 rows"),
        ("cola", ["acceptable", "acceptable"], [3, 3], "row id 3 occurs twice"),
        ("cola", ["1"], [0], "found prediction '1', allowed are: unacceptable, acceptable"),
        ("cola", [1], [0], "found prediction 1, allowed"),
        ("stsb", [float("nan")], [0], "found prediction nan, allowed are finite numbers"),
        ("stsb", ["3"], [0], "found prediction '3'"),
        (None, ["a\tb"], [0], "holds a tab"),
    ],
)
def test_what_the_leaderboard_would_refuse_is_refused(tmp_path, name, predictions, ids, message):
    path = tmp_path / "CoLA.tsv"
    with pytest.raises(ValueError, match=message) as error:
        write_predictions(name and get_task(name), predictions, ids, path)
    assert str(path) in str(error.value)
    assert not list(tmp_path.iterdir())


def check(path):
    """Check a file by its name alone."""
    task, split = next((task, split) for task, split in PREDICTED if split.submission == path.name)
    check_predictions(path, task, split)


@pytest.mark.parametrize(("task", "split"), PREDICTED, ids=lambda part: part.name)
def test_what_is_written_passes_the_check(tmp_path, task, split):
    path = tmp_path / split.submission
    names = task.label_names or [-1.0, 0.0004, 2.71828, 5.0]
    write_predictions(task, [names[i % len(names)] for i in range(split.num_rows)], list(range(split.num_rows)), path)
    check_predictions(path, task, split)
    assert path.read_bytes().count(b"\n") == OFFICIAL_ROWS[path.name]


def test_official_test_files_count_from_zero(official_glue):
    seen = 0
    for task, split in PREDICTED:
        path = official_glue / task.folder / split.file
        if path.is_file() and not split.layout.continued:
            rows = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")[1:]
            assert [row.split("\t")[0] for row in rows] == [str(i) for i in range(split.num_rows)]
            seen += 1
    assert seen > 0


WNLI = "index\tprediction\n" + "".join(f"{i}\t{i % 2}\n" for i in range(146))
STSB = "index\tprediction\n" + "".join(f"{i}\t{i % 6 / 1.2:.3f}\n" for i in range(1379))
RTE = "index\tprediction\n" + "".join(f"{i}\tentailment\n" for i in range(3000))


def changed(text, line, new):
    """The text with one line replaced; `None` takes it out."""
    lines = text.splitlines(keepends=True)
    lines[line - 1 : line] = [] if new is None else [new]
    return "".join(lines)


@pytest.mark.parametrize(("name", "text"), [("WNLI.tsv", WNLI), ("STS-B.tsv", STSB), ("RTE.tsv", RTE)])
def test_unbroken_files_pass(tmp_path, name, text):
    check(samples.write_text(tmp_path / name, text))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("WNLI.tsv", "", ":1: the file is empty; expected the header 'index\\tprediction'"),
        ("WNLI.tsv", samples.BOM + WNLI, ":1: the file starts with a byte order mark"),
        ("WNLI.tsv", WNLI.replace("\n", "\r\n"), ":1: found a carriage return"),
        ("WNLI.tsv", changed(WNLI, 5, "3\t1\r\n"), ":5: found a carriage return"),
        ("WNLI.tsv", WNLI.removesuffix("\n"), ":147: the last line does not end with a line feed"),
        ("WNLI.tsv", changed(WNLI, 1, None), ":1: found the header '0\\t0'"),
        ("WNLI.tsv", changed(WNLI, 1, "index,prediction\n"), ":1: found the header 'index,prediction', expected"),
        ("WNLI.tsv", changed(WNLI, 1, "id\tlabel\n"), ":1: found the header"),
        ("WNLI.tsv", changed(WNLI, 1, "Index\tPrediction\n"), ":1: found the header"),
        ("WNLI.tsv", "\n", ":1: found the header ''"),
        ("WNLI.tsv", "index\tprediction\n", ":2: found 0 rows after the header, expected 146."),
        ("WNLI.tsv", changed(WNLI, 147, None), ":147: found 145 rows after the header, expected 146."),
        ("WNLI.tsv", changed(WNLI, 9, None), ":9: found index '8', expected 7; rows count from 0 in order."),
        ("WNLI.tsv", WNLI + "146\t0\n", ":148: found 147 rows after the header, expected 146."),
        ("WNLI.tsv", WNLI + "\n", ":148: found 147 rows after the header, expected 146."),
        ("WNLI.tsv", changed(WNLI, 9, "\n"), ":9: found 1 tab-separated columns in '', expected 2."),
        ("WNLI.tsv", changed(WNLI, 9, "7 1\n"), ":9: found 1 tab-separated columns in '7 1'"),
        ("WNLI.tsv", changed(WNLI, 9, "7\t1\t\n"), ":9: found 3 tab-separated columns"),
        ("WNLI.tsv", changed(changed(WNLI, 3, "2\t0\n"), 4, "1\t1\n"), ":3: found index '2', expected 1"),
        ("WNLI.tsv", changed(WNLI, 4, "1\t0\n"), ":4: found index '1', expected 2"),
        ("WNLI.tsv", changed(WNLI, 4, "02\t0\n"), ":4: found index '02', expected 2"),
        ("WNLI.tsv", changed(WNLI, 2, "1\t0\n"), ":2: found index '1', expected 0"),
        ("WNLI.tsv", changed(WNLI, 4, "2\tentailment\n"), ":4: found prediction 'entailment', allowed are: 0, 1."),
        ("WNLI.tsv", changed(WNLI, 4, "2\t1.0\n"), ":4: found prediction '1.0', allowed are: 0, 1."),
        ("WNLI.tsv", changed(WNLI, 4, "2\t1 \n"), ":4: found prediction '1 '"),
        ("WNLI.tsv", changed(WNLI, 4, "2\t\n"), ":4: found prediction ''"),
        ("RTE.tsv", changed(RTE, 4, "2\tneutral\n"), ":4: found prediction 'neutral', allowed are: entailment, not_"),
        ("RTE.tsv", changed(RTE, 3001, "2999\t1\n"), ":3001: found prediction '1'"),
        (
            "STS-B.tsv",
            changed(STSB, 4, "2\tnan\n"),
            ":4: found prediction 'nan', allowed are: numbers from 0.000 to 5.",
        ),
        ("STS-B.tsv", changed(STSB, 4, "2\tinf\n"), ":4: found prediction 'inf'"),
        ("STS-B.tsv", changed(STSB, 4, "2\t5.001\n"), ":4: found prediction '5.001', allowed are: numbers from"),
        ("STS-B.tsv", changed(STSB, 4, "2\t-0.001\n"), ":4: found prediction '-0.001'"),
        ("STS-B.tsv", changed(STSB, 4, "2\t-0.000\n"), ":4: found prediction '-0.000'"),
        ("STS-B.tsv", changed(STSB, 4, "2\t2.5000\n"), ":4: found prediction '2.5000'"),
        ("STS-B.tsv", changed(STSB, 4, "2\t2.5\n"), ":4: found prediction '2.5', allowed are"),
        ("STS-B.tsv", changed(STSB, 4, "2\t2.5e0\n"), ":4: found prediction '2.5e0'"),
    ],
)
def test_broken_files_are_refused_by_line(tmp_path, name, text, message):
    path = samples.write_text(tmp_path / name, text)
    with pytest.raises(ValueError, match="^" + re.escape(str(path) + message)):
        check(path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "WNLI.tsv").write_bytes(WNLI.replace("\n5\t1", "\n5\t\u00e9").encode("latin-1"))
    with pytest.raises(ValueError, match=r"WNLI.tsv:7: byte 0xe9 is not UTF-8"):
        check(tmp_path / "WNLI.tsv")
    (tmp_path / "WNLI.tsv").write_bytes(WNLI.encode("utf-16"))
    with pytest.raises(ValueError, match=r"WNLI.tsv:1: byte 0xff is not UTF-8"):
        check(tmp_path / "WNLI.tsv")


def test_a_file_of_another_name_is_refused(tmp_path):
    task = get_task("wnli")
    for name in ("wnli.tsv", "WNLI.txt", "RTE.tsv"):
        path = samples.write_text(tmp_path / name, WNLI)
        with pytest.raises(ValueError, match=f"{name}: the leaderboard calls the file for wnli WNLI.tsv; rename it"):
            check_predictions(path, task, task.split("test"))
    with pytest.raises(FileNotFoundError, match="WNLI.tsv is not a file"):
        check(tmp_path / "WNLI.tsv")
