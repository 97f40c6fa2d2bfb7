# SPDX-License-Identifier: Apache-2.0
"""The card of a trained model: its figures are those of the saved weights, and its code runs."""

import logging
import math
import shutil
import sys
from pathlib import Path

import card_runs
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from logitmix_nlp.calibration.metrics import calibration_metrics
from logitmix_nlp.commands.push import outdated_card
from logitmix_nlp.publishing.card import CardOptions

COMMAND = ["python", "/home/zoe9/train.py", "--token", "q7x", "--seed=5"]
OPTIONS = CardOptions(n_bins=10, n_resamples=100, command=COMMAND)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer after training, with its card; the best checkpoint is not the last one."""
    trainer = card_runs.text_trainer(tmp_path_factory.mktemp("card"))
    trainer.card_options = OPTIONS
    trainer.train()
    assert trainer.state.best_global_step == 3 < trainer.state.global_step == 6
    trainer.save_model()
    trainer.create_model_card(language="en", tags="demo")
    return trainer


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of what the run left."""
    return shutil.copytree(trained.args.output_dir, tmp_path / "out")


def values(folder):
    (model,) = metadata_load(folder / "README.md")["model-index"]
    (result,) = model["results"]
    return {metric["type"]: metric["value"] for metric in result["metrics"]}


def test_figures_are_those_of_the_saved_weights(folder):
    rows = card_runs.rows(card_runs.ROWS)
    logits, labels = card_runs.predicted(folder, rows)
    expected = {
        "share_of_first": float(np.float32((logits.argmax(-1) == 0).mean())),
        "accuracy": float((logits.argmax(-1) == labels).mean()),
        **calibration_metrics(logits, labels, n_bins=10),
    }
    assert values(folder) == expected
    best, _ = card_runs.predicted(folder / "checkpoint-3", rows)
    last, _ = card_runs.predicted(folder / "checkpoint-6", rows)
    assert np.array_equal(logits, best)
    assert calibration_metrics(last, labels, n_bins=10)["nll"] != expected["nll"]
    assert "step 3 of 6, the best checkpoint by `eval_loss`" in (folder / "README.md").read_text()


def test_figures_are_plain_floats_and_no_field_is_lost_in_the_hub_s_own_parser(folder):
    card = ModelCard.load(folder / "README.md")
    metadata = metadata_load(folder / "README.md")
    assert card.data.to_dict() == metadata
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert eval_results_to_model_index(name, results) == metadata["model-index"]
    assert {type(result.metric_value) for result in results} == {float}
    assert ModelCard(card.content).content == card.content
    assert metadata["tags"] == ["demo", "generated_from_trainer", "logitmix-nlp", "calibration", "logitmix"]
    assert (metadata["pipeline_tag"], metadata["language"]) == ("text-classification", ["en"])
    assert {"license", "base_model", "datasets"} & set(metadata) == set()


def test_code_of_the_card_runs_and_gives_the_probabilities(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names = {}
    pieces = card_runs.code_of((folder / "README.md").read_text())
    assert len(pieces) == 2
    for piece in pieces:
        exec(piece, names)
    (ranked,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    ranked = eval(ranked)
    ranked = ranked[0] if isinstance(ranked[0], list) else ranked
    expected = dict(zip(names["model"].config.id2label.values(), names["probabilities"][0].tolist(), strict=True))
    assert {entry["label"]: entry["score"] for entry in ranked} == pytest.approx(expected, abs=1e-6)


def test_a_card_tells_neither_places_nor_people_nor_tokens(folder, trained):
    text = (folder / "README.md").read_text()
    for secret in ("secret-user", str(folder.parent), "/home", "zoe9", "q7x", trained.args.output_dir):
        assert secret not in text
    assert "python train.py --seed=5" in text
    assert "| base model | `base`, a local folder |" in text


def test_the_recipe_holds_what_matters_and_what_was_changed(folder):
    text = (folder / "README.md").read_text()
    for line in ("optimizer steps taken | 6", "rows per step | 8", "learning\\_rate | 0.01", "weight\\_decay | 0.125"):
        assert f"| {line} |" in text
    assert "Beta(α, α) with α = 3, drawn for each row" in text
    assert "L = 1 · L_mix + 1 · L_cls + 1 · L_sim" in text
    assert "bang2022logitmix" in text
    assert "disable\\_tqdm" not in text


def test_the_diagram_lies_beside_the_card(folder):
    assert (folder / "figures" / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert f"ECE {values(folder)['ece']:.4f}" in (folder / "README.md").read_text().split("![")[1]


def test_weights_that_were_just_evaluated_are_not_evaluated_again(trained, monkeypatch):
    monkeypatch.setattr(trained, "evaluation_loop", lambda *_: pytest.fail("evaluated again"))
    before = values_of(trained)
    trained.create_model_card()
    assert values_of(trained) == before


def test_other_weights_are_evaluated_again(trained):
    before, state = values_of(trained), {name: x.clone() for name, x in trained.model.state_dict().items()}
    trained.model.load_state_dict({name: 2 * x for name, x in state.items()})
    trained.create_model_card()
    assert values_of(trained)["nll"] != before["nll"]
    trained.model.load_state_dict(state)
    trained.evaluate()  # fills what the card is written from
    trained.predict = None
    trained.create_model_card()
    del trained.predict
    assert values_of(trained) == before


def values_of(trainer):
    return values(Path(trainer.args.output_dir))


def test_an_evaluation_that_fails_costs_the_results_only(tmp_path, caplog):
    def broken(prediction):
        raise RuntimeError("no such hf_abcdefghijklmnopqrstuvwxyz01234567")

    plain = {"eval_strategy": "no", "load_best_model_at_end": False}
    trainer = card_runs.text_trainer(tmp_path, compute_metrics=broken, **plain)
    with caplog.at_level(logging.WARNING):
        trainer.create_model_card()
    text = (tmp_path / "out" / "README.md").read_text()
    assert "There are no results: the evaluation failed (RuntimeError: no such" in text
    assert "The model card has no results: the evaluation failed" in caplog.text
    assert "hf_abc" not in text + caplog.text
    assert "model-index" not in metadata_load(tmp_path / "out" / "README.md")
    assert not (tmp_path / "out" / "figures").exists()


def test_without_matplotlib_there_is_no_diagram(trained, folder, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(trained.args, "output_dir", str(folder))
    with caplog.at_level(logging.WARNING):
        trained.create_model_card()
    assert "The model card has no reliability diagram. Plots need matplotlib" in caplog.text
    assert "![" not in (folder / "README.md").read_text()
    assert not (folder / "figures" / "reliability.png").exists()


def test_only_the_first_process_writes(trained, folder, monkeypatch):
    monkeypatch.setattr(trained.args, "output_dir", str(folder / "other"))
    monkeypatch.setattr(trained, "is_world_process_zero", lambda: False)
    trained.create_model_card()
    assert not (folder / "other").exists()


def test_a_stored_temperature_is_told_with_code_that_runs(trained, folder, monkeypatch, capsys):
    monkeypatch.setattr(trained.args, "output_dir", str(folder))
    trained.model.config.calibration_temperature = 2.0
    trained.save_model(_internal_call=True)
    trained.create_model_card()
    del trained.model.config.calibration_temperature
    text = (folder / "README.md").read_text()
    assert "A temperature of 2.0000" in text
    assert "about logits divided by the temperature below" in text
    assert "guo2017calibration" in text
    metrics = metadata_load(folder / "README.md")["model-index"][0]["results"][0]["metrics"]
    assert {metric["args"]["temperature"] for metric in metrics} == {2.0}
    assert outdated_card(folder) is None
    monkeypatch.chdir(folder)
    names = {}
    for piece in card_runs.code_of(text):
        exec(piece, names)
    assert torch.equal(names["probabilities"], (names["logits"] / 2).softmax(-1))
    assert math.isclose(names["probabilities"].sum().item(), 1, rel_tol=1e-6)
    capsys.readouterr()
