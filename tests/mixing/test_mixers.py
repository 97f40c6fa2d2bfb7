# SPDX-License-Identifier: Apache-2.0
"""Mixers as the trainer draws them, for all rows and for some."""

from dataclasses import replace

import pytest
import texts
import torch

from logitmix_nlp.functional import MixPlan, PartialPlan
from logitmix_nlp.mixing import mixers
from logitmix_nlp.training.methods import MIX_METHODS

INDEX, LAM = torch.tensor([2, 3, 4, 0, 1]), torch.tensor([0.3, 0.5, 0.7, 0.2, 0.9])


@pytest.mark.parametrize("method", ["cutmix", "puzzlemix", "ssmix"])
def test_mixtures_of_some_rows_are_those_of_all(monkeypatch, method):
    own = torch.tensor([3, 0, 4])
    plans = (MixPlan(INDEX, LAM), PartialPlan(INDEX[own], LAM[own], own))
    monkeypatch.setattr(mixers, "sample_boxes", lambda shares, *size, **kwargs: torch.tensor([[1, 2, 5, 8]]))
    monkeypatch.setattr(mixers, "sample_grid", lambda *args, **kwargs: 4)
    inputs = {"pixel_values": torch.rand(5, 3, 8, 8)} if method != "ssmix" else texts.batch(texts.rows(5))
    rows = next(iter(inputs.values()))
    gradient = torch.rand(rows.shape if rows.is_floating_point() else (*rows.shape, 6)) if method != "cutmix" else None
    drawn = []
    for plan in plans:
        monkeypatch.setattr(mixers, "sample_plan", lambda *args, plan=plan, **kwargs: plan)
        mixture, _ = mixers.draw_mixture(
            MIX_METHODS[method], 5, torch.Generator(), torch.Tensor.sum, inputs, texts.tokenizer()
        )
        drawn.append(mixture.blend(rows, mixture.plan, gradient))
    (mixed, true), (some, shares) = drawn
    assert torch.equal(some, mixed[own])
    assert torch.equal(shares.lam, true.lam[own])
    assert (mixed != rows).any()
    assert torch.equal(shares.own, own)


def test_spans_are_drawn_for_the_rows_that_are_mixed():
    inputs = texts.batch(texts.rows(9))
    settings = replace(MIX_METHODS["span"], mix_share=0.5, lam_per_sample=True)
    mixture, _ = mixers.draw_mixture(settings, 9, torch.Generator().manual_seed(0), None, inputs, texts.tokenizer())
    mixed, plan = mixture.blend(inputs["input_ids"], mixture.plan, None)
    assert mixed.shape == (5, inputs["input_ids"].shape[1])
    kept = mixed == inputs["input_ids"][plan.own]
    special = torch.isin(mixed, torch.tensor(texts.SPECIAL))
    assert kept[special].all()
    content = ~special & inputs["attention_mask"][plan.own].bool()
    assert ((kept & content).sum(1) / content.sum(1) >= plan.lam - 1e-6).all()  # equal words may meet
