# SPDX-License-Identifier: Apache-2.0
"""What a card says of a run: names of the data, metrics, method, metadata for machines."""

import math

import card_runs
import glue_rows
import numpy as np
import pytest
import tiny
import torch
import yaml
from datasets import NamedSplit
from huggingface_hub import ModelCard, metadata_load, parse_eval_result_entries
from transformers import EvalPrediction
from transformers.trainer_utils import EvalLoopOutput

from glue_runs.runs.arguments import DataArguments, ModelArguments
from glue_runs.runs.text_data import describe_task
from glue_runs.runs.texts import Texts
from glue_runs.tasks.glue import get_task
from glue_runs.tasks.scores import make_compute_metrics
from logitmix_nlp.calibration.metrics import calibration_metrics
from logitmix_nlp.functional import bootstrap_interval, expected_calibration_error, negative_log_likelihood
from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from logitmix_nlp.functional.mixing_loss import LOSS_TERMS
from logitmix_nlp.publishing.card import CardOptions, DatasetFacts, write_card
from logitmix_nlp.publishing.card.collect import evaluate_predictions
from logitmix_nlp.publishing.card.facts import describe_dataset, is_local_path, name_datasets
from logitmix_nlp.publishing.card.method import TERMS, describe_method
from logitmix_nlp.publishing.card.results import classification_metrics, number_of_resamples
from logitmix_nlp.publishing.card.write import sections, split_card
from logitmix_nlp.publishing.hub.public_text import public_command
from logitmix_nlp.training.citations import BIBTEX
from logitmix_nlp.training.methods import MIX_METHODS


def classified(rows: int = 60, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows)
    return (rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]).astype(np.float32), labels


def mnli(**flags):
    """Card options of MNLI from made-up rows."""
    rows, task = glue_rows.hub_data("mnli"), get_task("mnli")
    args = DataArguments(task_name="mnli", **flags)
    run = Texts(ModelArguments("ann/base"), args, None)
    run.description, run.rows = describe_task(task), rows
    return run.card_options()


def benchmark_results(folder):
    """What a leaderboard reads of a run on GLUE."""
    return parse_eval_result_entries(yaml.safe_load((folder / ".eval_results/logitmix-nyu-mll-glue.yaml").read_text()))


# ---- Metrics ----


def test_intervals_are_those_of_the_figures_of_resampled_rows():
    logits, labels = classified()
    found = {metric.name: metric for metric in classification_metrics(logits, labels, n_bins=10, n_resamples=80)}
    assert {name: metric.value for name, metric in found.items()} == {
        "accuracy": (logits.argmax(1) == labels).mean(),
        **calibration_metrics(logits, labels, n_bins=10),
    }
    for name, figure, options in (
        ("nll", negative_log_likelihood, {}),
        ("ece", expected_calibration_error, {"n_bins": 10, "method": "basic"}),
    ):
        expected = bootstrap_interval(
            figure,
            logits,
            labels,
            n_resamples=80,
            generator=torch.Generator().manual_seed(0),
            from_logits=True,
            **options,
        )
        assert found[name].low == pytest.approx(max(expected.low, 0), abs=1e-12)
        assert found[name].high == pytest.approx(expected.high, abs=1e-12)


def test_no_interval_promises_certainty():
    logits = np.array([[3.0, 0.0]] * 40, dtype=np.float32)
    accuracy = classification_metrics(logits, np.zeros(40, dtype=int), n_resamples=50)[0]
    assert (accuracy.value, accuracy.low, accuracy.high) == (1.0, None, None)
    assert number_of_resamples(60, 20) == 0
    assert number_of_resamples(2_000_000, 1_000_000) == 200


def test_a_regression_has_correlations_with_intervals_and_no_calibration(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 5, 50).astype(np.float32)
    predictions = (labels + rng.normal(size=50)).astype(np.float32)[:, None]
    compute = make_compute_metrics(("pearson", "spearmanr"), True)
    output = EvalLoopOutput(predictions, labels, compute(EvalPrediction(predictions, labels)), 50)
    facts = DatasetFacts("GLUE STS-B", "nyu-mll/glue", "stsb", "validation")
    found = evaluate_predictions(output, facts, REGRESSION, CardOptions(n_resamples=100), compute_metrics=compute)
    assert [metric.name for metric in found.metrics] == ["pearson", "spearmanr", "combined_score"]
    assert found.metrics[0].value == np.corrcoef(predictions[:, 0], labels)[0, 1]
    assert all(metric.low < metric.value < metric.high for metric in found.metrics)
    card = write_card(
        tmp_path,
        facts=card_runs.facts(
            kind=REGRESSION, evaluations=(found,), missing=None, labels=("score",), main_metric="combined_score"
        ),
    )
    text, metadata = card.read_text(), metadata_load(card)
    assert "ECE" not in text.replace("ECE and its relatives are for classifiers", "")
    assert "Calibration was not measured" in text
    assert "softmax" not in text
    assert metadata["metrics"] == ["pearsonr", "spearmanr", "combined_score"]
    assert metadata["datasets"] == ["nyu-mll/glue"]
    (entry,) = parse_eval_result_entries(
        yaml.safe_load((tmp_path / ".eval_results/logitmix-nyu-mll-glue.yaml").read_text())
    )
    assert (entry.dataset_id, entry.task_id, entry.value) == ("nyu-mll/glue", "stsb", found.metrics[2].value)


def test_a_score_that_fails_on_a_resample_has_no_interval():
    logits, labels = classified()

    def compute(prediction):
        if len(set(prediction.label_ids[:3].tolist())) < 2:
            raise ValueError("one class")
        return {"score": 1.0}

    output = EvalLoopOutput(logits, labels, {"score": 1.0, "accuracy": 7.0, "list": [1]}, 60)
    found = evaluate_predictions(
        output, DatasetFacts("d"), SINGLE_LABEL, CardOptions(n_resamples=50), compute_metrics=compute
    )
    assert [metric.name for metric in found.metrics] == ["score", "accuracy", "ece", "oe", "nll", "brier"]
    assert found.metrics[0].low is None
    assert found.metrics[1].value == (logits.argmax(1) == labels).mean()


def test_several_labels_per_row_are_scored_but_not_calibrated(tmp_path):
    logits, labels = classified()[0], np.eye(3)[classified()[1]]
    output = EvalLoopOutput(logits, labels, {"exact_match": 0.5}, 60)
    evaluation = evaluate_predictions(output, DatasetFacts("d"), MULTI_LABEL, CardOptions(n_resamples=0))
    assert [metric.name for metric in evaluation.metrics] == ["exact_match"]
    card = write_card(tmp_path, facts=card_runs.facts(kind=MULTI_LABEL, evaluations=(evaluation,), missing=None))
    assert "logits.sigmoid()" in card.read_text()
    assert "Calibration was not measured" in card.read_text()


# ---- Names of the data ----


def test_matched_and_mismatched_mnli_are_two_entries_of_the_hub_s_dataset(tmp_path):
    options = mnli(n_bins=12)
    assert (options.text_pair, options.n_bins, options.language, options.main_metric) == (True, 12, "en", "accuracy")
    logits, labels = classified()
    output = EvalLoopOutput(logits, labels, {}, 60)
    evaluations = tuple(
        evaluate_predictions(output, data, SINGLE_LABEL, CardOptions(n_resamples=0))
        for data in options.evaluation_data.values()
    )
    card = write_card(tmp_path, facts=card_runs.facts(evaluations=evaluations, missing=None, text_pair=True))
    (index,) = metadata_load(card)["model-index"]
    places = [
        (result["dataset"]["type"], result["dataset"]["config"], result["dataset"]["split"])
        for result in index["results"]
    ]
    assert places == [("nyu-mll/glue", "mnli", f"validation_{name}") for name in ("matched", "mismatched")]
    assert ModelCard.load(card).data.to_dict() == metadata_load(card)
    entries = parse_eval_result_entries(
        yaml.safe_load((tmp_path / ".eval_results/logitmix-nyu-mll-glue.yaml").read_text())
    )
    assert [entry.task_id for entry in entries] == ["mnli_matched", "mnli_mismatched"]
    assert '"text_pair": "A second one."' in card.read_text()


def test_part_of_a_split_and_local_files_are_no_benchmark_results(tmp_path):
    (tmp_path / ".eval_results").mkdir()
    (tmp_path / ".eval_results" / "mine.yaml").write_text("[]")
    (tmp_path / ".eval_results" / "logitmix-old.yaml").write_text("[]")
    logits, labels = classified()
    output = EvalLoopOutput(logits, labels, {}, 60)
    for flags in ({"max_eval_samples": 60}, {"data_dir": "/home/zoe9/glue"}):
        data = mnli(**flags).evaluation_data["matched"]
        evaluation = evaluate_predictions(output, data, SINGLE_LABEL, CardOptions(n_resamples=0))
        card = write_card(tmp_path, facts=card_runs.facts(evaluations=(evaluation,), missing=None))
        assert [path.name for path in (tmp_path / ".eval_results").iterdir()] == ["mine.yaml"]
        assert "zoe9" not in card.read_text()
        (result,) = metadata_load(card)["model-index"][0]["results"]
        assert result["dataset"].get("args") == ({"rows": 60} if flags.keys() == {"max_eval_samples"} else None)
    assert data.name == "GLUE MNLI (local files)"
    assert metadata_load(card)["model-index"][0]["results"][0]["dataset"]["type"] == "local-data"


def test_a_dataset_from_the_hub_says_so_itself():
    rows = glue_rows.hub_data("cola")["validation"]
    assert describe_dataset(rows) == DatasetFacts("local data")
    rows._split = NamedSplit("validation")
    rows.info.download_checksums = {"hf://datasets/nyu-mll/glue@bcdcba79d07bc864/cola/validation-0.parquet": {}}
    rows.info.config_name = "cola"
    expected = DatasetFacts("nyu-mll/glue", "nyu-mll/glue", "cola", "validation", "bcdcba79d07bc864", complete=False)
    assert describe_dataset(rows) == expected
    rows.info.download_checksums = {"/home/zoe9/dev.csv": {}}
    assert describe_dataset(rows).name == "dev.csv (local data)"
    assert describe_dataset([{"labels": 1}], "other") == DatasetFacts("local data", split="other")


def test_names_given_to_create_model_card_win():
    found = {"a": DatasetFacts("x", split="s"), "b": DatasetFacts("x", split="s")}
    named = name_datasets(found, ["nyu-mll/glue"], ["A", "B"], ["mnli"])
    assert named["b"] == DatasetFacts("B", "nyu-mll/glue", "mnli", "s b")
    with pytest.raises(ValueError, match=r"one for each of the 2 evaluation datasets \(a, b\), got 3"):
        name_datasets(found, ["a", "b", "c"])


# ---- Method, command, text ----


def test_lamix_is_told_with_its_shares(tmp_path):
    method = describe_method(
        tiny.arguments(tmp_path, mix_method="lamix"), ["input"], SINGLE_LABEL, measured=True, rescaled=False
    )
    assert method.equation == "L = 0.5 · L_mix + 0.5 · L_soft"
    assert ("rows are mixed", "half and half; the λ above is that of their labels alone") in method.settings


def test_every_method_and_term_can_be_told(tmp_path):
    assert set(TERMS) == set(LOSS_TERMS)
    for name in MIX_METHODS:
        args = tiny.arguments(tmp_path, mix_method=name)
        method = describe_method(args, ["input"], SINGLE_LABEL, measured=True, rescaled=True)
        one_step = len(args.loss_terms) - (args.mix_schedule == "alternate")  # L_cls or L_mix, in turn
        assert method.equation.count("·") == len(method.terms) == one_step
        assert all(entry.count("{") == entry.count("}") for entry in method.citations)
    assert len(set(BIBTEX.values())) == len(BIBTEX)


def test_the_equation_has_the_weights_that_were_used(tmp_path):
    args = tiny.arguments(
        tmp_path, mix_method="logitmix_c", cls_weight=2, sim_weight=0.25, mix_prob=0.5, penalty_weight=0.1
    )
    method = describe_method(args, ["input"], SINGLE_LABEL, measured=False, rescaled=False)
    assert method.equation == "L = 1 · L_mix + 2 · L_cls + 0.25 · L_sim − 0.1 · H"
    assert ("share of batches that are mixed", "0.5; the others take a plain step, L_cls") in method.settings
    assert [entry.split("{")[1].split(",")[0] for entry in method.citations] == [
        "bang2022logitmix", "pereyra2017regularizing", "yun2019cutmix",
    ]  # fmt: skip


def test_weights_and_losses_of_ones_own_are_told(tmp_path):
    def focal(logits, labels):
        """Not called here."""

    args = tiny.arguments(tmp_path, class_weights="balanced")
    options = {"measured": False, "rescaled": False}
    method = describe_method(args, ["input"], SINGLE_LABEL, **options, row_loss=focal)
    assert ("class_weights", "balanced") in method.settings
    assert ("L_cls", "row_loss (focal) of the rows as they are") in method.terms
    args = tiny.arguments(tmp_path, pos_weight=2)
    assert ("pos_weight", "[2.0]") in describe_method(args, ["input"], SINGLE_LABEL, **options).settings


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["python", "/home/zoe9/x.py", "--lr", "1e-5"], "python x.py --lr 1e-5"),
        (["a", "--hub_token", "q7x", "--tokenizer_name", "X"], "a --tokenizer_name X"),
        (["a", "--token=q7x", "--api-key", "q7x", "c d"], "a 'c d'"),
        (["a", "--data_dir=/mnt/zoe9/glue/", "~/out", r"C:\\Users\\zoe9\\m"], "a --data_dir=glue out m"),
        (["a", "--cache_dir", "/x", "--puzzle_options", '{"t_size": 4}'], "a --puzzle_options '{\"t_size\": 4}'"),
        (["a", "file:///home/zoe9/x", "--d=../../zoe9/z/", "https://zoe9:q7x@h/p?token=q7x"], "a x --d=z https://h/p"),
        (["a", '--o={"b": ["/mnt/zoe9/c"], "api_key": "q7x"}'], 'a \'--o={"b": ["c"]}\''),
        (["HF_TOKEN=q7x", "HF_HOME=/home/zoe9", "a", "--token", "--n=1", "--token"], "HF_HOME=zoe9 a --n=1"),
        (["a", "hf_abcdefghijklmnopqrstuvwxyz01234567", "nyu-mll/glue"], "a '<token>' nyu-mll/glue"),
    ],
)
def test_commands_without_secrets_and_places(argv, shown):
    assert public_command(argv).replace("<token>", "'<token>'").replace("''", "'") == shown


def test_names_of_models_and_folders(tmp_path):
    assert not any(map(is_local_path, ("bert-base-uncased", "ann/base")))
    assert all(is_local_path(name) for name in (str(tmp_path), "a/b/c", "./x", "C:\\x"))


def test_markup_in_names_is_text(tmp_path):
    labels = ("<b>|", "`x`", "<!-- logitmix:end summary -->")
    facts = card_runs.facts(labels=labels, model_name="a*b*", command="echo '<!-- logitmix:begin x -->'")
    card = write_card(tmp_path, facts=facts)
    text = card.read_text()
    assert "# a\\*b\\*" in text
    assert "&lt;b\\>\\|, \\`x\\`" in text
    assert len(sections(split_card(text)[1])) == 7
    write_card(tmp_path, facts=facts)
    assert card.read_text() == text


def test_what_is_not_known_is_not_said(tmp_path):
    card = write_card(tmp_path, facts=card_runs.facts(processor=None))
    text = card.read_text()
    assert "There are no results: nobody asked." in text
    assert "Nothing was measured" in text
    assert "No tokenizer is stored with this model" in text
    assert "no command line is known" in text
    assert set(metadata_load(card)) == {"library_name", "pipeline_tag", "tags"}


def test_figures_that_json_cannot_hold_are_strings(tmp_path):
    logits, labels = np.array([[1000.0, -1000.0]] * 3), np.array([1, 1, 1])
    output = EvalLoopOutput(logits, labels, {"odd": math.inf}, 3)
    evaluation = evaluate_predictions(output, DatasetFacts("d"), SINGLE_LABEL, CardOptions())
    card = write_card(tmp_path, facts=card_runs.facts(evaluations=(evaluation,), missing=None))
    assert metadata_load(card)["model-index"][0]["results"][0]["metrics"][0]["value"] == "inf"
    assert "| odd | ∞ | – |" in card.read_text()
    assert ModelCard.load(card).data.to_dict() == metadata_load(card)
