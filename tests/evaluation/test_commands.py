# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp evaluate` and `calibrate`, from the command line to their files."""

import json
import re

import pytest
import samples
import tiny
import torch
from evaluation_samples import failure, logits_of, rows_file, texts
from PIL import Image
from safetensors.torch import load_file, save_file

from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.commands import calibrate, evaluate
from logitmix_nlp.evaluation.study import SHOWN
from logitmix_nlp.functional import expected_calibration_error, negative_log_likelihood, ood_metrics


def test_figures_of_a_text_model_are_those_of_its_logits(tmp_path, model, capsys):
    data, other = rows_file(tmp_path / "x.jsonl"), rows_file(tmp_path / "fit.jsonl", 30, 1)
    outside = rows_file(tmp_path / "far" / "o.jsonl", 25, 2)
    argv = [model, "--data", data, "--temperature", "--calibration_data", other, "--ood", outside, "--noise"]
    argv += ["--perturb", 0.5, "--mc_dropout", 3, "--n_bootstrap", 40, "--n_bins", 10, "--batch_size", 7]
    assert evaluate.main([str(argument) for argument in [*argv, "--output_dir", tmp_path / "out"]]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    logits, labels = logits_of(model, data)
    scaler = TemperatureScaler().fit(*logits_of(model, other))
    fitted = f"fitted T = {scaler.temperature:.4g}"
    assert list(found["figures"]) == ["as trained", fitted, "MC dropout"]
    assert found["temperature"]["temperature"] == pytest.approx(scaler.temperature, rel=1e-4)
    for name, scores in (("as trained", logits), (fitted, logits / scaler.temperature)):
        figures = {figure: one["value"] for figure, one in found["figures"][name].items()}
        assert list(figures) == list(SHOWN)
        assert figures["accuracy"] == (logits.argmax(-1) == labels).double().mean().item()
        ece = expected_calibration_error(scores, labels, 10, from_logits=True).item()
        assert figures["ece"] == pytest.approx(ece, abs=1e-5)
        assert figures["nll"] == pytest.approx(negative_log_likelihood(scores, labels).item(), abs=1e-5)
        by_class = found["per_class"][name]
        assert list(by_class) == ["good", "bad", "fair"]
        for place, one in enumerate(by_class.values()):
            rows = labels == place
            assert one["rows"] == rows.sum()
            assert one["accuracy"] == (logits.argmax(-1) == labels)[rows].double().mean().item()
        mean_error = sum(one["ece"] for one in by_class.values()) / 3
        assert figures["classwise_ece"] == pytest.approx(mean_error, abs=1e-9)
        assert figures["balanced_accuracy"] == pytest.approx(sum(one["accuracy"] for one in by_class.values()) / 3)
        assert figures["macro_f1"] == pytest.approx(sum(one["f1"] for one in by_class.values()) / 3)
    out_logits, _ = logits_of(model, outside)
    expected = {name: value.item() for name, value in ood_metrics(logits, out_logits).items()}
    assert found["ood"]["far/o.jsonl"]["as trained"] == pytest.approx(expected, abs=1e-5)
    assert set(found["ood"]) == {"far/o.jsonl", "random tokens"}
    assert set(found["shift"]) == {"none", "words changed, 50%"}
    assert found["shift"]["none"]["as trained"]["ece"] == found["figures"]["as trained"]["ece"]["value"]
    shown = capsys.readouterr().out
    assert re.search(rf"ECE ↓ +{found['figures']['as trained']['ece']['value']:.4f}", shown)
    assert f"fitted on {other}: 30 rows" in shown
    page = (tmp_path / "out" / "report.html").read_text()
    assert "prefers-color-scheme: dark" in page
    assert re.search(r"good \(\d+ rows\)", page)
    assert "far/o.jsonl: 25 rows; input from “text”" in page
    assert not re.search(r"""(src|srcset|href)=["'](?!data:|#)""", page)
    for name in ("reliability", "risk_coverage", "confidence"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (tmp_path / "out" / f"{name}.svg").read_bytes()
    with Image.open(tmp_path / "out" / "confidence.png") as picture:
        assert picture.width < 2 * picture.height  # three panels, two in a row


def test_without_other_rows_half_of_the_data_is_held_out(tmp_path, model, capsys):
    data = rows_file(tmp_path / "x.jsonl", 41)
    options = [
        "--temperature",
        "--n_bootstrap",
        "0",
        "--seed",
        "3",
        "--no_pictures",
        "--output_dir",
        str(tmp_path / "out"),
    ]
    assert evaluate.main([str(model), "--data", str(data), *options]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["rows"] == 21
    assert found["temperature"]["report"]["rows"] == 20
    assert "fitted on the other half of" in capsys.readouterr().out
    assert found["figures"]["as trained"]["ece"]["low"] is None


def test_a_stored_temperature_is_shown_beside_the_plain_model(tmp_path, model):
    data, out = rows_file(tmp_path / "x.jsonl"), tmp_path / "out"
    assert calibrate.main([str(model), "--data", str(data)]) == 0
    stored = json.loads((model / "config.json").read_text())["calibration_temperature"]
    options = ["--n_bootstrap", "0", "--no_pictures", "--output_dir", str(out)]
    assert evaluate.main([str(model), "--data", str(data), *options]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    figures = json.loads((out / "report.json").read_text())["figures"]
    assert list(figures) == ["as trained", f"stored T = {stored:.4g}"]
    logits, labels = logits_of(model, data)
    expected = negative_log_likelihood(logits / stored, labels).item()
    assert figures[f"stored T = {stored:.4g}"]["nll"]["value"] == pytest.approx(expected, abs=1e-5)


def test_images_noise_adversaries_and_rescaling(tmp_path, image_model, images):
    argv = [image_model, "--data", images, "--noise", "--fgsm", 0.02, "--rescale_mixup", 1, "--train_data", images]
    argv += ["--n_bootstrap", 0, "--batch_size", 5, "--no_pictures", "--output_dir", tmp_path / "out"]
    assert evaluate.main([str(argument) for argument in argv]) == 0
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["rows"] == 12
    assert list(found["figures"]) == ["as trained", "mixup rescaling"]
    assert set(found["ood"]) == {"Gaussian noise"}
    plain, attacked = (found["shift"][name]["as trained"]["nll"] for name in ("none", "FGSM, ε = 0.02"))
    assert attacked > plain


def test_calibrate_stores_what_the_scaler_finds(tmp_path, model, capsys):
    data = rows_file(tmp_path / "x.jsonl")
    before = json.loads((model / "config.json").read_text())
    assert calibrate.main([str(model), "--data", str(data), "--dry_run"]) == 0
    assert json.loads((model / "config.json").read_text()) == before
    assert calibrate.main([str(model), "--data", str(data)]) == 0
    scaler = TemperatureScaler().fit(*logits_of(model, data))
    stored = json.loads((model / "config.json").read_text())
    assert stored.pop("calibration_temperature") == pytest.approx(scaler.temperature, rel=1e-4)
    assert stored == before
    shown = capsys.readouterr().out
    assert re.search(rf"NLL, nats +{scaler.report['nll_before']:.4f} +{scaler.report['nll_after']:.4f}", shown)
    assert calibrate.main([str(model), "--remove"]) == 0
    assert json.loads((model / "config.json").read_text()) == before
    assert calibrate.main([str(model), "--remove"]) == 0
    assert "no temperature was stored" in capsys.readouterr().out


def test_a_temperature_at_the_bound_is_not_stored(tmp_path, capsys):
    names = ("good", "bad", "fair")
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: k for k, name in enumerate(names)}}
    model = samples.write_model(tmp_path / "model", 3, seed=4, **labels)
    logits, _ = logits_of(model, rows_file(tmp_path / "x.jsonl", 12))
    assert len(set(logits.argmax(-1).tolist())) > 1
    lines = [
        json.dumps({"text": text, "label": names[k]}) + "\n"
        for text, k in zip(texts(12, 0), logits.argmax(-1), strict=True)
    ]
    right = samples.write_text(tmp_path / "right.jsonl", "".join(lines))
    assert "is the bound of the search and was not written" in failure(calibrate, capsys, model, "--data", right)
    assert "calibration_temperature" not in (model / "config.json").read_text()


def test_wrong_data_is_one_line(tmp_path, model, capsys):
    labels = samples.write_text(tmp_path / "l.csv", "text,label\na cat,superb\nit,bad\n")
    line = failure(evaluate, capsys, model, "--data", labels)
    assert "the data has the labels bad, superb; the model knows good, bad, fair" in line
    assert "is not a file" in failure(evaluate, capsys, model, "--data", tmp_path / "none.csv")
    empty = samples.write_text(tmp_path / "e.csv", "text,label\n")
    assert "no rows after the header" in failure(evaluate, capsys, model, "--data", empty)
    out_of_range = samples.write_text(tmp_path / "n.csv", "text,label\na,0\nb,3\n")
    assert "found the class 3, but the model has 3" in failure(evaluate, capsys, model, "--data", out_of_range)
    assert "--data is missing" in failure(calibrate, capsys, model)


def test_matplotlib_is_asked_for_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = failure(evaluate, capsys, tmp_path / "model", "--data", "x.csv")
    assert "Plots need matplotlib: pip install logitmix-nlp[plots], or give --no_pictures" in line


def test_wrong_flags_are_one_line(tmp_path, model, image_model, images, capsys):
    data = rows_file(tmp_path / "x.jsonl", 6)
    for flags, message in (
        (["--fgsm", "0.1"], "--fgsm is for classifiers of images"),
        (["--rescale_mixup", "1", "--train_data", data], "--rescale_mixup is for classifiers of images"),
        (["--calibration_data", data], "no meaning without --temperature"),
        (["--temperature", "--calibration_data", data], "is the very data of --data"),
        (["--perturb", "1.5"], r"--perturb must lie in [0, 1], got 1.5"),
        (["--batch_size", "0"], "--batch_size must be at least 1"),
        (["--n_bins", "0"], "n_bins must be at least 1"),
        (["--n_bootstrap", "5"], "--n_bootstrap must be 0 or at least 40, and at most 1,000,000, got 5"),
        (["--max_seq_length", "0"], "max_seq_length must be at least 1"),
    ):
        assert message in failure(evaluate, capsys, model, "--data", data, *flags)
    assert "--perturb is for classifiers of texts" in failure(
        evaluate, capsys, image_model, "--data", images, "--perturb", 0.1
    )
    assert "--remove takes neither" in failure(calibrate, capsys, model, "--remove", "--data", data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_labels": 1}, "has 1 output: a regression has no confidence"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "trained for multi_label_classification"),
    ],
)
def test_models_of_other_kinds_are_refused(tmp_path, capsys, settings, message):
    samples.write_model(tmp_path / "model", **settings)
    data = rows_file(tmp_path / "x.jsonl", 4)
    for command in (evaluate, calibrate):
        assert message in failure(command, capsys, tmp_path / "model", "--data", data)


def test_a_model_without_its_tokenizer_is_refused(tmp_path, model, capsys):
    for path in [*model.glob("*token*"), *model.glob("vocab*")]:
        path.unlink()
    line = failure(evaluate, capsys, model, "--data", rows_file(tmp_path / "x.jsonl", 4))
    assert "holds no tokenizer with a vocabulary" in line


def test_models_without_a_head_or_with_damaged_weights_are_refused(tmp_path, model, capsys):
    data = rows_file(tmp_path / "x.jsonl", 4)
    weights = load_file(model / "model.safetensors")
    for value, message in (
        (float("nan"), "classifier.weight holds NaN or infinite weights"),
        (3e38, "the logits of 4 of 4 rows are NaN or infinite"),
    ):
        broken = {**weights, "classifier.weight": torch.full_like(weights["classifier.weight"], value)}
        save_file(broken, model / "model.safetensors", {"format": "pt"})
        assert message in failure(evaluate, capsys, model, "--data", data)
    save_file(
        {k: v for k, v in weights.items() if "classifier" not in k}, model / "model.safetensors", {"format": "pt"}
    )
    assert "lacks weights (classifier.bias, classifier.weight)" in failure(evaluate, capsys, model, "--data", data)
    tiny.bert().bert.save_pretrained(model)
    assert "has no head for classifying texts, words or images" in failure(evaluate, capsys, model, "--data", data)
    assert "nowhere" in failure(evaluate, capsys, tmp_path / "nowhere", "--data", data)


def test_the_seed_decides_on_the_resamples_of_the_intervals(tmp_path, model):
    """Equal seeds, equal intervals; another seed, others; the figures themselves stay."""

    def figures(seed):
        argv = [model, "--data", rows_file(tmp_path / "x.jsonl"), "--n_bootstrap", 40, "--no_pictures"]
        argv += ["--seed", seed, "--output_dir", tmp_path / "out"]
        assert evaluate.main([str(argument) for argument in argv]) == 0
        return json.loads((tmp_path / "out" / "report.json").read_text())["figures"]["as trained"]

    first, again, other = figures(1), figures(1), figures(2)
    assert first == again
    for name in ("accuracy", "ece", "nll", "brier"):
        assert first[name]["value"] == other[name]["value"]
        assert (first[name]["low"], first[name]["high"]) != (other[name]["low"], other[name]["high"])
