# SPDX-License-Identifier: Apache-2.0
import pytest

from glue_runs.submission import write_predictions
from glue_runs.tasks import get_task


@pytest.mark.parametrize(
    ("name", "predictions", "written"),
    [
        ("cola", ["acceptable", "unacceptable"], ["1", "0"]),
        ("sst2", ["positive", "negative"], ["1", "0"]),
        ("mrpc", ["not_equivalent", "equivalent"], ["0", "1"]),
        ("rte", ["not_entailment", "entailment"], ["not_entailment", "entailment"]),
        ("stsb", [-0.2, 5.7], ["0.000", "5.000"]),
        ("stsb", [1.23456, 4], ["1.235", "4.000"]),
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
