# SPDX-License-Identifier: Apache-2.0
"""Class weights, losses of one's own and soft labels: a step learns what a plain loop over all its rows would."""

import ddp_losses_worker as worker
import drawn
import numpy as np
import pictures
import processes
import pytest
import texts
import tiny
import torch
import zoo
from datasets import Dataset
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy
from transformers import default_data_collator

from logitmix_nlp.mixing import mixers
from logitmix_nlp.mixing.mixers import MIXERS
from logitmix_nlp.training.labels import read_weights
from logitmix_nlp.training.methods import MIX_METHODS


def logits_of(model, batch, partner=None):
    """Logits of the rows, or of each row's embeddings mixed with those of its partner, written out."""
    if partner is None:
        return model(**batch).logits
    hook = model.bert.embeddings.register_forward_hook(lambda module, args, x: 0.3 * x + 0.7 * x[partner])
    mask = batch["attention_mask"]
    logits = model(**{**batch, "attention_mask": torch.maximum(mask, mask[partner])}).logits
    hook.remove()
    return logits


def reference(kind, method, count):
    """The terms and the gradients of one step over all rows."""
    model, batch = worker.model(kind).train(), tiny.collate(worker.rows(kind, count))
    y, partner = batch.pop("labels"), torch.arange(count) ^ 1
    w = torch.tensor(worker.CLASS_WEIGHTS) if kind == "class_weights" else torch.ones(3)

    def loss(logits, y):
        if kind == "tokens":
            return cross_entropy(logits.transpose(1, 2), y, ignore_index=-100, reduction="none")
        p = logits.softmax(-1)
        if kind == "soft":
            return -(y * p.log()).sum(-1)
        p = p[torch.arange(count), y]
        return (1 - p) ** 2 * -p.log() if kind == "row_loss" else w[y] * -p.log()

    weight = {"class_weights": lambda: w[y].sum(), "tokens": lambda: (y != -100).sum()}.get(kind, lambda: count)()
    terms = {}
    clean = logits_of(model, batch)
    mixed = logits_of(model, batch, partner) if method != "vanilla" else None
    if method != "mixup":
        terms["loss_cls"] = loss(clean, y).sum() / weight
    if method != "vanilla":
        terms["loss_mix"] = (0.3 * loss(mixed, y) + 0.7 * loss(mixed, y[partner])).sum() / weight
    if method == "logitmix":
        gap = (0.3 * clean + 0.7 * clean[partner] - mixed).square().mean(-1)
        both = (y != -100) & (y[partner] != -100)
        terms["loss_sim"] = gap[both].sum() / weight if kind == "tokens" else gap.mean()
    sum(terms.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": sum(terms.values()).item(), **{name: term.item() for name, term in terms.items()}}, gradients


@pytest.mark.parametrize("method", worker.METHODS)
@pytest.mark.parametrize("kind", worker.KINDS)
def test_a_step_of_four_and_two_rows_is_one_of_six(tmp_path, monkeypatch, kind, method):
    monkeypatch.setattr(mixers, "sample_plan", drawn.neighbours)
    losses, gradients = worker.step(tmp_path, kind, method, 6, 4)
    expected, expected_gradients = reference(kind, method, 6)
    assert losses == pytest.approx(expected, abs=1e-5)
    assert tiny.largest_gap(gradients, expected_gradients) < 1e-5


def test_two_processes_learn_what_one_loop_does(tmp_path):
    """Seven rows of tokens are evaluated by two and two, so that one is evaluated twice, and counted once."""
    record = processes.launch(2, worker.main, tmp_path, 8, 2)
    batch = tiny.collate(worker.rows("tokens", 7))
    loss = worker.model("tokens").eval()(**batch).loss.item()  # the stock mean over all tags
    assert record["eval_loss"] == pytest.approx(loss, abs=1e-6)
    for kind in worker.KINDS:
        for method in worker.METHODS:
            expected, gradients = reference(kind, method, 8)
            assert record[f"{kind}-{method}"] == pytest.approx(expected, abs=1e-5)
            assert tiny.largest_gap(load_file(tmp_path / f"{kind}-{method}.safetensors"), gradients) < 1e-5


def trained(tmp_path, data, model=None, **options):
    run = tiny.trainer(tmp_path, data, model, **{"mix_method": "vanilla", "max_steps": 1, **options})
    run.train()
    return run


def columns(labels):
    """A dataset whose labels can be read as a column, which the default collator hands on."""
    rows = [{"input_ids": [5, 6, 7], "labels": label} for label in labels]
    return Dataset.from_list(rows)


# ---- Class weights and losses of one's own ----


def test_balanced_weights_are_counted_in_the_training_data(tmp_path):
    labels = [0, 0, 0, 1, 1, 2, 0, 0]
    run = trained(tmp_path, columns(labels), class_weights="balanced", data_collator=default_data_collator)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=np.array(labels))
    assert run._label_weights["class_weights"].tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("data", ["list", "stream"])
def test_balanced_weights_need_labels_to_count(tmp_path, data):
    if data == "list":
        run = tiny.trainer(tmp_path, tiny.rows(8), class_weights="balanced")
        assert len(run._label_weights["class_weights"]) == 3
        return
    with pytest.raises(ValueError, match="class_weights='balanced' counts the labels of train_dataset"):
        tiny.trainer(tmp_path, columns([0, 1]).to_iterable_dataset(), class_weights="balanced", max_steps=1)


def test_positive_labels_weigh_as_in_pytorch(tmp_path):
    weights, data = [2.0, 0.5, 4.0], tiny.rows(4, kind="multi")
    run = trained(tmp_path, data, pos_weight=weights, learning_rate=0.0)
    batch = tiny.collate(data)
    labels = batch.pop("labels")
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(tiny.bert()(**batch).logits, labels)
    assert run.state.log_history[0]["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert run.evaluate(data)["eval_loss"] == pytest.approx(loss.item(), abs=1e-5)


@pytest.mark.parametrize("method", ["lamix", "vwci", "confidence_penalty"])
def test_weights_of_one_change_nothing_in_other_terms(tmp_path, method):
    data = tiny.rows(8)
    runs = [trained(tmp_path, data, mix_method=method, max_steps=2, class_weights=w) for w in (None, [1, 1, 1])]
    lines = [[line["loss"] for line in run.state.log_history[:2]] for run in runs]
    assert lines[0] == pytest.approx(lines[1], abs=1e-6)


def test_weights_of_a_class_are_those_of_its_rows_repeated(tmp_path):
    """Twice the weight is as twice the rows, in the target of LaMix and in the passes of VWCI as well."""
    data = [{**row, "labels": n % 2} for n, row in enumerate(tiny.rows(6))]
    doubled = [row for row in data for _ in range(1 + row["labels"])]
    for options in ({"mix_method": "lamix"}, {"mix_method": "vwci"}, {"label_smoothing_factor": 0.2}):
        options |= {"per_device_train_batch_size": 9, "learning_rate": 0.0}
        weighted, repeated = (
            trained(tmp_path, rows, class_weights=weights, **options).state.log_history[0]["loss_cls"]
            for rows, weights in ((data, [1.0, 2.0, 1.0]), (doubled, None))
        )
        if "label_smoothing_factor" not in options:
            assert weighted == pytest.approx(repeated, abs=1e-5)
        else:  # PyTorch's: smoothing moves weight to the other classes too
            batch = tiny.collate(data)
            labels, weight = batch.pop("labels"), torch.tensor([1.0, 2.0, 1.0])
            loss = torch.nn.CrossEntropyLoss(weight, label_smoothing=0.2)(tiny.bert()(**batch).logits, labels)
            assert weighted == pytest.approx(loss.item(), abs=1e-5)


def test_evaluation_takes_the_loss_that_is_trained(tmp_path):
    data = tiny.rows(4)
    run = tiny.trainer(tmp_path, data, row_loss=worker.focal, class_weights=worker.CLASS_WEIGHTS)
    batch = tiny.collate(data)
    labels = batch.pop("labels")
    weights = torch.tensor(worker.CLASS_WEIGHTS)[labels]
    expected = (weights * worker.focal(run.model(**batch).logits, labels)).sum() / weights.sum()
    assert run.evaluate(data)["eval_loss"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"class_weights": [1.0, 2.0]}, "single", "class_weights must hold one number for each of 3 labels, got 2"),
        ({"class_weights": "even"}, "single", "class_weights must be 'balanced' or one number of at least 0"),
        ({"class_weights": [1, -1, 1]}, "single", "class_weights must be"),
        ({"pos_weight": [0, 1, 1]}, "multi", "pos_weight must be one number above 0 for each label"),
        ({"class_weights": [1, 2, 3]}, "multi", "class_weights has no meaning for multi_label_classification"),
        ({"pos_weight": 2}, "single", "pos_weight has no meaning for single_label_classification"),
        ({"class_weights": [1]}, "regression", "class_weights has no meaning for regression"),
        ({"row_loss": worker.focal, "label_smoothing_factor": 0.1}, "single", "which row_loss replaces: set it to 0"),
        ({"row_loss": worker.focal, "mix_method": "lamix"}, "single", "lamix_beta.* which row_loss replaces"),
        ({"row_loss": lambda z, y: z.mean()}, "single", r"a loss for each row, shape \(4,\), got shape \(\)"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path, options, kind, message):
    config = {"problem_type": "multi_label_classification"} if kind == "multi" else {}
    model = tiny.bert(num_labels=1 if kind == "regression" else 3, **config)
    with pytest.raises(ValueError, match=message):
        trained(tmp_path, tiny.rows(4, kind=kind), model, **options)


@pytest.mark.parametrize(
    ("name", "given", "tried", "expected"),
    [
        ("class_weights", [1, 1, 1], "balanced", "balanced"),
        ("class_weights", "balanced", "10 2 3", [10.0, 2.0, 3.0]),
        ("class_weights", [1, 1, 1], "10 2 3", [10.0, 2.0, 3.0]),
        ("class_weights", [1, 1, 1], [10, 2, 3], [10.0, 2.0, 3.0]),
        ("pos_weight", 2.0, 12.5, [12.5]),
        ("pos_weight", [1, 2, 3], "12", [12.0]),
    ],
)
def test_a_search_may_try_weights_as_words_and_numbers(tmp_path, name, given, tried, expected):
    """Before it sets a value, a search makes one of the type that was there."""
    args = tiny.arguments(tmp_path, **{name: given})
    value = type(getattr(args, name))(tried)
    setattr(args, name, value)
    assert read_weights(name, getattr(args, name)) == expected


# ---- Soft labels ----


@pytest.mark.parametrize("column", [False, True])
def test_soft_labels_are_told_by_their_sum(tmp_path, column):
    data = worker.rows("soft", 8)
    if column:
        data = columns([row["labels"] for row in data])
    run = trained(tmp_path, data, **({"data_collator": default_data_collator} if column else {}))
    assert run.model.config.problem_type == "single_label_classification"
    assert run._problem_type(torch.eye(3)) == "soft_label_classification"
    assert run._problem_type(torch.zeros(3, dtype=torch.long)) == "single_label_classification"


def test_rows_of_one_and_zeros_are_asked_for(tmp_path):
    one_hot, options = columns(torch.eye(3).tolist()), {"data_collator": default_data_collator}
    with pytest.raises(ValueError, match="may be class probabilities or several labels a row: set model.config"):
        trained(tmp_path, one_hot, **options)
    losses = []
    for kind in ("soft_label_classification", "multi_label_classification"):
        run = trained(tmp_path, one_hot, tiny.bert(problem_type=kind), learning_rate=0.0, **options)
        losses.append(run.state.log_history[0]["loss"])
    hard = trained(tmp_path, columns([0, 1, 2]), learning_rate=0.0, **options).state.log_history[0]["loss"]
    assert losses[0] == pytest.approx(hard, abs=1e-6)
    assert losses[1] != pytest.approx(hard, abs=1e-2)


@pytest.mark.parametrize("method", MIX_METHODS)
def test_certain_soft_labels_are_classes_in_every_method(tmp_path, method):
    of_images, lines = MIXERS[MIX_METHODS[method].mixer].exchanges == "pixel_values", []
    for soft in (False, True):
        model = zoo.build("vit" if of_images else "bert").train()
        data = pictures.rows("vit", 8) if of_images else texts.rows(8)
        if soft:
            model.config.problem_type = "soft_label_classification"
            data = [{**row, "labels": torch.eye(3)[row["labels"]].tolist()} for row in data]
        options = {"data": data, "model": model, "mix_method": method, "max_steps": 2, "class_weights": [1, 2, 3]}
        run = pictures.trainer(tmp_path, "vit", **options) if of_images else texts.trainer(tmp_path, "bert", **options)
        run.train()
        lines.append(
            [{name: line[name] for name in line if name.startswith("loss")} for line in run.state.log_history]
        )
    assert len(lines[0]) >= 2
    assert lines[1] == [pytest.approx(line, abs=1e-5) for line in lines[0]]


def test_labels_that_sum_to_something_else_stay_those_of_several_labels_a_row(tmp_path):
    run = trained(tmp_path, tiny.rows(8, kind="multi"))
    assert run.model.config.problem_type == "multi_label_classification"


def test_a_row_that_does_not_sum_to_1_among_soft_labels_is_named(tmp_path):
    """It does not make labels of several classes a row of all the others."""
    data = worker.rows("soft", 8)
    data[6]["labels"] = [0.7, 0.2, 0.4]
    data = columns([row["labels"] for row in data])
    with pytest.raises(ValueError, match=r"^7 of 8 rows of labels are probabilities .* but row 6 is \[0.69"):
        trained(tmp_path, data, data_collator=default_data_collator)


def test_probabilities_that_are_none_are_refused(tmp_path):
    data = [{**row, "labels": [0.7, 0.2, 0.4]} for row in tiny.rows(4)]
    with pytest.raises(ValueError, match=r"probabilities of the classes, which sum to 1, got \[0.69.* in row 0"):
        trained(tmp_path, data, tiny.bert(problem_type="soft_label_classification"))


# ---- Labels are looked at once ----


def test_a_bad_label_far_behind_is_found_before_the_first_step(tmp_path):
    run = tiny.trainer(tmp_path, columns([0, 1] * 50 + [3]), data_collator=default_data_collator)
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    with pytest.raises(ValueError, match=r"must be in \[0, 3\), got 3 in row 100 of the training data"):
        run.train()
    assert all(torch.equal(p, before[name]) for name, p in run.model.named_parameters())


def test_a_collator_of_ones_own_may_change_labels(tmp_path):
    """Then what it makes is checked, batch by batch, and not the column."""
    data = columns([1, 2, 3, 3])

    def from_one(rows):
        return default_data_collator([{**row, "labels": row["labels"] - 1} for row in rows])

    trained(tmp_path, data, data_collator=from_one)
    with pytest.raises(ValueError, match=r"got 3 in row 2 of a batch"):
        trained(tmp_path, data, data_collator=lambda rows: default_data_collator(rows))


class OwnRows(torch.utils.data.Dataset):
    """Rows made on the fly, with an attribute `labels` of classes from `first` on."""

    def __init__(self, labels, first=0):
        self.labels, self.first = torch.tensor(labels), first

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        return {"input_ids": torch.tensor([5, 6, 7]), "labels": self.labels[row] - self.first}


def test_labels_in_an_attribute_are_looked_at_too_and_may_be_others_than_those_of_the_rows(tmp_path):
    options = {"data_collator": default_data_collator}
    trained(tmp_path, OwnRows([1, 2, 3, 3], first=1), **options)
    with pytest.raises(ValueError, match=r"got 3 in row 9 of the training data"):
        trained(tmp_path, OwnRows([0] * 9 + [3]), **options)
