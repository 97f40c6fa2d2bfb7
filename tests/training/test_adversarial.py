# SPDX-License-Identifier: Apache-2.0
"""The adversarial option of PuzzleMix in the Trainer: against its steps written out, and its bounds."""

from dataclasses import replace

import pictures
import pytest
import tiny
import torch
from transformers import ViTImageProcessor

import logitmix_nlp.mixing.mixers as mixers_module
from logitmix_nlp.functional import AdversarialDraw, MixPlan, puzzlemix, saliency
from logitmix_nlp.mixing import mixers
from logitmix_nlp.mixing.mixers import draw_mixture
from logitmix_nlp.training.methods import MIX_METHODS

INDEX, LAM, GRID, LENGTH = torch.tensor([1, 2, 3, 0]), 0.4, 4, 0.7
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
PROCESSOR = {"do_normalize": True, "image_mean": MEAN, "image_std": STD}
ALWAYS = {"adv_prob": 1.0, "adv_eps": 6, "grid": GRID}


def rows(name: str, count: int, scaled: bool = True) -> list[dict]:
    """Images with pixels in [0, 1], some black and some white, normalised by the processor's numbers if `scaled`."""
    mean, std = (torch.tensor(part)[:, None, None] for part in (MEAN, STD))
    examples = pictures.rows(name, count)
    for example in examples:
        pixels = (example["pixel_values"] * 0.4 + 0.5).clamp(0, 1)
        example["pixel_values"] = (pixels - mean) / std if scaled else pixels
    return examples


@pytest.fixture
def fixed(monkeypatch):
    """One pairing, λ and length of the step; what `puzzlemix` gets is recorded."""
    seen = []

    def spy(images, plan, salient, **options):
        seen.append({"images": images, "salient": salient, **options})
        return puzzlemix(images, plan, salient, **options)

    plan = MixPlan(INDEX, torch.full((4,), LAM))
    monkeypatch.setattr(mixers, "sample_plan", lambda *args, **kwargs: plan)
    monkeypatch.setattr(mixers_module, "puzzlemix", spy)
    return seen


def draw_of(monkeypatch, first: bool, second: bool) -> None:
    draw = AdversarialDraw(first, second, LENGTH)
    monkeypatch.setattr(mixers_module, "sample_adversarial", lambda *args, **kwargs: draw)


def first_loss(tmp_path, method: str, data: list[dict], **options):
    run = pictures.trainer(
        tmp_path, "vit", data=data, mix_method=method, max_steps=1, learning_rate=0.0,
        processing_class=ViTImageProcessor(**PROCESSOR), **options,
    )  # fmt: skip
    run.train()
    return run.state.log_history[0]["loss"]


@pytest.mark.parametrize(
    ("method", "first", "second"),
    [
        ("puzzlemix", True, False),
        ("logitmix_p", False, True),
        ("logitmix_p", True, True),
        ("puzzlemix", False, False),
    ],
)
def test_one_step_is_that_of_the_authors_written_out(tmp_path, fixed, monkeypatch, method, first, second):
    draw_of(monkeypatch, first, second)
    noises = []

    def noise(images, *args, **kwargs):
        noises.append(start_noise(images, *args, **kwargs))
        return noises[-1]

    start_noise = mixers_module.start_noise
    monkeypatch.setattr(mixers_module, "start_noise", noise)
    data = rows("vit", 4)
    loss = first_loss(tmp_path, method, data, puzzle_options=ALWAYS)

    normalised, labels = torch.stack([row["pixel_values"] for row in data]), torch.arange(4) % 3
    mean, std = (torch.tensor(part)[:, None, None] for part in (MEAN, STD))
    pixels, model, eps = normalised * std + mean, pictures.model("vit"), 6 / 255
    noise = noises[0] if first or second else torch.zeros_like(pixels)
    assert len(noises) == int(first or second)
    assert noise.abs().max() <= eps
    assert (pixels + noise).min() > -1e-6
    assert (pixels + noise).max() < 1 + 1e-6
    start = ((pixels + noise - mean) / std).requires_grad_()
    clean = model(start).logits
    gradient = torch.autograd.grad(torch.nn.functional.cross_entropy(clean, labels), start)[0]
    step = LENGTH * (noise + 8 / 255 * gradient.sign()).clamp(-eps, eps)
    perturbed = ((pixels + step).clamp(0, 1) - mean) / std
    own, partner = (perturbed if given else normalised for given in (first, second))
    mixed, plan = puzzlemix(
        normalised, MixPlan(INDEX, torch.full((4,), LAM)), saliency(gradient), grid=GRID, std=torch.tensor(STD),
        first=own, second=partner,
    )  # fmt: skip
    mixed_logits, lam = model(mixed).logits, plan.lam
    losses = [torch.nn.functional.cross_entropy(mixed_logits, y, reduction="none") for y in (labels, labels[INDEX])]
    expected = (lam * losses[0] + (1 - lam) * losses[1]).mean()
    if method == "logitmix_p":
        target = lam[:, None] * clean + (1 - lam)[:, None] * clean[INDEX]
        expected = expected + torch.nn.functional.cross_entropy(clean, labels)
        expected = expected + 0.5 * (mixed_logits - target).square().mean()
    assert loss == pytest.approx(expected.item(), abs=2e-5)
    assert torch.equal(fixed[0]["images"], normalised)
    for name, given in (("first", first), ("second", second)):
        change = 0.0 if not given else (fixed[0][name] - normalised) * std
        assert not given or 0 < change.abs().max() <= LENGTH * eps + 1e-6
        assert given or fixed[0].get(name) is None


def test_the_saliency_pass_stays_the_only_one(tmp_path):
    passes = []
    model = pictures.model("vit")
    model.vit.embeddings.register_forward_pre_hook(
        lambda module, args: passes.append(len(args[0])) if model.training else None
    )
    pictures.trainer(
        tmp_path, "vit", data=rows("vit", 4, scaled=False), model=model, mix_method="logitmix_p", max_steps=1,
        puzzle_options=ALWAYS,
    ).train()  # fmt: skip
    assert passes == [4, 4]


def train(folder, options, model=None, resume=None, **settings):
    run = pictures.trainer(
        folder, "vit", data=rows("vit", 22, scaled=False), model=pictures.model("vit") if model is None else model,
        mix_method="logitmix_p", max_steps=3, puzzle_options=options, train_sampling_strategy="random", **settings,
    )  # fmt: skip
    run.train(resume_from_checkpoint=resume)
    return run


def test_probability_zero_is_bitwise_without_and_one_is_not(tmp_path):
    without, zero, one = (
        train(tmp_path, options).model.state_dict()
        for options in ({}, {"adv_prob": 0.0, "adv_eps": 10}, {"adv_prob": 1.0})
    )
    assert all(torch.equal(without[key], zero[key]) for key in without)
    assert any(not torch.equal(without[key], one[key]) for key in without)


def test_a_resumed_run_draws_the_same_noise(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 1, "gradient_accumulation_steps": 2}
    whole = train(tmp_path / "whole", {"adv_prob": 0.6}, **settings)
    torch.rand(5)
    checkpoint = str(tmp_path / "whole" / "checkpoint-1")
    again = train(tmp_path / "again", {"adv_prob": 0.6}, pictures.model("vit", seed=3), checkpoint, **settings)
    one, other = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_batches_are_perturbed_as_often_as_asked(tmp_path):
    method = replace(MIX_METHODS["puzzlemix"], puzzle_options={"adv_prob": 0.1})
    images, perturbed = torch.rand(4, 1, 4, 4), 0
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        mixture, _ = draw_mixture(method, 4, generator, None, {})
        perturbed += not torch.equal(mixture.start(images), images)
    assert abs(perturbed / 300 - 0.19) < 0.07  # 1 - 0.9^2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adv_prob": 1.5}, r"adv_prob must lie in \[0, 1\], got 1.5"),
        ({"adv_prob": 0.1, "adv_eps": 0}, "adv_eps must be a finite number above 0"),
        ({"adv_eps": 10}, "adv_eps=10 has no meaning without adv_prob"),
        ({"adv_prob": 0.1, "mean": 0.5}, "Unknown puzzle_options mean. Available: .*, adv_prob, adv_eps"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.arguments(tmp_path, mix_method="puzzlemix", puzzle_options=options)


def test_normalised_pixels_without_their_processor_are_refused_at_the_first_batch(tmp_path):
    options = {"mix_method": "puzzlemix", "puzzle_options": {"adv_prob": 1e-9}}
    with pytest.raises(
        ValueError, match=r"those of a batch lie in \[-.*: pass the image processor that normalised them"
    ):
        pictures.trainer(tmp_path, "vit", 4, **options).train()
