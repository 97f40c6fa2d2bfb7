# SPDX-License-Identifier: Apache-2.0
"""`evaluate` and `calibrate` keep apart what must be apart, and say what is wrong before the work."""

import json
import shutil

import numpy as np
import pytest
import samples
from evaluation_samples import failure, rows_file
from PIL import Image

from logitmix_nlp.commands import calibrate, evaluate
from logitmix_nlp.evaluation.classifier import Classifier

QUICK = ["--n_bootstrap", "0", "--no_pictures"]


def evaluated(folder, model, data, *flags) -> dict:
    argv = [model, "--data", data, *flags, "--output_dir", folder, *QUICK]
    assert evaluate.main([str(argument) for argument in argv]) == 0
    return json.loads((folder / "report.json").read_text())


@pytest.fixture
def no_work(monkeypatch):
    """Fail if the model runs."""
    monkeypatch.setattr(Classifier, "logits", lambda *args: pytest.fail("the model ran"))


@pytest.mark.usefixtures("no_work")
def test_a_temperature_is_not_judged_on_its_own_rows(tmp_path, model, capsys, monkeypatch):
    data = rows_file(tmp_path / "x.jsonl", 8)
    shutil.copy(data, tmp_path / "copy.jsonl")
    monkeypatch.chdir(tmp_path)
    for other, message in (("./x.jsonl", "is the very data of --data"), ("copy.jsonl", "All 8 rows of copy.jsonl")):
        flags = ["--temperature", "--calibration_data", other]
        assert message in failure(evaluate, capsys, model, "--data", data, *flags)


def test_shared_rows_are_left_out_of_the_fit_and_few_are_warned_about(tmp_path, model, capsys):
    data, other = rows_file(tmp_path / "x.jsonl", 8), rows_file(tmp_path / "y.jsonl", 12, 1)
    other.write_text(other.read_text() + "".join(data.read_text().splitlines(True)[:3]))
    found = evaluated(tmp_path / "out", model, data, "--temperature", "--calibration_data", other)
    assert found["temperature"]["report"]["rows"] == 12
    assert "y.jsonl: 12 rows, without 3 that are in --data too" in found["temperature"]["fitted_on"]
    assert calibrate.main([str(model), "--data", str(other), "--dry_run"]) == 0
    errors = capsys.readouterr().err
    assert "WARNING: 3 rows of" in errors
    assert "fitted to 12 rows of" in errors
    assert "fitted to 15 rows of" in errors


def test_no_set_takes_the_place_of_another(tmp_path, model):
    data = rows_file(tmp_path / "x.jsonl", 6)
    others = [rows_file(tmp_path / name / "test" / "x.jsonl", 4 + k, k) for k, name in enumerate("ab")]
    found = evaluated(
        tmp_path / "out", model, data, "--ood", *others, "--noise", "--perturb", 0.12, 0.124, 0.004, "--mc_dropout", 2
    )
    assert list(found["ood"]) == ["test/x.jsonl", str(others[1]), "random tokens"]
    assert list(found["shift"]) == ["none", "words changed, 12%", "words changed, 12.4%", "words changed, 0.4%"]
    by_variant = found["ood"]["test/x.jsonl"]
    assert {"auroc_energy", "fpr95_energy"} <= set(by_variant["as trained"])
    assert not [name for name in by_variant["MC dropout"] if "energy" in name]
    assert by_variant["MC dropout"].keys() < by_variant["as trained"].keys()


def test_columns_of_rows_from_elsewhere_can_be_named(tmp_path, model, capsys):
    data = samples.write_text(tmp_path / "x.csv", "text,label\na cat,bad\na dog,good\nit ran,fair\n")
    other = samples.write_text(tmp_path / "o.csv", "title,body,label\na cat,it ran on,x\na dog,he said,y\n")
    assert "Choose with --ood_text_column_names" in failure(evaluate, capsys, model, "--data", data, "--ood", other)
    found = evaluated(tmp_path / "out", model, data, "--ood", other, "--ood_text_column_names", "body")
    assert list(found["ood"]) == [f"{tmp_path.name}/o.csv"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "2 rows; input from “body”" in page
    for flag in ("--ood_text_column_names", "--ood_label_column_name"):
        assert "column 'bdy'" in failure(evaluate, capsys, model, "--data", data, "--ood", other, flag, "bdy")


@pytest.mark.usefixtures("no_work")
def test_what_is_wrong_is_said_before_the_work(tmp_path, model, image_model, images, capsys):
    data, still = rows_file(tmp_path / "x.jsonl", 6), samples.write_model(tmp_path / "still", 3)
    for flags, message in (
        (["--ood", data, tmp_path / "." / "x.jsonl"], "--ood names a source twice"),
        (["--perturb", 0.1, 0.1], "there is a 'words changed, 10%' already"),
        (["--output_dir", data], "x.jsonl is a file. Name another"),
        (["--seed", -1], "--seed must be at least 0"),
        (["--device", "gpu"], "device 'gpu' cannot be used here"),
        (["--ood_label_column_name", "topic"], "no meaning without --ood"),
    ):
        assert message in failure(evaluate, capsys, model, "--data", data, *flags)
    named = ["--label_column_name", "text"]  # the labels are read before the trial
    assert "the data has the labels" in failure(evaluate, capsys, still, "--data", data, *named)
    ids = samples.write_text(tmp_path / "n.csv", "text,label\na cat,0\nit,1\n")
    assert "no dropout module" in failure(evaluate, capsys, still, "--data", ids, "--mc_dropout", 3)
    assert "--fgsm must lie in [0, 1], got 4.0" in failure(
        evaluate, capsys, image_model, "--data", images, "--fgsm", 0.1, 4
    )
    assert "written into a model's own folder" in failure(calibrate, capsys, "nobody/nothing", "--data", data)


def test_rescaling_takes_the_shares_of_the_training_labels(tmp_path, image_model, images, monkeypatch):
    """All of its rows count, whatever `--max_eval_samples` says; Eq. 15 adds `(1 - 1 / theta) ybar`."""
    for place in range(6):
        Image.fromarray(np.full((20, 20, 3), 40 * place, dtype=np.uint8)).save(
            images / "class 2" / f"more {place}.png"
        )
    seen = {}
    monkeypatch.setattr(
        "logitmix_nlp.evaluation.study.rescaled_logits",
        lambda model, batches, **given: seen.update(given) or model(**next(iter(batches))).logits.detach(),
    )
    flags = ["--rescale_mixup", 1, "--train_data", images, "--max_eval_samples", 5]
    evaluated(tmp_path / "out", image_model, images, *flags)
    assert seen["label_mean"].tolist() == pytest.approx([4 / 18, 4 / 18, 10 / 18])


def test_pictures_of_an_earlier_report_go_and_other_files_stay(tmp_path, model):
    data, out = rows_file(tmp_path / "x.jsonl", 5), tmp_path / "out"
    mine = samples.write_text(out / "confidence.png", "mine")
    evaluated(out, model, data)
    assert mine.read_text() == "mine"
    samples.write_text(out / "notes.txt", "mine")
    evaluated(out, model, data)
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "report.html", "report.json"]


def test_a_card_is_said_to_be_older_than_the_temperature(tmp_path, model, capsys):
    data = rows_file(tmp_path / "x.jsonl", 20)
    for card, expected in ((False, 0), (True, 1)):
        if card:
            samples.write_text(model / "README.md", "# A card")
        assert calibrate.main([str(model), "--data", str(data)]) == 0
        assert capsys.readouterr().out.count("README.md are those without it") == expected
