# SPDX-License-Identifier: Apache-2.0
"""What trainers draw and hand on to the step, watched and not replaced."""

import dataclasses

import ddp_draws_worker
import drawn
import pictures
import pytest
import tiny
import torch
from processes import launch

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.training.methods import MIX_METHODS

TERMS = ("mix_weight", "cls_weight", "sim_weight", "penalty_weight")
MIXING = [name for name in pictures.METHODS if MIX_METHODS[name].mixes]


@pytest.fixture
def calls(monkeypatch):
    return drawn.watch(monkeypatch.setattr)


def test_the_seed_of_the_run_reaches_every_draw(tmp_path, calls):
    """Seeds 5, 6 and 5 again, the model and its rows being the same."""
    runs = []
    for seed in (5, 6, 5):
        for found in calls.values():
            found.clear()
        settings = {"mix_site": "embeddings,layer:0-2", "mix_prob": 0.5, "seed": seed}
        sites = watched_sites(tmp_path, **settings)
        plans = [(plan.index.tolist(), plan.lam.tolist()) for plan in drawn.results(calls["plans"])]
        pictures.trainer(tmp_path, "vit", 8, mix_method="cutmix", seed=seed).train()
        runs.append((sites, plans, [box.tolist() for box in drawn.results(calls["boxes"])]))
    first, second, again = runs
    assert first == again
    for one, other in zip(first, second, strict=True):
        assert one != other
    lams = [{lam[0] for _, lam in run[1]} for run in runs]
    assert not lams[0] & lams[1]


@pytest.mark.parametrize("method", ["cutmix", "puzzlemix", "lamix_p"])
def test_draws_do_not_depend_on_other_random_numbers(tmp_path, calls, method):
    """Pairs, λ, boxes and grids of a model with dropout are those of one without."""
    runs = []
    for dropout in (0.0, 0.4):
        for found in calls.values():
            found.clear()
        model = pictures.model("vit", hidden_dropout_prob=dropout)
        pictures.trainer(tmp_path, "vit", 16, model=model, mix_method=method).train()
        plans = [(plan.index.tolist(), plan.lam.tolist()) for plan in drawn.results(calls["plans"])]
        boxes = [box.tolist() for box in drawn.results(calls["boxes"])]
        runs.append((plans, boxes, drawn.results(calls["grids"])))
    assert runs[0] == runs[1]
    assert len(runs[0][0]) == len(runs[0][1]) + len(runs[0][2]) == (2 if method == "lamix_p" else 4)


def watched_sites(tmp_path, **settings) -> list[str | None]:
    """Site of each batch of a text run, `None` for plain ones."""
    sites = []

    class Watching(LogitMixTrainer):
        def _forward(self, model, inputs, rows, mixture, site, weights):
            sites.append(None if site is None else site.name)
            return super()._forward(model, inputs, rows, mixture, site, weights)

    tiny.trainer(tmp_path, tiny.rows(48), None, Watching, **settings).train()
    return sites


@pytest.mark.parametrize("method", MIXING)
def test_every_value_of_a_preset_reaches_the_step(tmp_path, calls, method):
    """Two steps, since LaMix mixes in the second; λ of CutMix's boxes is one per batch unless said otherwise."""
    preset = MIX_METHODS[method]
    pictures.trainer(tmp_path, "vit", 8, mix_method=method, max_steps=2).train()
    _check_step(calls, preset, "permutation", steps=1 if preset.mix_schedule == "alternate" else 2)


@pytest.mark.parametrize("method", MIXING)
def test_every_value_a_user_sets_reaches_the_step(tmp_path, calls, method):
    options = {
        "mix_alpha": 0.7, "lam_per_sample": not MIX_METHODS[method].lam_per_sample, "mix_weight": 0.9,
        "cls_weight": 0.8, "sim_weight": 0.6, "penalty_weight": 0.05, "label_smoothing_factor": 0.2,
        "mix_schedule": "random", "mix_lam": "half", "label_lam": "half", "lamix_beta": 0.7,
        "class_weights": [1.0, 2.0, 0.5],
    }  # fmt: skip
    changed = dataclasses.replace(MIX_METHODS[method], **options)
    more = {"mix_pairing": "roll", "sim_norm": "l2"}
    pictures.trainer(tmp_path, "vit", 8, mix_method=method, max_steps=2, **options, **more).train()
    _check_step(calls, changed, "roll", steps=2, sim_norm="l2")


def _check_step(calls, wanted, pairing, steps, sim_norm="mse"):
    assert len(calls["plans"]) == steps
    for args, kwargs, plan in calls["plans"]:
        assert args == (4, wanted.mix_alpha)
        assert (kwargs["per_sample"], kwargs["pairing"]) == (wanted.lam_per_sample, pairing)
        assert (plan.lam.unique().numel() > 1) == wanted.lam_per_sample
    assert len(calls["boxes"]) == (steps if wanted.mixer == "cutmix" else 0)
    assert len(calls["grids"]) == (steps if wanted.mixer == "puzzlemix" else 0)
    for _, _, boxes in calls["boxes"]:
        assert len(boxes) == (4 if wanted.lam_per_sample else 1)
    assert len(calls["terms"]) == 2
    mixed_steps = zip(drawn.results(calls["plans"]), calls["terms"][-steps:], strict=True)
    for aim, ((clean, mixed, _, plan), kwargs, _) in mixed_steps:
        assert (clean is None) == (wanted.cls_weight == wanted.sim_weight == wanted.penalty_weight == 0)
        assert mixed.shape == (4, 3)
        assert {term: kwargs[term] for term in TERMS} == {term: getattr(wanted, term) for term in TERMS}
        assert (kwargs["beta"], kwargs["sim_norm"]) == (wanted.lamix_beta, sim_norm)
        assert kwargs["row_loss"].label_smoothing == wanted.label_smoothing_factor
        weights = kwargs["row_loss"].class_weights
        assert (None if weights is None else weights.tolist()) == wanted.class_weights
        assert (kwargs["mixed_soft"] is None) == (wanted.lamix_beta == 1)
        halves = torch.full((4,), 0.5)
        if wanted.mixer == "mixup":
            assert torch.equal(plan.lam, halves if wanted.mix_lam == "half" else aim.lam)
        if wanted.label_lam == "mixed":
            assert kwargs["label_lam"] is None
        else:
            assert torch.equal(kwargs["label_lam"], halves if wanted.label_lam == "half" else aim.lam)


@pytest.mark.parametrize(("kind", "plain", "full"), [("none", 0, 0), ("step", 2, 2), ("grad", 5, 14)])
def test_the_warm_up_reaches_the_step(tmp_path, calls, kind, plain, full):
    """20 steps: plain ones first, from `full` on the full loss; in between at least one of the mixed term alone."""
    tiny.trainer(tmp_path, tiny.rows(80), mix_warmup=kind, mix_site="layer:1").train()
    weights = [tuple(found.as_dict().values())[:3] for found in drawn.results(calls["weights"])]
    assert weights[:plain] == [(0, 1, 0)] * plain
    assert weights[full:] == [(1, 1, 1)] * (20 - full)
    assert set(weights[plain:full]) == ({(1, 0, 0), (1, 1, 1)} if kind == "grad" else set())


def test_processes_draw_apart_and_decide_together(tmp_path):
    """Two processes: pairs, λ, boxes, grids and crops of their own; one mind on whether, where and with what terms."""
    one, two = launch(2, ddp_draws_worker.main, tmp_path / "out")
    texts = one["text"], two["text"]
    assert [text["rank"] for text in texts] == [0, 1]
    for name in ("sites", "weights"):
        assert texts[0][name] == texts[1][name]
    assert len(texts[0]["sites"]) == 24
    assert {None, "embeddings", "layer:0", "layer:1", "layer:2"} == set(texts[0]["sites"])
    assert {tuple(weights[:3]) for weights in texts[0]["weights"]} == {(0, 1, 0), (1, 0, 0), (1, 1, 1)}
    shares = [lam[0] for text in texts for lam in text["lam"]]
    assert len(set(shares)) == len(shares) == 2 * sum(site is not None for site in texts[0]["sites"])
    assert sum(a != b for a, b in zip(texts[0]["index"], texts[1]["index"], strict=True)) > len(shares) / 4
    for method, names in (("cutmix", ("crops", "boxes")), ("puzzlemix", ("crops", "grids"))):
        for name in names:
            pairs = list(zip(one[method][name], two[method][name], strict=True))
            assert len(pairs) == 6
            assert sum(a != b for a, b in pairs) >= (2 if name == "grids" else 6)
