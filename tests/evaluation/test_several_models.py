# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp evaluate MODEL MODEL …`: each model, and the mean of their probabilities."""

import json
from types import SimpleNamespace

import pytest
import samples
import torch
from evaluation_samples import CLASSES, failure, logits_of, rows_file
from transformers import AutoConfig

from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.commands import calibrate, evaluate
from logitmix_nlp.evaluation.data.columns import Columns, store_columns
from logitmix_nlp.evaluation.study import Variants
from logitmix_nlp.functional import negative_log_likelihood


def write_model(folder, names=CLASSES, seed=0, **settings):
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    return samples.write_model(folder, len(names), seed=seed, **labels, **settings)


def test_the_mean_is_over_probabilities_of_classes_by_name(tmp_path, model, capsys):
    """Class ids of the second model are others than those of the first."""
    second = write_model(tmp_path / "second", seed=5)
    data, other = rows_file(tmp_path / "x.jsonl", 30), rows_file(tmp_path / "fit.jsonl", 30, 1)
    argv = [model, second, "--data", data, "--temperature", "--calibration_data", other, "--ood", other]
    argv += ["--n_bootstrap", 0, "--batch_size", 7, "--no_pictures", "--output_dir", tmp_path / "out"]
    assert evaluate.main([str(argument) for argument in argv]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())

    names = ("good", "bad", "fair")
    order = [CLASSES.index(name) for name in names]

    def members(path):
        logits, labels = logits_of(model, path)
        other_logits, other_labels = logits_of(second, path)
        assert [CLASSES[place] for place in other_labels] == [names[place] for place in labels]
        return [logits.double(), other_logits.double()[:, order]], labels

    (first, turned), labels = members(data)
    mean = ((first.softmax(-1) + turned.softmax(-1)) / 2).log()
    fit, fit_labels = members(other)
    fit.append(((fit[0].softmax(-1) + fit[1].softmax(-1)) / 2).log())
    expected = {}
    for name, scores, held_out in zip(
        ("model", "second", "mean of 2 models"), (first, turned, mean), fit, strict=True
    ):
        temperature = TemperatureScaler().fit(held_out, fit_labels).temperature
        assert found["temperature"][name]["temperature"] == pytest.approx(temperature, rel=1e-4)
        expected[f"{name}, as trained"] = scores
        expected[f"{name}, fitted T = {temperature:.4g}"] = scores / temperature
    assert list(found["figures"]) == list(expected)
    for name, scores in expected.items():
        figures = {figure: one["value"] for figure, one in found["figures"][name].items()}
        assert figures["accuracy"] == (scores.argmax(-1) == labels).double().mean().item()
        assert figures["nll"] == pytest.approx(negative_log_likelihood(scores, labels).item(), abs=1e-5)
    assert found["model"] == {"model": str(model), "second": str(second)}
    assert found["classes"] == list(names)
    outside = found["ood"][f"{tmp_path.name}/fit.jsonl"]
    assert "auroc_energy" in outside["model, as trained"]
    assert not [name for name in outside["mean of 2 models, as trained"] if "energy" in name]
    assert "mean of 2 models, as trained" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Evaluation: model, second" in page
    assert "mean of 2 models, as trained" in page


def test_by_hand():
    """Yes at .8, and at .6 by a model that names its classes the other way round: (.8 + .6) / 2 = .7."""
    probs = {"a": (["yes", "no"], [0.8, 0.2]), "b": (["no", "yes"], [0.4, 0.6])}
    models = {
        name: SimpleNamespace(class_names=names, logits=lambda _, row=row: torch.tensor([row]).log() + 3)
        for name, (names, row) in probs.items()
    }
    logits = Variants(models, {}).logits(lambda model: ())
    assert list(logits) == ["a", "b", "mean of 2 models"]
    assert logits["b"].softmax(-1)[0].tolist() == pytest.approx([0.6, 0.4])
    assert logits["mean of 2 models"].exp()[0].tolist() == pytest.approx([0.7, 0.3])


def test_stored_temperatures_are_the_members_own_and_equal_names_are_told_apart(tmp_path):
    one, two = write_model(tmp_path / "a" / "seed-1"), write_model(tmp_path / "b" / "seed-1", seed=3)
    data = rows_file(tmp_path / "x.jsonl", 40)
    assert calibrate.main([str(two), "--data", str(data)]) == 0
    stored = json.loads((two / "config.json").read_text())["calibration_temperature"]
    flags = ["--n_bootstrap", "0", "--no_pictures", "--output_dir", str(tmp_path / "out")]
    assert evaluate.main([str(one), str(two), "--data", str(data), *flags]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    plain, calibrated = f"{two}, as trained", f"{two}, stored T = {stored:.4g}"
    assert list(found["figures"]) == [f"{one}, as trained", plain, calibrated, "mean of 2 models, as trained"]
    assert found["temperature"] is None
    logits = torch.stack([logits_of(path, data)[0] for path in (one, two)])
    nll = negative_log_likelihood(logits.softmax(-1).mean(0).log(), logits_of(one, data)[1])
    assert found["figures"]["mean of 2 models, as trained"]["nll"]["value"] == pytest.approx(nll.item(), abs=1e-5)


def test_models_that_differ_are_refused(tmp_path, model, image_model, capsys):
    data, second = rows_file(tmp_path / "x.jsonl", 6), write_model(tmp_path / "second")
    other = write_model(tmp_path / "other", ("bad", "good", "best"))
    for models, flags, message in (
        ([model, other], [], "has the classes good, bad, fair; "),
        ([model, image_model], [], "vit images: give models of one kind"),
        ([model, second, second], [], "A model is given twice"),
        ([model, second], ["--mc_dropout", 3], "--mc_dropout is for one model, got 2"),
        ([model, second], ["--noise"], "--noise is for one model, got 2"),
    ):
        assert message in failure(evaluate, capsys, *models, "--data", data, *flags)


def test_models_of_other_columns_need_the_columns_named(tmp_path, capsys):
    models = [write_model(tmp_path / name, seed=seed) for seed, name in enumerate(("first", "second"))]
    for path, column in zip(models, ("title", "text"), strict=True):
        config = AutoConfig.from_pretrained(path)
        store_columns(config, Columns((column,), None, "label"))
        config.save_pretrained(path)
    data = samples.write_text(tmp_path / "x.csv", "title,text,label\na cat,a dog,bad\nit,he ran,good\n")
    flags = ["--data", data, "--n_bootstrap", 0, "--no_pictures", "--output_dir", tmp_path / "out"]
    assert "say with --text_column_names which both" in failure(evaluate, capsys, *models, *flags)
    argv = [*models, *flags, "--text_column_names", "text"]
    assert evaluate.main([str(argument) for argument in argv]) == 0
