# SPDX-License-Identifier: Apache-2.0
"""What the Trainer computes: losses, gradients, logs. Interruptions and bad input have files of their own."""

import drawn
import pytest
import tiny
import torch
from transformers import AutoModelForSequenceClassification, Trainer

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.functional import mixing_loss_parts, mixture_count, sample_plan
from logitmix_nlp.mixing import mixers
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites

BALANCED = {"mix_weight": 0.7, "cls_weight": 1.3, "sim_weight": 0.4}


def test_vanilla_is_a_plain_loop_of_cross_entropy(tmp_path):
    data = tiny.rows(80)
    model = tiny.bert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    expected = []
    for step in range(20):
        batch = tiny.collate(data[4 * step : 4 * step + 4])
        labels = batch.pop("labels")
        loss = torch.nn.functional.cross_entropy(model.train()(**batch).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        expected.append(loss.item())
    run = tiny.trainer(tmp_path, data, mix_method="vanilla", learning_rate=1e-3, lr_scheduler_type="constant")
    run.train()
    losses = [line["loss"] for line in run.state.log_history if "loss" in line]
    assert losses == pytest.approx(expected, abs=1e-5)
    assert tiny.largest_gap(dict(model.state_dict()), dict(run.model.state_dict())) < 1e-5


@pytest.mark.parametrize("kind", ["single", "multi", "regression"])
def test_loss_and_gradient_of_a_step_are_those_of_the_functional_core(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(mixers, "sample_plan", drawn.neighbours)
    labels = 1 if kind == "regression" else 3
    config = {"problem_type": "multi_label_classification"} if kind == "multi" else {}
    data = tiny.rows(4, kind=kind)
    model = tiny.bert(num_labels=labels, **config)
    batch = tiny.collate(data)
    targets = batch.pop("labels")
    plan = drawn.neighbours(4)
    mixer = SiteMixer(model)
    with mixer.installed():
        probe(mixer, model, batch, 4, find_sites(model, "layer:1"), needs_similarity=True)
        logits = model(**mixer.activate(batch, plan, *find_sites(model, "layer:1"), keep_clean=True)).logits
    parts = mixing_loss_parts(logits[:4], logits[4:], targets, plan, **BALANCED, sim_norm="l2")
    sum(parts.values()).backward()
    recorder = tiny.GradientRecorder()
    run = tiny.trainer(
        tmp_path, data, tiny.bert(num_labels=labels, **config), callbacks=[recorder], max_steps=1, max_grad_norm=0.0,
        mix_site="layer:1", sim_norm="l2", **BALANCED,
    )  # fmt: skip
    run.train()
    line = run.state.log_history[0]
    assert {name: line[name] for name in parts} == pytest.approx({k: v.item() for k, v in parts.items()}, abs=1e-6)
    assert line["loss"] == pytest.approx(sum(parts.values()).item(), abs=1e-6)
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert tiny.largest_gap(expected, recorder.steps[0]) < 1e-5


@pytest.mark.parametrize(
    ("method", "share"), [("vanilla", 1.0), ("mixup", 1.0), ("logitmix", 1.0), ("logitmix", 0.5), ("lamix", 1.0)]
)
@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 2), (2, 4)])
def test_accumulation_does_not_change_the_gradient(tmp_path, monkeypatch, method, share, batch_size, accumulation):
    """8 rows at once against 4+4 and 2+2+2+2; the last window is short: 6 rows, 4+2, 2+2+2."""
    monkeypatch.setattr(mixers, "sample_plan", drawn.neighbours)
    data, runs = tiny.rows(22), []
    for size, windows in ((8, 1), (batch_size, accumulation)):
        recorder = tiny.GradientRecorder()
        run = tiny.trainer(
            tmp_path, data, callbacks=[recorder], mix_method=method, mix_site="layer:1", max_grad_norm=0.0,
            per_device_train_batch_size=size, gradient_accumulation_steps=windows, optim="sgd",
            label_smoothing_factor=0.1, mix_share=share,
        )  # fmt: skip
        run.train()
        runs.append((recorder.steps, run.state.log_history[:3]))
    (expected, expected_log), (found, log) = runs
    assert len(expected) == len(found) == 3
    assert max(tiny.largest_gap(*pair) for pair in zip(expected, found, strict=True)) < 1e-5
    for line, other in zip(expected_log, log, strict=True):
        terms = [name for name in line if name.startswith("loss")]
        assert {name: other[name] for name in terms} == pytest.approx({name: line[name] for name in terms}, abs=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.01])
def test_terms_of_mixtures_are_means_over_the_mixtures_of_a_step(tmp_path, monkeypatch, share):
    """A step of 5, 5 and 3 rows; what is logged against the terms of every row and mixture."""
    calls = drawn.watch(monkeypatch.setattr)["terms"]
    run = tiny.trainer(
        tmp_path, tiny.rows(13), mix_site="layer:1", mix_share=share, per_device_train_batch_size=5,
        gradient_accumulation_steps=3, learning_rate=0.0,
    )  # fmt: skip
    run.train()
    rows = [mixing_loss_parts(*args, **{**options, "reduction": "none"}) for args, options, _ in calls]
    assert [len(parts["loss_cls"]) for parts in rows] == [5, 5, 3]
    assert [len(parts["loss_mix"]) for parts in rows] == [mixture_count(count, share) for count in (5, 5, 3)]
    line, scale = run.state.log_history[0], calls[0][1]["mix_weight"]
    assert scale == calls[0][1]["sim_weight"]
    for name in ("loss_mix", "loss_sim", "loss_cls"):
        values = torch.cat([parts[name] for parts in rows]) / (1.0 if name == "loss_cls" else scale)
        assert line[name] == pytest.approx(values.mean().item(), abs=1e-6)


def test_a_search_that_goes_back_to_all_mixtures_weighs_them_as_before(tmp_path, monkeypatch):
    """The weight of half the mixtures does not outlive the trial that asked for it."""
    calls = drawn.watch(monkeypatch.setattr)["terms"]
    run = tiny.trainer(tmp_path, tiny.rows(4), mix_share=0.5)
    run.train()
    run.args.mix_share = 1.0
    run.train()
    assert [options["mix_weight"] for _, options, _ in calls] == [2.0, 1.0]


def test_a_short_last_batch_weighs_by_its_rows(tmp_path):
    """One window of 4, 4 and 2 rows has the gradient of its 10 rows, not the mean of three means."""
    data, steps = tiny.rows(10), []
    for size, windows in ((10, 1), (4, 3)):
        recorder = tiny.GradientRecorder()
        tiny.trainer(
            tmp_path, data, callbacks=[recorder], mix_method="vanilla", max_grad_norm=0.0,
            per_device_train_batch_size=size, gradient_accumulation_steps=windows,
        ).train()  # fmt: skip
        steps.append(recorder.steps[0])
    assert tiny.largest_gap(*steps) < 1e-5


def test_gradient_checkpointing_does_not_change_the_gradient(tmp_path):
    steps = []
    for checkpointing in (False, True):
        recorder = tiny.GradientRecorder()
        tiny.trainer(
            tmp_path, tiny.rows(4), callbacks=[recorder], mix_site="layer:1", **{tiny.CHECKPOINTING: checkpointing},
        ).train()  # fmt: skip
        steps.append(recorder.steps[0])
    assert tiny.largest_gap(*steps) < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"mix_method": "vanilla"},
        {"mix_method": "mixup", "mix_prob": 0.5},
        {"mix_method": "logitmix", "label_smoothing_factor": 0.2, "lam_per_sample": True},
        {"mix_method": "logitmix", "sim_weight": 0.0, "mix_site": "pooler"},
        {"mix_method": "logitmix", "mix_warmup": "grad"},
        {"mix_method": "logitmix", "mix_warmup": "step"},
        BALANCED,
    ],
)
def test_logged_terms_sum_to_the_logged_loss(tmp_path, options):
    run = tiny.trainer(
        tmp_path, tiny.rows(37), tiny.bert(dropout=0.1), **{"logging_steps": 3, "num_train_epochs": 2, **options}
    )
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    assert len(lines) == 6
    for line in lines:
        terms = {name for name in line if name.startswith("loss_")}
        assert terms == set(run.args.loss_terms)
        assert line["loss"] == pytest.approx(sum(line[name] for name in terms), abs=1e-6)


def test_warm_up_starts_with_plain_steps(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(40), mix_warmup="grad", mix_site="layer:0")
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    assert [line["loss_mix"] == line["loss_sim"] == 0 for line in lines[:2]] == [True, True]
    assert all(line["loss_mix"] > 0 and line["loss_sim"] > 0 and line["loss_cls"] > 0 for line in lines[7:])


def test_mixing_probability_decides_by_batch(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(160), mix_method="mixup", mix_prob=0.5)
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    mixed = [line["loss_mix"] > 0 for line in lines]
    assert all((line["loss_cls"] > 0) != was_mixed for line, was_mixed in zip(lines, mixed, strict=True))
    assert 10 <= sum(mixed) <= 30


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"mix_method": "vanilla"}, [4] * 4),
        ({"mix_method": "mixup", "mix_site": "embeddings"}, [4] * 4),
        ({"mix_method": "mixup", "mix_site": "layer:1"}, [4] * 4),
        ({"mix_method": "logitmix", "mix_site": "layer:1"}, [4, 4, 8, 8]),
        ({"mix_method": "logitmix", "sim_weight": 0.0, "cls_weight": 0.0}, [4] * 4),
    ],
)
def test_branches_of_weight_zero_are_not_computed(tmp_path, options, rows):
    model, seen = tiny.bert(), []
    for layer in model.bert.encoder.layer:
        layer.attention.register_forward_pre_hook(lambda m, args: seen.append(len(args[0])) if m.training else None)
    tiny.trainer(tmp_path, tiny.rows(4), model, **options).train()
    assert seen == rows


def test_every_parameter_learns(tmp_path):
    model = tiny.bert()
    before = {name: p.clone() for name, p in model.named_parameters()}
    tiny.trainer(tmp_path, tiny.rows(40), model, mix_site="embeddings").train()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_evaluation_is_plain(tmp_path):
    data = tiny.rows(11)
    run = tiny.trainer(tmp_path, data, eval_dataset=data, label_smoothing_factor=0.3, mix_site="embeddings")
    run.train()
    batch = tiny.collate(data)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = run.model.eval()(**batch).logits
    output = run.predict(data)
    assert isinstance(output.predictions, type(labels.numpy()))
    torch.testing.assert_close(torch.from_numpy(output.predictions), logits, atol=1e-5, rtol=0)
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    assert run.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)
    unlabelled = [{k: v for k, v in row.items() if k != "labels"} for row in data]
    run.data_collator = lambda rows: {
        k: v for k, v in tiny.collate([{**r, "labels": 0} for r in rows]).items() if k != "labels"
    }  # noqa: E501
    torch.testing.assert_close(torch.from_numpy(run.predict(unlabelled).predictions), logits, atol=1e-5, rtol=0)


def test_the_model_is_left_without_hooks_and_saved_as_a_stock_model(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(8), tiny.bert(problem_type=None))
    run.train()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in run.model.modules())
    run.save_model()
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded).__module__.startswith("transformers.")
    assert loaded.config.problem_type == "single_label_classification"
    batch = tiny.collate(tiny.rows(3))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**batch).logits, run.model.eval()(**batch).logits)


def test_batches_of_one_and_odd_batches_train(tmp_path):
    for count, size in ((1, 4), (7, 4), (3, 1)):
        run = tiny.trainer(tmp_path, tiny.rows(count), per_device_train_batch_size=size)
        run.train()
        assert all(line["loss"] > 0 for line in run.state.log_history if "loss" in line)


def test_non_finite_losses_are_counted_and_not_hidden(tmp_path):
    class Breaking(LogitMixTrainer):
        """One batch goes wrong and is skipped, as a scaler of gradients would."""

        def training_step(self, *args, **kwargs):
            if self.state.global_step != 2:
                return super().training_step(*args, **kwargs)
            bias = self.model.classifier.bias
            before = bias.data.clone()
            bias.data.fill_(float("nan"))
            loss = super().training_step(*args, **kwargs)
            bias.data.copy_(before)
            self.model.zero_grad()
            return loss

    run = tiny.trainer(tmp_path, tiny.rows(24), tiny.bert(), Breaking, gradient_accumulation_steps=1, optim="sgd")
    run.train()
    counts = [line.get("nonfinite_batches") for line in run.state.log_history if "loss" in line]
    assert counts == [None, None, 1, None, None, None]
    assert run.state.log_history[2]["loss_cls"] != run.state.log_history[2]["loss_cls"]


def test_the_log_keeps_no_graph_alive(tmp_path):
    """Between log lines only numbers are kept, not what they were computed from."""
    held = []

    class Watching(LogitMixTrainer):
        def compute_loss(self, *args, **kwargs):
            loss = super().compute_loss(*args, **kwargs)
            held.append(self._term_log._sums.requires_grad)
            return loss

    tiny.trainer(tmp_path, tiny.rows(16), None, Watching, logging_steps=10).train()
    assert held == [False] * 4


def test_a_users_own_log_line_is_left_alone(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(8))
    run.log({"loss": 1.0})
    assert run.state.log_history[-1]["loss"] == 1.0
    assert "loss_mix" not in run.state.log_history[-1]


def test_a_subclass_of_trainer_with_its_signatures():
    import inspect

    for name in ("compute_loss", "log", "get_batch_samples"):
        stock = inspect.signature(getattr(Trainer, name)).parameters
        ours = inspect.signature(getattr(LogitMixTrainer, name)).parameters
        assert list(ours) == list(stock)


def test_plans_come_from_the_functional_core(tmp_path, monkeypatch):
    calls = []

    def spy(rows, alpha, **kwargs):
        calls.append((rows, alpha, kwargs["per_sample"]))
        return sample_plan(rows, alpha, **kwargs)

    monkeypatch.setattr(mixers, "sample_plan", spy)
    tiny.trainer(tmp_path, tiny.rows(10), mix_alpha=0.4, lam_per_sample=True).train()
    assert calls == [(4, 0.4, True), (4, 0.4, True), (2, 0.4, True)]
