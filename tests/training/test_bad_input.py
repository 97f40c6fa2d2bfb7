# SPDX-License-Identifier: Apache-2.0
"""Whatever cannot work says what was given, what is allowed and what to do, before anything is trained or lost."""

import dataclasses
import json
import pickle

import pytest
import tiny
import torch
from transformers import BertForMaskedLM, BertForTokenClassification, BertModel, TrainingArguments

from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.training.mix_settings import MixSettings, settings_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix_method": "mixdown"}, "Unknown mix_method 'mixdown'. Available: vanilla, mixup, logitmix"),
        ({"mix_alpha": 0.0}, "mix_alpha must be a finite number above 0, got 0.0"),
        ({"mix_alpha": -1.0}, "mix_alpha"),
        ({"mix_alpha": float("nan")}, "mix_alpha"),
        ({"mix_weight": -0.1}, "at least 0 and not all 0, got mix_weight=-0.1, cls_weight=1.0, sim_weight=1.0"),
        ({"mix_weight": 0, "cls_weight": 0, "sim_weight": 0}, "not all 0"),
        ({"mix_method": "vanilla", "cls_weight": 0.0}, "not all 0"),
        ({"sim_norm": "l1"}, "sim_norm must be one of mse, l2, got 'l1'"),
        ({"mix_prob": 1.5}, r"mix_prob must be in \[0, 1\], got 1.5"),
        ({"mix_warmup": "cosine"}, "mix_warmup must be one of none, step, grad, got 'cosine'"),
        ({"mix_site": "pooler"}, "L_sim is identically zero there. Choose 'layer:K' or 'embeddings'"),
    ],
)
def test_impossible_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.arguments(tmp_path, **options)


def test_a_preset_fills_only_what_was_left_unset(tmp_path):
    args = tiny.arguments(tmp_path, mix_method="mixup", cls_weight=0.5, mix_site="layer:2")
    assert (args.mix_weight, args.cls_weight, args.sim_weight) == (1.0, 0.5, 0.0)
    assert (args.mix_alpha, args.mix_prob, args.mix_site) == (3.0, 1.0, "layer:2")
    paper = tiny.arguments(tmp_path)
    assert (paper.mix_method, paper.mix_weight, paper.cls_weight, paper.sim_weight) == ("logitmix", 1.0, 1.0, 1.0)


def test_a_method_set_later_fills_anew_what_it_had_filled(tmp_path):
    args = tiny.arguments(tmp_path, mix_alpha=0.4)
    args.mix_method = "mixup"
    assert (args.mix_weight, args.cls_weight, args.sim_weight, args.mix_alpha) == (1.0, 0.0, 0.0, 0.4)
    args.sim_weight = 0.5
    args.mix_method = "logitmix"
    assert (args.mix_weight, args.cls_weight, args.sim_weight, args.mix_alpha) == (1.0, 1.0, 0.5, 0.4)
    with pytest.raises(ValueError, match="Unknown mix_method 'foo'"):
        args.mix_method = "foo"
    with pytest.raises(ValueError, match="mix_method='vanilla' does not mix"):
        dataclasses.replace(tiny.arguments(tmp_path), mix_method="vanilla")


def test_arguments_survive_pickling_and_a_round_trip_through_json(tmp_path):
    args = tiny.arguments(tmp_path, mix_method="mixup", mix_alpha=0.4)
    again = pickle.loads(pickle.dumps(args))
    assert again.loss_weights == args.loss_weights
    again.mix_method = "logitmix"
    assert (again.sim_weight, again.mix_alpha) == (1.0, 0.4)
    assert json.loads(args.to_json_string())["mix_weight"] == 1.0


@pytest.mark.parametrize(
    ("metric", "greater"), [("ece", False), ("eval_oe", False), ("nll", False), ("accuracy", True), ("loss", False)]
)
def test_calibration_errors_are_better_when_lower(tmp_path, metric, greater):
    args = tiny.arguments(
        tmp_path, metric_for_best_model=metric, load_best_model_at_end=True, eval_strategy="steps", eval_steps=1,
        save_strategy="steps", save_steps=1,
    )  # fmt: skip
    assert args.greater_is_better is greater


def test_the_pooler_is_a_site_for_mixup(tmp_path):
    assert tiny.arguments(tmp_path, mix_method="mixup", mix_site="pooler").mix_site == "pooler"


def test_an_unknown_site_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="no mix_site 'layer:9'. Available: embeddings, layer:0"):
        tiny.trainer(tmp_path, tiny.rows(4), mix_site="layer:9")


def test_arguments_changed_by_a_search_are_checked_at_train_start(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(4))
    run.args.mix_alpha = -2.0
    with pytest.raises(ValueError, match="mix_alpha"):
        run.train()


@pytest.mark.filterwarnings("ignore:Label smoothing is not compatible")
@pytest.mark.parametrize(("labels", "kind"), [(1, "regression"), (3, "multi")])
def test_label_smoothing_needs_classes(tmp_path, labels, kind):
    config = {"problem_type": "multi_label_classification"} if kind == "multi" else {}
    with pytest.raises(ValueError, match="label_smoothing=0.1 has no meaning for"):
        tiny.trainer(
            tmp_path, tiny.rows(4, kind=kind), tiny.bert(num_labels=labels, **config), label_smoothing_factor=0.1
        )


@pytest.mark.parametrize(
    ("label", "labels", "message"),
    [
        (3, 3, r"must be in \[0, 3\), got 3 in row 1"),
        (-1, 3, r"must be in \[0, 3\), got -1 in row 1"),
        (float("nan"), 1, "must be finite, got nan in row 1"),
    ],
)
def test_impossible_labels_name_their_row(tmp_path, label, labels, message):
    data = tiny.rows(4, kind="regression" if labels == 1 else "single")
    data[1]["labels"] = label
    with pytest.raises(ValueError, match=message):
        tiny.trainer(tmp_path, data, tiny.bert(num_labels=labels)).train()


def test_missing_labels_list_the_columns(tmp_path):
    def without_labels(rows):
        return {name: value for name, value in tiny.collate(rows).items() if name != "labels"}

    run = tiny.trainer(tmp_path, tiny.rows(4))
    run.data_collator = without_labels
    with pytest.raises(ValueError, match="no 'labels', only input_ids, token_type_ids, attention_mask"):
        run.train()


@pytest.mark.parametrize("model_class", [BertForMaskedLM, BertModel, BertForTokenClassification])
@pytest.mark.parametrize("method", ["vanilla", "logitmix"])
def test_a_model_with_another_head_is_told_which_to_load(tmp_path, model_class, method):
    model = model_class(tiny.bert().config)
    with pytest.raises(ValueError, match=r"AutoModelForSequenceClassification"):
        tiny.trainer(tmp_path, tiny.rows(4), model, mix_method=method).train()


def test_labels_of_an_evaluation_are_checked_too(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(4), mix_method="vanilla")
    with pytest.raises(ValueError, match=r"must be in \[0, 3\), got 7 in row 1"):
        run.evaluate([tiny.rows(4)[0], {**tiny.rows(4)[1], "labels": 7}])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ([3], r"must be in \[0, 3\), got -1 in row 3"),
        ([4, 5], r"must be in \[0, 3\), got -1 in row 0"),
        ([0, 1, 2, 3], "Rows of label -1 come before rows with classes"),
        ([0], r"must be in \[0, 3\), got -1 in row 0"),
    ],
)
def test_a_few_missing_labels_are_no_test_set(tmp_path, missing, message):
    """Batches of four: one row of a batch, a last batch, a first batch."""
    data = [{**row, "labels": -1 if n in missing else row["labels"]} for n, row in enumerate(tiny.rows(6))]
    run = tiny.trainer(tmp_path, data, mix_method="vanilla")
    for look in (run.evaluate, run.predict):
        with pytest.raises(ValueError, match=message):
            look(data)
    assert "test_loss" not in run.predict([{**row, "labels": -1} for row in data]).metrics


def test_test_sets_without_labels_are_predicted(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(4))
    output = run.predict([{**row, "labels": -1} for row in tiny.rows(6)])
    assert output.predictions.shape == (6, 3)
    assert "test_loss" not in output.metrics


def test_models_that_return_tuples_train_and_evaluate(tmp_path):
    data = tiny.rows(6)
    expected = tiny.trainer(tmp_path, data).predict(data)
    run = tiny.trainer(tmp_path, data, tiny.bert(return_dict=False), num_train_epochs=0)
    found = run.predict(data)
    assert found.metrics["test_loss"] == pytest.approx(expected.metrics["test_loss"], abs=1e-6)
    assert abs(found.predictions - expected.predictions).max() < 1e-5
    tiny.trainer(tmp_path, data, tiny.bert(return_dict=False), mix_site="layer:1").train()


def test_a_model_without_config_is_told_what_is_needed(tmp_path):
    with pytest.raises((TypeError, AttributeError), match="config"):
        tiny.trainer(tmp_path, tiny.rows(4), torch.nn.Linear(2, 2), mix_method="vanilla")


def test_separate_processes_under_torchrun_are_refused(tmp_path, monkeypatch):
    args = tiny.arguments(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="each would train alone"):
        LogitMixTrainer(tiny.bert(), args)


def test_data_parallel_is_refused(tmp_path):
    args = tiny.arguments(tmp_path)
    args._n_gpu = 2
    with pytest.raises(ValueError, match="2 GPUs.*torchrun"):
        LogitMixTrainer(tiny.bert(), args)


def test_stock_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="must be LogitMixTrainingArguments, got TrainingArguments"):
        LogitMixTrainer(tiny.bert(), TrainingArguments(str(tmp_path), use_cpu=True))


def test_a_foreign_loss_is_refused(tmp_path):
    with pytest.raises(ValueError, match="compute_loss_func"):
        LogitMixTrainer(tiny.bert(), tiny.arguments(tmp_path), compute_loss_func=torch.nn.CrossEntropyLoss())


def test_every_field_has_help_without_a_trap_for_argparse():
    fields = LogitMixTrainingArguments.__dataclass_fields__
    own = [
        name
        for name in fields
        if name not in TrainingArguments.__dataclass_fields__ or name in settings_of(MixSettings)
    ]
    assert {"mix_method", "mix_site", "label_smoothing_factor", "lamix_detach_features", "ignore_model_loss"} < set(
        own
    )
    for name in own:
        fields[name].metadata["help"] % ()
