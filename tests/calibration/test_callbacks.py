# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import tiny
import torch
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments

from logitmix_nlp import CalibrationCallback, LogitMixTrainer
from logitmix_nlp.calibration.metrics import calibration_metrics, compute_metrics_for

TRAIN, TEST = tiny.rows(12), tiny.rows(10, seed=1)
FIGURES = ("ece", "oe", "nll", "brier")
RANDOM = np.random.default_rng(0)
LOGITS, LABELS = RANDOM.normal(size=(50, 3)), RANDOM.integers(3, size=50)


def stock(tmp_path, compute_metrics=None, **options) -> Trainer:
    settings = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "num_train_epochs": 3,
        "learning_rate": 1e-2,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": True,
    }
    args = TrainingArguments(output_dir=str(tmp_path), **{**settings, **options})
    data = {"train_dataset": TRAIN, "eval_dataset": TEST, "data_collator": tiny.collate}
    return Trainer(tiny.bert(), args, compute_metrics=compute_metrics, **data)


def evaluations(trainer) -> list[dict]:
    return [line for line in trainer.state.log_history if "eval_loss" in line]


@pytest.mark.parametrize("batched", [False, True])
def test_a_stock_trainer_logs_calibration_at_each_evaluation(tmp_path, batched):
    trainer = stock(tmp_path, batch_eval_metrics=batched)
    trainer.add_callback(CalibrationCallback(trainer, n_bins=7))
    trainer.train()
    assert len(evaluations(trainer)) == 3
    last, output = evaluations(trainer)[-1], trainer.predict(TEST)
    expected = calibration_metrics(output.predictions, output.label_ids, 7)
    assert {name: last[f"eval_{name}"] for name in FIGURES} == pytest.approx(expected, abs=1e-12)
    assert last["eval_accuracy"] == (output.predictions.argmax(-1) == output.label_ids).mean()


def test_the_temperature_of_the_old_weights_is_forgotten(tmp_path):
    trainer = stock(tmp_path, max_steps=1, eval_strategy="no")
    trainer.model.config.calibration_temperature = 2.0
    trainer.add_callback(CalibrationCallback(trainer))
    trainer.train()
    assert "calibration_temperature" not in vars(trainer.model.config)


def test_the_trainer_of_this_library_takes_it_too(tmp_path):
    trainer = tiny.trainer(tmp_path, TRAIN, eval_dataset=TEST)
    assert isinstance(trainer, LogitMixTrainer)
    trainer.add_callback(CalibrationCallback(trainer))
    assert set(trainer.evaluate()) >= {f"eval_{name}" for name in FIGURES}


def test_the_best_checkpoint_and_early_stopping_see_the_figures(tmp_path):
    trainer = stock(
        tmp_path,
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_ece",
        greater_is_better=False,
        num_train_epochs=8,
    )
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=1))  # before ours: the order does not matter
    trainer.add_callback(CalibrationCallback(trainer))
    trainer.train()
    found = [line["eval_ece"] for line in evaluations(trainer)]
    assert trainer.state.best_metric == min(found)
    worse = next(n for n in range(1, len(found)) if found[n] >= min(found[:n]))
    assert len(found) == worse + 1 < 8
    assert trainer.evaluate()["eval_ece"] == min(found)


def test_the_worst_checkpoint_is_not_taken_for_the_best(tmp_path):
    trainer = stock(tmp_path, metric_for_best_model="eval_ece")
    trainer.add_callback(CalibrationCallback(trainer))
    with pytest.raises(
        ValueError, match="metric_for_best_model='eval_ece' is better when lower.*greater_is_better=False"
    ):
        trainer.train()


def test_own_metrics_are_kept_and_win(tmp_path):
    own = {"accuracy": 7.0, "mine": 1.0}
    trainer = stock(tmp_path, lambda prediction: own)
    trainer.add_callback(CalibrationCallback(trainer))
    found = trainer.evaluate()
    assert (found["eval_accuracy"], found["eval_mine"]) == (7.0, 1.0)
    assert "eval_ece" in found


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda x: (torch.as_tensor(x), None)])
def test_metrics_batch_by_batch_are_those_of_the_whole(kind):
    metrics, whole = compute_metrics_for(7), compute_metrics_for(7)(EvalPrediction(LOGITS, LABELS))
    for _ in range(2):  # the second time, nothing of the first is left
        for start in range(0, 48, 16):
            rows = slice(start, start + 16)
            assert metrics(EvalPrediction(kind(LOGITS[rows]), LABELS[rows]), compute_result=False) == {}
        found = metrics(EvalPrediction(kind(LOGITS[48:]), LABELS[48:]), compute_result=True)
        assert [found[name] for name in ("accuracy", "ece", "oe")] == [
            whole[name] for name in ("accuracy", "ece", "oe")
        ]
        assert found == pytest.approx(whole, abs=1e-12)
    assert whole == {"accuracy": (LOGITS.argmax(-1) == LABELS).mean(), **calibration_metrics(LOGITS, LABELS, 7)}
    assert all(type(value) is float for value in json.loads(json.dumps(whole)).values())


def test_an_evaluation_that_was_broken_off_can_be_forgotten():
    metrics = compute_metrics_for()
    metrics(EvalPrediction(LOGITS[:5], LABELS[:5]), compute_result=False)
    metrics.reset()
    found = metrics(EvalPrediction(LOGITS, LABELS), compute_result=True)
    assert found == compute_metrics_for()(EvalPrediction(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.full((2, 3), np.nan), [0, 1], "2 rows hold NaN"),
        (np.zeros((2, 1)), [0, 0], "C >= 2"),
        (np.zeros((0, 3)), np.zeros(0, int), "No rows"),
        (np.zeros((2, 3)), [0, 3], r"outside \[0, 3\)"),
        (np.zeros((2, 3)), [[0, 1, 2], [1, 0, 0]], "must be 0 or 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        compute_metrics_for()(EvalPrediction(logits, np.asarray(labels)))
    with pytest.raises(ValueError, match="n_bins must be at least 1"):
        compute_metrics_for(0)
