# SPDX-License-Identifier: Apache-2.0
"""Every method for images under bf16 and activation checkpointing: the same mixtures, losses and gradients."""

import pictures
import pytest
import tiny

import logitmix_nlp.mixing.mixers as mixers_module

STEPS = 2  # LaMix mixes in the second
FROZEN = {"learning_rate": 0.0, "max_steps": STEPS, "per_device_train_batch_size": 4}


@pytest.fixture
def shares(monkeypatch):
    """Grids of 4, since a finer one has more labels to tip over; and the true shares of every mixture."""
    found, blend = [], mixers_module.puzzlemix

    def spy(*args, **options):
        mixed, plan = blend(*args, **options)
        found.append(plan.lam)
        return mixed, plan

    monkeypatch.setattr(mixers_module, "sample_grid", lambda *args, **kwargs: 4)
    monkeypatch.setattr(mixers_module, "puzzlemix", spy)
    return found


def learn(tmp_path, method, **switch):
    """Loss terms and gradients of two steps without a change of weights."""
    recorder = tiny.GradientRecorder()
    run = pictures.trainer(tmp_path, "vit", 8, mix_method=method, callbacks=[recorder], **FROZEN, **switch)
    run.train()
    lines = [{key: v for key, v in line.items() if key.startswith("loss")} for line in run.state.log_history[:STEPS]]
    return lines, recorder.steps


@pytest.mark.parametrize("method", [name for name in pictures.METHODS if name != "logitmix"])
def test_bf16_and_activation_checkpointing(tmp_path, shares, method):
    plain, gradients = learn(tmp_path, method)
    wanted = list(shares)
    lines, found = learn(tmp_path, method, **{tiny.CHECKPOINTING: True})
    for line, other in zip(plain, lines, strict=True):
        assert other == pytest.approx(line, abs=1e-6)
    assert max(tiny.largest_gap(*pair) for pair in zip(gradients, found, strict=True)) < 1e-5
    assert [lam.tolist() for lam in shares[len(wanted) :]] == [lam.tolist() for lam in wanted]
    lines, found = learn(tmp_path, method, bf16=True)
    for line, other in zip(plain, lines, strict=True):
        assert other == pytest.approx(line, rel=0.05, abs=0.01)
        assert other != line
    largest = max(g.abs().max().item() for step in gradients for g in step.values())
    assert 0 < max(tiny.largest_gap(*pair) for pair in zip(gradients, found, strict=True)) < 0.2 * largest
    assert all(g.dtype == p.dtype for one, other in zip(gradients, found, strict=True)
               for g, p in zip(one.values(), other.values(), strict=True))  # fmt: skip
