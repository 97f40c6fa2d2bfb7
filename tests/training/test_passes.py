# SPDX-License-Identifier: Apache-2.0
"""VWCI in real trainings: T stochastic passes of each row in one forward pass."""

import pictures
import pytest
import tiny
import torch

from logitmix_nlp.functional.vwci import normalized_variance, vwci_parts

PASSES = 3


def run_of(tmp_path, name, **options):
    """Trainer of a text or an image model without dropout, whose classifier tells the passes apart by itself."""
    if name == "bert":
        model = tiny.bert()
        make = lambda **more: tiny.trainer(tmp_path, tiny.rows(8), model, optim="sgd", max_grad_norm=0.0, **more)  # noqa: E731
    else:
        model = pictures.model(name)
        make = lambda **more: pictures.trainer(tmp_path, name, 8, model=model, **more)  # noqa: E731

    def stir(module, args, output):
        if not model.training:
            return output
        number = torch.arange(len(output)) // (len(output) // PASSES)
        return output + number[:, None] * torch.tensor([1.0, -1.0, 0.5])

    model.classifier.register_forward_hook(stir)
    return model, make(mix_method="vwci", vwci_passes=PASSES, **options)


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_loss_and_gradient_are_those_of_the_formula_however_rows_are_cut(tmp_path, name):
    steps, logs = [], []
    for size, windows in ((8, 1), (2, 4)):
        recorder = tiny.GradientRecorder()
        model, run = run_of(
            tmp_path, name, per_device_train_batch_size=size, gradient_accumulation_steps=windows,
            callbacks=[recorder], learning_rate=0.0,
        )  # fmt: skip
        run.train()
        steps.append(recorder.steps[0])
        logs.append({key: value for key, value in run.state.log_history[0].items() if key.startswith("loss")})
    if name == "bert":
        batch = tiny.collate(tiny.rows(8))
        labels = batch.pop("labels")
    else:
        pixels, labels = pictures.batch(name, 8)
        batch = {"pixel_values": pixels}
    model.train().zero_grad()
    stacked = model(**{key: value.repeat(PASSES, *[1] * (value.dim() - 1)) for key, value in batch.items()}).logits
    stacked = stacked.view(PASSES, 8, 3)
    assert normalized_variance(stacked).min() > 0.005
    parts = vwci_parts(stacked, labels)
    sum(parts.values()).backward()
    expected = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    for step, log in zip(steps, logs, strict=True):
        assert set(log) == {"loss", "loss_cls", "loss_uniform"}
        assert log["loss_uniform"] == pytest.approx(parts["loss_uniform"].item(), abs=1e-5)
        assert log["loss"] == pytest.approx(sum(parts.values()).item(), abs=1e-5)
        assert tiny.largest_gap(expected, step) < 1e-5 * max(1.0, max(g.abs().max() for g in expected.values()))


def test_dropout_tells_the_passes_apart_and_a_resumed_run_draws_the_same(tmp_path):
    settings = {"mix_method": "vwci", "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    data = tiny.rows(16)
    whole = tiny.trainer(tmp_path / "whole", data, tiny.bert(dropout=0.3), **settings)
    whole.train()
    assert all(line["loss_uniform"] > 1e-4 for line in whole.state.log_history[:3])
    again = tiny.trainer(tmp_path / "again", data, tiny.bert(dropout=0.3, seed=3), **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    tiny.assert_same_learnt(whole, again)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix_method": "vwci", "vwci_passes": 0}, "vwci_passes must be at least 1, got 0"),
        ({"mix_method": "mixup", "vwci_passes": 2}, r"vwci_passes\) goes with the clean loss alone"),
        ({"mix_method": "vwci", "penalty_weight": 0.1}, "set it to 1, or leave out the other terms"),
    ],
)
def test_impossible_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.arguments(tmp_path, **options)


def test_labels_that_are_no_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="vwci_passes.* has no meaning for regression"):
        tiny.trainer(tmp_path, tiny.rows(4, kind="regression"), tiny.bert(num_labels=1), mix_method="vwci")
