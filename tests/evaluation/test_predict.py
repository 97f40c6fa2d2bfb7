# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp predict`: every row with what it came with, its class and all probabilities."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import samples
import torch
from datasets import Dataset, Features, Image, Value
from evaluation_samples import failure, logits_of, rows_file, texts
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from logitmix_nlp.commands import calibrate, predict
from logitmix_nlp.evaluation.predicted_rows import keep_columns

NAMES = ("good", "bad", "fair")
NEW = ["prediction", "entropy", *(f"probability_{name}" for name in NAMES)]


def predicted(model, data, target, *flags):
    assert predict.main([str(one) for one in (model, "--data", data, "--output_file", target, *flags)]) == 0
    if target.suffix == ".csv":
        with target.open(newline="") as file:
            return list(csv.DictReader(file))
    if target.suffix == ".jsonl":
        return [json.loads(line) for line in target.read_text().splitlines()]
    return Dataset.from_parquet(str(target)).to_list()


def check(rows, logits, names=NAMES):
    probs = logits.double().softmax(-1)
    found = torch.tensor([[float(row[f"probability_{name}"]) for name in names] for row in rows])
    assert (found - probs).abs().max() < 1e-5
    assert [row["prediction"] for row in rows] == [names[place] for place in probs.argmax(-1)]
    entropies = torch.tensor([float(row["entropy"]) for row in rows])
    assert (entropies + (probs * probs.log()).sum(-1)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows_keep_their_order_and_columns(tmp_path, model, kind):
    source = rows_file(tmp_path / "rows.jsonl", 23)
    rows = [{"nr": f"{k:03}", **json.loads(line)} for k, line in enumerate(source.read_text().splitlines())]
    data = samples.write_text(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = predicted(model, data, tmp_path / "deep" / f"out.{kind}", "--batch_size", 4)
    assert list(found[0]) == ["nr", "text", "label", *NEW]
    assert [{name: row[name] for name in ("nr", "text", "label")} for row in found] == rows
    check(found, logits_of(model, source)[0])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == [f"out.{kind}"]


def test_cells_of_a_csv_stay_as_they_are(tmp_path, model):
    lines = ["id,when,text,label", '007,2024-01-02,"a, fine ""cat""",01', "08,,it ran,1.0"]
    data = samples.write_text(tmp_path / "x.csv", "\n".join(lines) + "\n")
    found = predicted(model, data, tmp_path / "out.csv")
    own = [[row[name] for name in ("id", "when", "text", "label")] for row in found]
    assert own == [["007", "2024-01-02", 'a, fine "cat"', "01"], ["08", "", "it ran", "1.0"]]


def test_a_stored_temperature_is_applied(tmp_path, model, capsys):
    data = rows_file(tmp_path / "x.jsonl", 40)
    logits, _ = logits_of(model, data)
    check(predicted(model, data, tmp_path / "plain.csv"), logits)
    assert calibrate.main([str(model), "--data", str(data)]) == 0
    stored = json.loads((model / "config.json").read_text())["calibration_temperature"]
    capsys.readouterr()
    check(predicted(model, data, tmp_path / "calibrated.csv"), logits / stored)
    assert f"calibrated.csv, 40 rows, with the stored temperature {stored:.4g}." in capsys.readouterr().out


def test_pairs_and_the_columns_of_training(tmp_path, model):
    config = json.loads((model / "config.json").read_text())
    config["data_columns"] = {"text": ["reply", "post"], "image": None, "label": "mood"}
    samples.write_text(model / "config.json", json.dumps(config))
    pairs = list(zip(texts(9, 0), texts(9, 1), strict=True))
    rows = [{"post": post, "reply": reply, "more": "x y"} for reply, post in pairs]
    data = samples.write_text(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    with torch.no_grad():
        logits = torch.cat([network(**tokenizer(*pair, return_tensors="pt")).logits for pair in pairs])
    check(predicted(model, data, tmp_path / "out.jsonl"), logits)


def test_images_are_named_by_their_path(tmp_path, image_model, images):
    found = predicted(image_model, images, tmp_path / "out.csv", "--batch_size", 5)
    assert sorted(row["image"] for row in found) == sorted(map(str, images.rglob("*.png")))
    assert all(row["label"] in row["image"] for row in found)
    assert {row["prediction"] for row in found} <= {"LABEL_0", "LABEL_1", "LABEL_2"}
    total = sum(float(found[0][f"probability_LABEL_{k}"]) for k in range(3))
    assert total == pytest.approx(1, abs=1e-5)


def test_images_that_are_only_passed_on_may_be_missing():
    features = Features({"photo": Image(decode=False), "n": Value("int64")})
    rows = Dataset.from_dict({"photo": [{"bytes": None, "path": "a.png"}, None], "n": [1, 2]}, features=features)
    assert keep_columns(rows)[:] == {"photo": ["a.png", None], "n": [1, 2]}


def test_several_labels_per_row(tmp_path):
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: k for k, name in enumerate(NAMES)}}
    model = samples.write_model(tmp_path / "model", 3, problem_type="multi_label_classification", **names)
    data = rows_file(tmp_path / "x.jsonl", 12)
    logits = logits_of(model, data)[0].double()
    found = predicted(model, data, tmp_path / "out.parquet")
    for row, scores in zip(found, logits, strict=True):
        assert row["prediction"] == [name for name, score in zip(NAMES, scores, strict=True) if score > 0]
        probs = [row[f"probability_{name}"] for name in NAMES]
        assert probs == pytest.approx(scores.sigmoid().tolist(), abs=1e-5)
        entropy = -sum(p * np.log(p) + (1 - p) * np.log(1 - p) for p in probs)
        assert row["entropy"] == pytest.approx(entropy, abs=1e-4)


def test_predictions_of_two_models_in_one_file(tmp_path, model, capsys):
    data, one = rows_file(tmp_path / "x.jsonl", 5), tmp_path / "one.csv"
    predicted(model, data, one)
    argv = [model, "--data", one, "--output_file", tmp_path / "two.csv", "--text_column_names", "text"]
    assert "has the columns prediction, entropy, probability_good" in failure(predict, capsys, *argv)
    assert not (tmp_path / "two.csv").exists()
    two = predicted(model, one, tmp_path / "two.csv", "--text_column_names", "text", "--column_prefix", "b_")
    assert list(two[0])[2:] == [*NEW, *(f"b_{name}" for name in NEW)]


def test_what_cannot_be_written_is_said_before_the_work(tmp_path, model, capsys, monkeypatch):
    data = rows_file(tmp_path / "x.jsonl", 5)
    before = data.read_bytes()
    monkeypatch.setattr(predict, "model_of", None)
    for target, message in (
        ("out.xls", "unknown extension '.xls'; use one of: .csv, .jsonl, .parquet"),
        ("x.jsonl", "is the very file that is read"),
    ):
        assert message in failure(predict, capsys, model, "--data", data, "--output_file", tmp_path / target)
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in failure(predict, capsys, model, "--data", data, "--output_file", tmp_path / "folder.csv")
    assert data.read_bytes() == before


def test_a_regression_is_refused(tmp_path, capsys):
    model = samples.write_model(tmp_path / "model", 1)
    data = rows_file(tmp_path / "x.jsonl", 5)
    line = failure(predict, capsys, model, "--data", data, "--output_file", tmp_path / "out.csv")
    assert "has 1 output: a regression" in line


def test_the_command_is_listed():
    shown = subprocess.run(
        [sys.executable, "-m", "logitmix_nlp", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "predict     class and probabilities of every row of a file" in shown
