# SPDX-License-Identifier: Apache-2.0
"""Mixing at any site of any architecture equals an explicit reference, in logits and in gradients."""

import pytest
import tiny
import torch
import zoo

from logitmix_nlp.functional import MixPlan, PartialPlan, mix, union_mask
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import INPUT, find_blocks, find_pooler, find_sites, list_sites

COUNT = 4
MODELS = [*zoo.TEXT_MODELS, *zoo.IMAGE_MODELS]
BYPASSED = {("bert-mean-head", "pooler")}  # its head looks at the blocks
TOKEN_MODELS = ["bert", "roberta", "distilbert", "deberta-v2", "electra"]


def plan():
    return MixPlan(torch.tensor([2, 0, 3, 1]), torch.tensor([0.2, 0.45, 0.7, 0.9])).to(tiny.device())


def blend(hidden, rows_first):
    return mix(hidden, plan()) if rows_first else mix(hidden.transpose(0, 1), plan()).transpose(0, 1)


def first(output):
    return first(output[0]) if isinstance(output, tuple) else output


def with_first(output, hidden):
    return (with_first(output[0], hidden), *output[1:]) if isinstance(output, tuple) else hidden


class Tap:
    """Read, or replace, the hidden states at one depth of the model, with hooks of its own."""

    def __init__(self, model, depth, replacement=None):
        self.depth, self.replacement, self.calls, self.hidden = depth, replacement, 0, None
        blocks, _ = find_blocks(model)
        pooler = find_pooler(model)
        modules = list(dict.fromkeys(blocks + ([pooler] if pooler is not None else [])))
        self.handles = [module.register_forward_pre_hook(self.enter, with_kwargs=True) for module in modules]
        self.handles += [module.register_forward_hook(self.leave) for module in modules]

    def enter(self, module, args, kwargs):
        if self.depth == self.calls == 0:
            self.hidden = args[0]
            if self.replacement is not None:
                return tuple(self.replacement if x is self.hidden else x for x in args), kwargs
        return None

    def leave(self, module, args, output):
        self.calls += 1
        if self.calls != self.depth:
            return None
        self.hidden = first(output)
        return None if self.replacement is None else with_first(output, self.replacement)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def reference(name, model, inputs, depth):
    """Clean logits, and logits of a pass whose hidden states at `depth` are replaced by the mixture."""
    if depth == INPUT:
        return model(**inputs).logits, model(pixel_values=mix(inputs["pixel_values"], plan())).logits
    with Tap(model, depth) as tap:
        clean = model(**inputs).logits
    hidden = blend(tap.hidden, rows_first=name != "xlnet")
    second = dict(inputs)
    if "input_ids" in inputs:
        mask, ids = inputs["attention_mask"], inputs["input_ids"]
        second["attention_mask"] = union_mask(mask, plan())
        second["input_ids"] = torch.where(mask.bool(), ids, ids[plan().index])
    with Tap(model, depth, hidden):
        return clean, model(**second).logits


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("name", "tokens"), [*((name, False) for name in MODELS), *((name, True) for name in TOKEN_MODELS)]
)
def test_every_site_equals_the_explicit_reference(name, tokens):
    model, inputs = zoo.build(name, tokens=tokens).eval(), zoo.batch(name)
    sites = [site for site in find_sites(model, ",".join(list_sites(model))) if (name, site.name) not in BYPASSED]
    assert len(sites) >= 4
    mixer = SiteMixer(model)
    with mixer.installed():
        probe(mixer, model, inputs, COUNT, sites, needs_similarity=True)
    for site in sites:
        for keep_clean in (True, False):
            clean, mixed = reference(name, model, inputs, site.depth)
            assert clean.shape == ((COUNT, 8, 3) if tokens else (COUNT, 3))
            weights = torch.randn(2, *clean.shape).to(clean)
            expected = gradients(model, (weights[0] * clean * keep_clean + weights[1] * mixed).sum())
            with mixer.installed():
                logits = model(**mixer.activate(inputs, plan(), site, keep_clean=keep_clean)).logits
                loss = (weights[0] * logits[:COUNT] * keep_clean + weights[1] * logits[-COUNT:]).sum()
                found = gradients(model, loss)
            where = f"{name} at {site.name}, keep_clean={keep_clean}"
            assert torch.allclose(logits[-COUNT:], mixed, atol=1e-5), where
            if keep_clean:
                assert torch.allclose(logits[:COUNT], clean, atol=1e-5), where
            scale = max(1.0, max(g.abs().max().item() for g in expected.values()))
            used = {key: g for key, g in found.items() if key in expected or g.abs().max() > 0}
            assert tiny.largest_gap(expected, used) < 1e-5 * scale, where


@pytest.mark.parametrize("name", MODELS)
def test_the_sites_of_a_model_are_not_one(name):
    model, inputs = zoo.build(name).eval(), zoo.batch(name)
    sites = [site for site in find_sites(model, ",".join(list_sites(model))) if site.name != "pooler"]
    with torch.no_grad():
        logits = [reference(name, model, inputs, site.depth)[1] for site in sites if site.depth != INPUT]
    gaps = [(one - other).abs().max().item() for one, other in zip(logits, logits[1:], strict=False)]
    assert min(gaps) > 1e-6


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("bert", "xlnet", "gpt2", "swin") else pytest.mark.slow)
        for name in MODELS
    ],
)
def test_a_share_of_the_mixtures_equals_those_of_all(name):
    model, inputs = zoo.build(name).eval(), zoo.batch(name)
    every = [site for site in find_sites(model, ",".join(list_sites(model))) if (name, site.name) not in BYPASSED]
    sites = [every[0], every[1], every[-1]]
    own = torch.tensor([2, 0, 3][: COUNT - 1], device=tiny.device())
    some = PartialPlan(plan().index[own], plan().lam[own], own)
    mixer = SiteMixer(model)
    with torch.no_grad(), mixer.installed():
        probe(mixer, model, inputs, COUNT, sites, needs_similarity=True)
        for site in sites:
            whole = model(**mixer.activate(inputs, plan(), site, keep_clean=True)).logits
            for keep_clean in (True, False):
                found = model(**mixer.activate(inputs, some, site, keep_clean=keep_clean)).logits
                assert torch.allclose(found[-len(own) :], whole[-COUNT:][own], atol=1e-5), site.name
                if keep_clean:
                    assert found.shape == (COUNT + len(own), 3)
                    assert torch.allclose(found[:COUNT], whole[:COUNT], atol=1e-5)
