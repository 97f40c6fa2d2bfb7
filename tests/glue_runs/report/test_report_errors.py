# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a folder of runs is said in one line."""

import json
import shutil
import sys

import pytest
import run_samples

from glue_runs.report.command import main


@pytest.fixture
def root(tmp_path):
    """A grid of two finished runs."""
    for method in ("vanilla", "mixup"):
        run_samples.write_run(tmp_path / "grid", "rte", method, 1)
    return tmp_path / "grid"


def error(capsys, *argv) -> str:
    """The one line on stderr; nothing is written."""
    assert main([str(word) for word in argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_missing_and_empty_folders(tmp_path, capsys):
    assert "no such folder" in error(capsys, tmp_path / "none")
    assert "no finished run" in error(capsys, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"task": "rte"}'])
def test_a_broken_result_is_named(root, capsys, text):
    path = root / "rte" / "mixup" / "seed-1" / "result.json"
    path.write_text(text)
    assert str(path) in error(capsys, root)


@pytest.mark.parametrize(("name", "value"), [("metrics", None), ("config", []), ("seed", "one")])
def test_a_result_of_wrong_types_is_named(root, capsys, name, value):
    path = root / "rte" / "mixup" / "seed-1" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert str(path.parent) in error(capsys, root)


def test_a_run_that_is_there_twice(root, capsys):
    shutil.copytree(root / "rte" / "mixup", root / "copy")
    line = error(capsys, root)
    assert str(root / "copy" / "seed-1") in line
    assert "rte, mixup, seed 1; remove one." in line


def test_runs_that_are_not_of_glue(root, capsys):
    path = root / "rte" / "mixup" / "seed-1" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "task": "digits"}))
    assert "'digits' is no GLUE task, nor one of your own texts" in error(capsys, root)


@pytest.mark.parametrize("kind", [{"eval_precision": 0.5}, {"eval_micro_f1": 0.5}, {"eval_spearmanr": 0.5}])
def test_own_runs_that_are_not_of_one_class_or_score_per_text(root, capsys, kind):
    path = root / "rte" / "mixup" / "seed-1" / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "task": "own", "metrics": {**result["metrics"], **kind}}))
    line = error(capsys, root)
    assert str(path.parent) in line
    assert "compares runs with one class per text, or with a score" in line


@pytest.mark.parametrize("text", ["{", "[]", '{"methods": "vanilla"}', '{"labels": []}'])
def test_a_broken_grid_json(root, capsys, text):
    (root / "grid.json").write_text(text)
    assert f"{root / 'grid.json'}: " in error(capsys, root)


def test_runs_on_other_rows(root, capsys):
    run_samples.write_run(root, "rte", "logitmix", 1, rows=61)
    assert "were evaluated on different rows" in error(capsys, root)


def test_predictions_that_are_not_the_runs(root, capsys):
    run_samples.write_run(root, "rte", "logitmix", 1, eval_accuracy=0.25)
    line = error(capsys, root)
    assert "eval_accuracy is 0.2500, but the kept predictions give" in line


def test_broken_predictions_and_logs(root, capsys):
    folder = root / "rte" / "mixup" / "seed-1"
    kept = (folder / "eval_predictions.parquet").read_bytes()
    (folder / "eval_predictions.parquet").write_bytes(b"PAR1")
    assert f"{folder}: eval_predictions.parquet is broken" in error(capsys, root)
    (folder / "eval_predictions.parquet").write_bytes(kept)
    (folder / "trainer_state.json").write_text("{}")
    assert f"{folder / 'trainer_state.json'} is damaged" in error(capsys, root, "--n_bootstrap", 100)


def test_other_bins_than_the_runs_have(root, capsys):
    run_samples.write_run(root, "rte", "logitmix", 1, config={"n_bins": 10})
    assert "was scored with 10 bins" in error(capsys, root)


def test_too_few_resamples(root, capsys):
    assert "--n_bootstrap must be at least 100" in error(capsys, root, "--n_bootstrap", 99)


def test_no_matplotlib(root, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install logitmix-nlp[plots]" in error(capsys, root, "--n_bootstrap", 100)
    assert not (root / "report.md").exists()
