# SPDX-License-Identifier: Apache-2.0
"""Class weights, losses of one's own and soft labels: a step learns what a plain loop over all its rows would."""

import ddp_losses_worker as worker
import processes
import pytest
import tiny
import torch
from safetensors.torch import load_file

from logitmix_nlp.mixing import mixers


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
    model, batch = tiny.bert().train(), tiny.collate(worker.rows(kind, count))
    y, partner = batch.pop("labels"), torch.arange(count) ^ 1
    w = torch.tensor(worker.CLASS_WEIGHTS) if kind == "class_weights" else torch.ones(3)

    def loss(logits, y):
        p = logits.softmax(-1)
        if kind == "soft":
            return -(y * p.log()).sum(-1)
        p = p[torch.arange(count), y]
        return (1 - p) ** 2 * -p.log() if kind == "row_loss" else w[y] * -p.log()

    weight, terms = w[y].sum() if kind == "class_weights" else count, {}
    clean = logits_of(model, batch)
    mixed = logits_of(model, batch, partner) if method != "vanilla" else None
    if method != "mixup":
        terms["loss_cls"] = loss(clean, y).sum() / weight
    if method != "vanilla":
        terms["loss_mix"] = (0.3 * loss(mixed, y) + 0.7 * loss(mixed, y[partner])).sum() / weight
    if method == "logitmix":
        terms["loss_sim"] = (0.3 * clean + 0.7 * clean[partner] - mixed).square().mean()
    sum(terms.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": sum(terms.values()).item(), **{name: term.item() for name, term in terms.items()}}, gradients


@pytest.mark.parametrize("method", worker.METHODS)
@pytest.mark.parametrize("kind", worker.KINDS)
def test_a_step_of_four_and_two_rows_is_one_of_six(tmp_path, monkeypatch, kind, method):
    monkeypatch.setattr(mixers, "sample_plan", worker.neighbours)
    losses, gradients = worker.step(tmp_path, kind, method, 6, 4)
    expected, expected_gradients = reference(kind, method, 6)
    assert losses == pytest.approx(expected, abs=1e-5)
    assert tiny.largest_gap(gradients, expected_gradients) < 1e-5


def test_two_processes_learn_what_one_loop_does(tmp_path):
    record = processes.launch(2, worker.main, tmp_path, 8, 2)
    for kind in worker.KINDS:
        for method in worker.METHODS:
            expected, gradients = reference(kind, method, 8)
            assert record[f"{kind}-{method}"] == pytest.approx(expected, abs=1e-5)
            assert tiny.largest_gap(load_file(tmp_path / f"{kind}-{method}.safetensors"), gradients) < 1e-5
