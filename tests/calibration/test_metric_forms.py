# SPDX-License-Identifier: Apache-2.0
"""`compute_metrics_for` with whatever form a stock `Trainer` gives predictions and labels in."""

import numpy as np
import pytest
import tiny
from scipy.special import expit
from sklearn import metrics as sk
from transformers import EvalPrediction, Trainer, TrainingArguments

from glue_runs.tasks.scores import make_compute_metrics
from logitmix_nlp.calibration.metrics import class_scores, compute_metrics_for, per_class_metrics
from logitmix_nlp.functional import class_confidence_bins, label_confidence_bins

RANDOM = np.random.default_rng(0)
LOGITS, LABELS = RANDOM.normal(size=(50, 4)), RANDOM.integers(4, size=50)
SETS = (RANDOM.random((50, 4)) < expit(LOGITS)).astype(np.float32)


def stock(tmp_path, kind, compute_metrics=None, preprocess=None, **options) -> Trainer:
    settings = {"per_device_eval_batch_size": 4, "report_to": "none", "disable_tqdm": True, "use_cpu": True}
    args = TrainingArguments(str(tmp_path), dataloader_pin_memory=False, **{**settings, **options})
    config = {"problem_type": "multi_label_classification"} if kind == "multi" else {}
    return Trainer(
        tiny.bert(**config),
        args,
        eval_dataset=tiny.rows(10, seed=1, kind=kind),
        data_collator=tiny.collate,
        compute_metrics=compute_metrics or compute_metrics_for(7),
        preprocess_logits_for_metrics=preprocess,
    )


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("options", [{"eval_do_concat_batches": False}, {"batch_eval_metrics": True}], ids=str)
def test_batches_score_as_the_whole(tmp_path, kind, options):
    whole = stock(tmp_path, kind).evaluate()
    found = stock(tmp_path, kind, **options).evaluate()
    names = [name for name in whole if not name.endswith(("runtime", "second", "time"))]
    assert {"eval_ece", "eval_nll", "eval_brier"} <= set(names)
    assert {name: found[name] for name in names} == pytest.approx({name: whole[name] for name in names}, abs=1e-9)
    if kind == "multi":
        assert whole["eval_nll"] == pytest.approx(whole["eval_loss"], abs=1e-6)


@pytest.mark.parametrize("metrics", [compute_metrics_for(), make_compute_metrics(("accuracy",), False)])
def test_classes_in_place_of_logits_are_named(tmp_path, metrics):
    run = stock(tmp_path, "single", metrics, lambda logits, labels: logits.argmax(-1))
    with pytest.raises(ValueError, match="one number per row, not logits.*preprocess_logits_for_metrics"):
        run.evaluate()


def test_a_trainer_of_this_library_names_other_label_names(tmp_path):
    with pytest.raises(ValueError, match=r"label_names must begin with 'labels'.*got \['target'\]"):
        tiny.arguments(tmp_path, label_names=["target"])
    assert tiny.arguments(tmp_path, label_names=["labels", "weights"]).label_names == ["labels", "weights"]


def test_multi_label_figures_are_those_of_scikit_learn():
    found = compute_metrics_for(7)(EvalPrediction(LOGITS, SETS))
    predicted, probs = LOGITS > 0, expit(LOGITS)
    assert list(found) == ["micro_f1", "macro_f1", "subset_accuracy", "ece", "nll", "brier"]
    for average in ("micro", "macro"):
        assert found[f"{average}_f1"] == pytest.approx(sk.f1_score(SETS, predicted, average=average))
    assert found["subset_accuracy"] == sk.accuracy_score(SETS, predicted)
    assert found["nll"] == pytest.approx(np.mean([sk.log_loss(SETS[:, k], probs[:, k]) for k in range(4)]))
    assert found["brier"] == pytest.approx(np.mean([sk.brier_score_loss(SETS[:, k], probs[:, k]) for k in range(4)]))
    errors = []
    for truth, prob in zip(SETS.T, probs.T, strict=True):
        cells = np.ceil(prob * 7)
        gaps = [abs(truth[cells == cell].sum() - prob[cells == cell].sum()) for cell in range(1, 8)]
        errors.append(sum(gaps) / 50)
    assert found["ece"] == pytest.approx(np.mean(errors), abs=1e-8)
    by_label = per_class_metrics(LOGITS, SETS, "abcd", 7)
    assert [one["ece"] for one in by_label.values()] == pytest.approx(errors, abs=1e-8)
    assert [one["f1"] for one in by_label.values()] == pytest.approx(sk.f1_score(SETS, predicted, average=None))
    assert [one["accuracy"] for one in by_label.values()] == pytest.approx((predicted == SETS).mean(0))


def test_class_by_class():
    predicted = LOGITS.argmax(-1)
    scores = class_scores(LOGITS, LABELS)
    assert scores["macro_f1"] == pytest.approx(sk.f1_score(LABELS, predicted, average="macro"))
    assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(LABELS, predicted))
    found = per_class_metrics(LOGITS, LABELS, "abcd", 7)
    assert [one["rows"] for one in found.values()] == np.bincount(LABELS).tolist()
    recall = sk.recall_score(LABELS, predicted, average=None)
    assert [one["accuracy"] for one in found.values()] == pytest.approx(recall)
    bins = class_confidence_bins(LOGITS, LABELS, 7)
    assert np.mean([one["ece"] for one in found.values()]) == pytest.approx(bins.calibration_error().item())
    absent = per_class_metrics(LOGITS[LABELS != 2], LABELS[LABELS != 2], "abcd")
    assert (absent["c"]["rows"], absent["c"]["accuracy"]) == (0, None)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (LOGITS, SETS[:, :3], r"one shape \(N, C\).*\(50, 4\) and \(50, 3\)"),
        (LOGITS[:0], SETS[:0], "N >= 1"),
        (np.full((2, 2), np.nan), np.zeros((2, 2)), "NaN or infinite values, first in row 0"),
        (LOGITS, 2 * SETS, "must be 0 or 1"),
    ],
)
def test_multi_label_rows_that_cannot_be_scored(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        label_confidence_bins(logits, labels)


def test_soft_labels_go_by_their_most_probable_class_and_their_probabilities():
    soft = np.exp(2 * RANDOM.normal(size=LOGITS.shape))
    soft /= soft.sum(1, keepdims=True)
    found = compute_metrics_for(7)(EvalPrediction(LOGITS, soft))
    hard = compute_metrics_for(7)(EvalPrediction(LOGITS, soft.argmax(1)))
    assert {name: found[name] for name in ("accuracy", "ece", "oe")} == {
        name: hard[name] for name in ("accuracy", "ece", "oe")
    }
    logp = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    assert found["nll"] == pytest.approx(-(soft * logp).sum(1).mean())
    assert found["brier"] == pytest.approx(((np.exp(logp) - soft) ** 2).sum(1).mean())


def test_rows_of_one_and_zeros_are_those_of_several_labels_unless_said():
    one_hot = np.eye(4)[LABELS]
    assert "micro_f1" in compute_metrics_for()(EvalPrediction(LOGITS, one_hot))
    found = compute_metrics_for(soft_labels=True)(EvalPrediction(LOGITS, one_hot))
    assert found == pytest.approx(compute_metrics_for()(EvalPrediction(LOGITS, LABELS)))
