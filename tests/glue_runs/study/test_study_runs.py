# SPDX-License-Identifier: Apache-2.0
"""A tiny study from its file to its page, and one run in a process of its own."""

import csv
import io
import json

import numpy as np
import pytest
import study_samples as samples
import torch
from scipy.special import softmax

from glue_runs.study import command, run
from glue_runs.study.data import load_task
from glue_runs.study.rows import columns_of, read_ensembles, read_rows
from logitmix_nlp.evaluation.classifier import load_classifier


@pytest.fixture
def executed(monkeypatch):
    """Names of the runs that are executed, in this process instead of their own."""
    found = []

    def here(runs, workers, program):
        for one in runs:
            found.append((one.plan["method"], one.plan["learning_rate"], one.plan["seed"]))
            yield one, None if run.main(one.folder / program.file) == 0 else "failed"

    monkeypatch.setattr(command, "execute_locally", lambda *args: here(*args))
    return found


@pytest.fixture
def study(pets, tmp_path):
    """`study(*flags)` is the command on the tiny study; its files lie in `tmp_path`."""
    path = samples.write_study(tmp_path, samples.study_values(pets))

    def call(*flags, output_dir="runs"):
        where = ["--output_dir", str(tmp_path / output_dir), "--data_dir", str(pets)]
        return command.main([str(path), *where, *flags])

    return call


def test_from_the_file_to_the_page(study, executed, tmp_path, capsys):
    assert study() == 0
    choice = [("vanilla", 0.01, 1), ("vanilla", 0.02, 1)]
    rate = executed[2][1]
    assert executed == [*choice, ("longer", rate, 1), ("vanilla", rate, 2), ("longer", rate, 2)]
    assert study("--collect", "true") == 0
    rows = read_rows(tmp_path / "results.csv")
    assert len(rows) == 5
    for row in rows.values():
        assert 0 <= row["score"] == row["accuracy"] <= 1
        assert row["after_nll"] <= 5
        assert {"auroc_energy", "misspelt_accuracy", "temperature", "train_seconds", "digest"} <= set(row)
        assert len(columns_of(tmp_path / "results.csv", row["plan"])["label"]) == 30
    kept = [np.load(path) for path in sorted((tmp_path / "runs").glob(f"pets/4/longer/{rate:g}/*/logits.npz"))]
    mean = np.mean([softmax(one["test"].astype(np.float64), axis=1) for one in kept], axis=0)
    averaged = read_ensembles(tmp_path / "results.csv")["pets", "4", "longer", rate]
    assert averaged["members"] == len(kept) == 2
    assert averaged["nll"] == pytest.approx(-np.log(mean[np.arange(30), kept[0]["test_labels"]]).mean(), abs=1e-6)
    assert averaged["accuracy"] == (mean.argmax(axis=1) == kept[0]["test_labels"]).mean()
    assert study("--report", "true") == 0
    assert "### (a) Is longer better?" in (tmp_path / "README.md").read_text()
    assert not list((tmp_path / "runs").rglob("*.safetensors"))
    before = (tmp_path / "results.csv").read_bytes()
    assert study("--collect", "true") == 0
    assert (tmp_path / "results.csv").read_bytes() == before

    executed.clear()
    assert study() == 0
    assert executed == []
    assert study(output_dir="elsewhere") == 0  # results.csv holds them all
    assert executed == []
    capsys.readouterr()
    assert study("--repeat", "2", output_dir="again") == 0
    assert "2 of 2 repeated runs gave the same logits, bit for bit." in capsys.readouterr().err
    assert study("--repeat", "6", output_dir="again") == 2


def test_a_repeated_run_with_other_logits_is_named(study, executed, tmp_path, capsys):
    assert study() == 0
    assert study("--collect", "true") == 0
    path = tmp_path / "results.csv"
    lines = list(csv.reader(io.StringIO(path.read_text())))
    place = lines[0].index("digest")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([lines[0], *([*line[:place], "0" * 16, *line[place + 1 :]] for line in lines[1:])])
    assert study("--repeat", "1", output_dir="again") == 1
    assert "other logits: pets, 4, " in capsys.readouterr().err


def test_what_was_cut_short_goes_on(study, executed, tmp_path, monkeypatch):
    original, failing = run.execute, []

    def execute(folder, plan, data_dir):
        if plan["seed"] == 2 and not failing:
            failing.append(folder)
            raise ValueError("out of paper")
        return original(folder, plan, data_dir)

    monkeypatch.setattr(run, "execute", execute)
    assert study() == 1
    executed.clear()
    assert study() == 0
    assert [name[0] for name in executed] == ["vanilla"]
    assert json.loads((failing[0] / "result.json").read_text())["plan"]["seed"] == 2


def test_a_run_in_a_process_of_its_own_is_the_same(study, pets, tmp_path):
    values = samples.study_values(pets)
    values["blocks"] = values["blocks"][:1]
    values["blocks"][0]["choose"]["learning_rates"] = [0.01]
    (one,) = samples.planned(samples.write_study(tmp_path, values), {}, 0, tmp_path / "runs")
    assert study() == 0
    (tmp_path / "here").mkdir()
    assert one.result()["digest"] == run.execute(tmp_path / "here", one.plan, pets)["digest"]


def test_logits_keep_the_order_of_the_rows(pets):
    classifier = load_classifier(str(pets / "model"), device="cpu", max_length=16)
    texts = load_task(samples.study_values(pets)["tasks"]["pets"], pets).test.texts
    assert len({len(text) for (text,) in texts}) > 3
    alone = torch.cat([classifier.logits(classifier.batches([text], 1)) for text in texts]).numpy()
    assert np.allclose(run.ordered_logits(classifier, texts, 4), alone, atol=1e-5)


def test_misspelt_rows_belong_to_their_labels(pets):
    values = samples.study_values(pets)
    rows = load_task(values["tasks"]["pets"], pets)
    sets = run.evaluation_sets({"evaluation": values["evaluation"]}, rows)
    texts, labels = sets["misspelt"]
    assert sets == run.evaluation_sets({"evaluation": values["evaluation"]}, rows)
    assert len(texts) == len(labels) == 20
    numbers = {text.split()[-1]: label for (text,), label in zip(rows.test.texts, rows.ids(rows.test), strict=True)}
    kept = [
        (text.split()[-1], label) for (text,), label in zip(texts, labels, strict=True) if text.split()[-1] in numbers
    ]
    assert len(kept) > 15
    assert all(numbers[number] == label for number, label in kept)
    assert any(row not in rows.test.texts for row in texts)
    assert sets["outside"] == (rows.outside, None)


@pytest.mark.parametrize(
    ("flags", "message"), [(["--workers", "0"], "--workers must be at least 1"), (["--report", "true"], "no rows yet")]
)
def test_wrong_flags_are_told_in_one_line(study, flags, message, capsys):
    assert study(*flags) == 2
    assert message in capsys.readouterr().err


def test_a_study_that_is_not_there(tmp_path, capsys):
    assert command.main([str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
