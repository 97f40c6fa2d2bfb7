# SPDX-License-Identifier: Apache-2.0
import json
import math
import os

import numpy as np
import pytest
import samples
import tiny
import torch
import zoo
from PIL import Image
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, ViTImageProcessor, pipeline

from logitmix_nlp.calibration.metrics import compute_metrics_for
from logitmix_nlp.calibration.pipelines import (
    CalibratedImageClassificationPipeline,
    CalibratedTextClassificationPipeline,
)
from logitmix_nlp.calibration.stored_temperature import (
    TEMPERATURE_KEY,
    calibrated_logits,
    scale_outputs,
    stored_temperature,
    write_temperature,
)

ROWS = tiny.rows(10)


@pytest.mark.parametrize("return_dict", [True, False])
def test_the_trainer_divides_logits_before_the_loss_and_the_metrics(tmp_path, return_dict):
    model = tiny.bert(return_dict=return_dict)
    plain = tiny.trainer(tmp_path, ROWS, model=model).predict(ROWS)
    model.config.calibration_temperature = 2.5
    trainer = tiny.trainer(tmp_path, ROWS, model=model, eval_dataset=ROWS)
    trainer.compute_metrics = compute_metrics_for()
    found = trainer.predict(ROWS)
    np.testing.assert_array_equal(found.predictions, plain.predictions / np.float32(2.5))
    np.testing.assert_array_equal(found.predictions.argmax(-1), plain.predictions.argmax(-1))
    nll = F.cross_entropy(torch.tensor(plain.predictions).double() / 2.5, torch.tensor(plain.label_ids)).item()
    assert found.metrics["test_nll"] == pytest.approx(nll, abs=1e-6)
    assert found.metrics["test_loss"] == pytest.approx(nll, abs=1e-6)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(nll, abs=1e-6)
    unlabelled = [{name: value for name, value in row.items() if name != "labels"} for row in ROWS]
    trainer.data_collator = lambda rows: {
        name: value for name, value in tiny.collate([{**row, "labels": 0} for row in rows]).items() if name != "labels"
    }
    np.testing.assert_array_equal(trainer.predict(unlabelled).predictions, found.predictions)


def test_training_removes_a_stored_temperature_and_says_so(tmp_path, caplog):
    model = tiny.bert()
    model.config.calibration_temperature = 2.0
    trainer = tiny.trainer(tmp_path, ROWS, model=model)
    trainer.evaluate(ROWS)
    assert stored_temperature(model.config) == 2
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    trainer.train()
    assert "calibration_temperature=2.0 was fitted to the weights before this training and is removed" in caplog.text
    trainer.save_model(tmp_path / "model")
    assert TEMPERATURE_KEY not in json.loads((tmp_path / "model" / "config.json").read_text())
    caplog.clear()
    trainer.train()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_outputs_beside_the_logits_stay():
    logits, hidden = torch.tensor([[2.0, 4.0]]), torch.tensor([[3.0]])
    scaled = scale_outputs((logits, hidden), 2.0)
    assert scaled[0].tolist() == [[1.0, 2.0]]
    assert scaled[1] is hidden
    assert scale_outputs(None, 2.0) is None
    assert scale_outputs(logits, 1.0) is logits
    assert logits.tolist() == [[2.0, 4.0]]


def test_the_config_keeps_it_on_its_way_to_disk_and_back(tmp_path):
    model = tiny.bert()
    model.config.calibration_temperature = 1.7
    model.save_pretrained(tmp_path)
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    logits = torch.randn(4, 3)
    assert torch.equal(calibrated_logits(found, logits), logits / 1.7)
    assert calibrated_logits(tiny.bert(), logits) is logits


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, "2", True, [2.0]])
def test_a_broken_temperature_is_refused(value):
    config = tiny.bert().config
    config.calibration_temperature = value
    with pytest.raises(ValueError, match="must be a finite number above 0, got"):
        stored_temperature(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 1}, "a regression of 1 outputs"),
        ({"problem_type": "multi_label_classification"}, "multi_label"),
    ],
)
def test_other_kinds_of_models_have_no_temperature(settings, message):
    config = tiny.bert(**settings).config
    config.calibration_temperature = 2.0
    with pytest.raises(ValueError, match=message):
        stored_temperature(config)


def test_writing_changes_one_key_and_no_other(tmp_path):
    samples.write_model(tmp_path, custom={"kept": "ünchanged"})
    path = tmp_path / "config.json"
    path.chmod(0o640)
    before = json.loads(path.read_text(encoding="utf-8"))
    assert write_temperature(tmp_path, 1.25) is None
    assert json.loads(path.read_text(encoding="utf-8")) == {**before, TEMPERATURE_KEY: 1.25}
    assert AutoConfig.from_pretrained(tmp_path).calibration_temperature == 1.25
    assert write_temperature(tmp_path, 0.5) == 1.25
    assert write_temperature(tmp_path, None) == 0.5
    assert json.loads(path.read_text(encoding="utf-8")) == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    samples.write_model(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_temperature(tmp_path, 2.0)
    assert (tmp_path / "config.json").read_bytes() == before
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="written into a model's own folder"):
        write_temperature(tmp_path, 2.0)
    for text, message in (("{", "not valid JSON"), ("[1]", "holds list, not an object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            write_temperature(tmp_path, 2.0)
    with pytest.raises(ValueError, match="finite and above 0, got 0"):
        write_temperature(tmp_path, 0)


def test_the_text_pipeline_gives_calibrated_probabilities(tmp_path):
    samples.write_model(tmp_path, num_labels=3)
    write_temperature(tmp_path, 3.0)
    classify = pipeline("text-classification", str(tmp_path), pipeline_class=CalibratedTextClassificationPipeline)
    model, inputs = classify.model, AutoTokenizer.from_pretrained(tmp_path)("a fine cat", return_tensors="pt")
    with torch.no_grad():
        expected = (model(**inputs).logits[0].double() / 3).softmax(-1)
    found = {one["label"]: one["score"] for one in classify("a fine cat", top_k=None)}
    assert [found[model.config.id2label[k]] for k in range(3)] == pytest.approx(expected.tolist(), abs=1e-6)
    assert classify("a fine cat")[0]["score"] == pytest.approx(expected.max().item(), abs=1e-6)


def test_the_image_pipeline_gives_calibrated_probabilities():
    model = zoo.build("vit").eval()
    model.config.calibration_temperature = 4.0
    processor = ViTImageProcessor(size={"height": 16, "width": 16})
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    classify = pipeline(
        "image-classification", model, image_processor=processor, pipeline_class=CalibratedImageClassificationPipeline
    )
    with torch.no_grad():
        expected = (model(**processor(picture, return_tensors="pt")).logits[0].double() / 4).softmax(-1)
    found = {one["label"]: one["score"] for one in classify(picture, top_k=3)}
    assert [found[model.config.id2label[k]] for k in range(3)] == pytest.approx(expected.tolist(), abs=1e-6)
