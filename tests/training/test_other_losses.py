# SPDX-License-Identifier: Apache-2.0
"""Losses of a user's own are honoured or refused, never silently replaced."""

import pytest
import tiny
import torch
import zoo
from test_switches import with_adapters
from torch import nn
from torch.nn import functional as F  # noqa: N812
from transformers import BertForSequenceClassification, Trainer

from logitmix_nlp import LogitMixMixin, LogitMixTrainer
from logitmix_nlp.training.other_losses import check_model_loss

METHODS = ["vanilla", "logitmix"]


# ---- compute_loss of a subclass ----


class Weighted(LogitMixTrainer):
    """The recipe for class weights that goes round."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss


class Wrapped(Weighted):
    """A wrapper whose code does not tell what it calls."""

    compute_loss = torch.no_grad()(lambda self, *args, **kwargs: getattr(Weighted, "compute" + "_loss")(self, *args))


class Regularized(LogitMixTrainer):
    """A term of its own beside the loss of the library, by way of a helper."""

    def compute_loss(self, *args, **kwargs):
        return self._add(*args, **kwargs)

    def _add(self, model, inputs, return_outputs=False, **kwargs):
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        loss = loss + 0.05 * sum(p.square().sum() for p in self.model.parameters())
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize("method", METHODS)
def test_a_replaced_loss_is_refused_at_construction(tmp_path, method):
    with pytest.raises(ValueError, match=r"compute_loss of Weighted takes the place .* call super\(\).compute_loss"):
        tiny.trainer(tmp_path, tiny.rows(4), None, Weighted, mix_method=method)


@pytest.mark.parametrize("method", METHODS)
def test_a_replaced_loss_that_hides_is_refused_before_the_first_step(tmp_path, method, monkeypatch):
    monkeypatch.setattr("logitmix_nlp.training.mixin.check_overrides", lambda *args: None)
    run = tiny.trainer(tmp_path, tiny.rows(4), None, Weighted, mix_method=method)
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    with pytest.raises(ValueError, match="compute_loss of Weighted takes the place"):
        run.train()
    assert all(torch.equal(p, before[name]) for name, p in run.model.named_parameters())


def test_a_loss_behind_the_mixin_is_refused_unless_one_before_it_stands_for_it(tmp_path):
    theirs = type("Theirs", (Trainer,), {"compute_loss": Weighted.compute_loss})
    mine = type("Mine", (LogitMixMixin, theirs), {})

    class Resolved(mine):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs)

    with pytest.raises(ValueError, match="compute_loss of Theirs would never be called, .* write one in Mine"):
        tiny.trainer(tmp_path, tiny.rows(4), None, mine)
    tiny.trainer(tmp_path, tiny.rows(4), None, Resolved)


def test_code_that_cannot_be_read_is_left_to_the_first_step(tmp_path):
    class Hidden(LogitMixTrainer):
        compute_loss = print

    tiny.trainer(tmp_path, tiny.rows(4), None, Hidden)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "windows"), [(4, 1), (2, 2)])
def test_what_a_subclass_adds_counts_as_a_mean(tmp_path, method, size, windows):
    data, runs = tiny.rows(4), []
    for trainer_class in (LogitMixTrainer, Regularized):
        recorder = tiny.GradientRecorder()
        run = tiny.trainer(
            tmp_path, data, None, trainer_class, callbacks=[recorder], mix_method=method, mix_site="layer:1",
            per_device_train_batch_size=size, gradient_accumulation_steps=windows, max_grad_norm=0.0, max_steps=1,
        )  # fmt: skip
        weights = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        run.train()
        runs.append((recorder.steps[0], run.state.log_history[0]))
    (plain, line), (found, other) = runs
    expected = {name: g + 2 * 0.05 * weights[name] for name, g in plain.items()}
    assert tiny.largest_gap(expected, found) < 1e-5
    added = 0.05 * sum(p.square().sum().item() for p in weights.values())
    assert other["loss"] == pytest.approx(line["loss"] + added, abs=1e-4)
    assert other["loss_cls"] == pytest.approx(line["loss_cls"], abs=1e-6)


# ---- loss in the model's own forward ----


def own_loss(kind):
    """BERT classifier that computes a loss of its own where it gets labels."""

    class Own(BertForSequenceClassification):
        def forward(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
            outputs = super().forward(input_ids, attention_mask, token_type_ids)
            if labels is not None:
                logits = outputs.logits
                if kind == "margin":
                    logits = outputs.logits = logits - 0.5 * F.one_hot(labels, logits.shape[-1])
                loss = F.cross_entropy(logits, labels, reduction="none")
                weights = torch.tensor([1.0, 1.0, 3.0])[labels]
                outputs.loss = {
                    "weighted": (weights * loss).sum() / weights.sum(),
                    "focal": ((1 - (-loss).exp()).square() * loss).mean(),
                    "margin": loss.mean(),
                    "plain": loss.mean(),
                    "rows": loss,
                }[kind]
            return outputs

    torch.manual_seed(0)
    return Own(tiny.bert().config)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["weighted", "focal", "margin"])
@pytest.mark.parametrize("zeros", [False, True])
def test_a_model_with_a_loss_of_its_own_is_refused(tmp_path, method, kind, zeros):
    model = own_loss(kind)
    if zeros:
        nn.init.zeros_(model.classifier.weight)
    data = [{**row, "labels": 1} for row in tiny.rows(4)]
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with pytest.raises(ValueError, match="Own computes a loss of its own in forward .* ignore_model_loss=True"):
        tiny.trainer(tmp_path, data, model, mix_method=method, mix_site="layer:1").train()
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())


@pytest.mark.parametrize("kind", ["weighted", "plain", "rows"])
def test_it_trains_if_that_is_meant_or_the_loss_is_the_plain_one(tmp_path, kind):
    options = {"ignore_model_loss": True} if kind == "weighted" else {}
    run = tiny.trainer(tmp_path, tiny.rows(4), own_loss(kind), mix_method="vanilla", **options)
    reference = tiny.trainer(tmp_path, tiny.rows(4), own_loss(kind), mix_method="vanilla", ignore_model_loss=True)
    for trainer in (run, reference):
        trainer.train()
    assert run.state.log_history[0]["loss"] == reference.state.log_history[0]["loss"]


TARGETS = {
    "single": ("single_label_classification", 3, torch.tensor([1, 1, 1, 1])),
    "one class": ("single_label_classification", 1, torch.tensor([0, 0, 0, 0])),
    "two": ("single_label_classification", 2, torch.tensor([0, 1, 0, 0])),
    "multi": ("multi_label_classification", 3, torch.zeros(4, 3)),
    "scores": ("regression", 1, torch.tensor([0.5, -2.0, 3.0, 1.0])),
    "column": ("regression", 1, torch.tensor([[0.5], [-2.0], [3.0], [1.0]])),
    "whole scores": ("regression", 1, torch.tensor([2, -1, 3, 0])),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("name", [*zoo.TEXT_MODELS, *zoo.IMAGE_MODELS])
def test_stock_heads_are_not_taken_for_it(name, kind):
    problem_type, num_labels, labels = TARGETS[kind]
    model = zoo.build(name, num_labels=num_labels, problem_type=problem_type)
    for rows in (4, 1):
        inputs = {key: x[:rows] for key, x in zoo.batch(name).items()}
        check_model_loss(model, inputs, labels[:rows], problem_type)


@pytest.mark.parametrize("switch", ["bf16", "bfloat16", "compile", "lora", "whole_scores", "several_scores"])
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_nor_with_other_switches(tmp_path, switch):
    model, data, options = tiny.bert(), tiny.rows(4), {}
    if switch == "bf16":
        options["bf16"] = True
    elif switch == "bfloat16":
        model = model.bfloat16()
    elif switch == "compile":
        options |= {"torch_compile": True, "torch_compile_backend": "eager"}
    elif switch == "lora":
        model = with_adapters()
    elif switch == "whole_scores":
        model, data = tiny.bert(num_labels=1), [{**row, "labels": int(row["labels"] * 2)} for row in data]
    else:
        model, data = tiny.bert(problem_type="regression"), tiny.rows(4, kind="multi")
    tiny.trainer(tmp_path, data, model, mix_method="vanilla", max_steps=1, **options).train()


def test_rounding_to_16_bits_is_no_other_loss(tmp_path):
    def half_a_percent_more(module, args, output):
        output.loss = None if output.loss is None else output.loss * 1.005

    for options in ({"bf16": True}, {}):
        model = tiny.bert()
        model.register_forward_hook(half_a_percent_more)
        run = tiny.trainer(tmp_path, tiny.rows(4), model, mix_method="vanilla", max_steps=1, **options)
        if options:
            run.train()
        else:
            with pytest.raises(ValueError, match="computes a loss of its own in forward"):
                run.train()


def test_looking_draws_nothing_and_comes_once(tmp_path):
    runs = []
    for options in ({}, {"ignore_model_loss": True}):
        model, seen = tiny.bert(dropout=0.3), []
        model.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(module.training))
        run = tiny.trainer(tmp_path, tiny.rows(12), model, mix_method="vanilla", **options)
        run.train()
        runs.append((run.state.log_history[-2]["loss"], seen))
    (loss, seen), (reference, unseen) = runs
    assert loss == reference
    assert unseen == [True] * 3
    assert seen[-3:] == [True] * 3
    assert 0 < seen.count(False) <= 5
