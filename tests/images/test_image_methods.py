# SPDX-License-Identifier: Apache-2.0
"""Each method for images against its loss written out, and what batch normalisation sees of it."""

import dataclasses

import pictures
import pytest
import tiny
import torch
import torch.nn.functional as F  # noqa: N812
from transformers import ViTImageProcessor

import logitmix_nlp.mixing.mixers as mixers_module
from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.functional import MixPlan, mixing_loss_parts, puzzlemix, saliency
from logitmix_nlp.mixing import mixers
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites, list_sites
from logitmix_nlp.training.methods import MIX_METHODS

INDEX, LAM = torch.tensor([1, 2, 3, 0]), 0.3
PIXEL_METHODS = ("mixup", "logitmix_m", "cutmix", "logitmix_c", "puzzlemix", "logitmix_p")


@pytest.fixture
def fixed(monkeypatch):
    """One pairing, one λ, one box and one grid for every batch."""
    plan = MixPlan(INDEX, torch.full((4,), LAM))
    monkeypatch.setattr(mixers, "sample_plan", lambda *args, **kwargs: plan)
    monkeypatch.setattr(mixers_module, "sample_boxes", lambda *args, **kwargs: torch.tensor([[2, 0, 12, 6]]))
    monkeypatch.setattr(mixers_module, "sample_grid", lambda *args, **kwargs: 4)


def cross_entropy(logits, labels):
    return logits.logsumexp(-1) - logits[torch.arange(len(labels)), labels]


def written_out(name, method, model, images, labels):
    """Loss of one batch as its paper has it, with a forward pass for everything; and the true shares."""
    preset = MIX_METHODS[method]
    mix_weight, cls_weight, sim_weight = preset.mix_weight, preset.cls_weight, preset.sim_weight
    height, width = images.shape[-2:]
    lam = torch.full((4,), LAM)
    apart, clean = preset.mixer == "puzzlemix", None
    if preset.mixer == "cutmix":
        mixed = images.clone()
        mixed[:, :, 2:12, 0:6] = images[INDEX][:, :, 2:12, 0:6]
        lam = torch.full((4,), 1 - 60 / (height * width))
    elif apart:
        pixels = images.clone().requires_grad_()
        clean = model.train(bool(cls_weight))(pixels).logits
        gradient = torch.autograd.grad(cross_entropy(clean, labels).mean(), pixels, retain_graph=True)[0]
        mixed, (_, lam) = puzzlemix(images, MixPlan(INDEX, lam), saliency(gradient), grid=4)
    else:
        mixed = LAM * images + (1 - LAM) * images[INDEX]
    model.train()
    if cls_weight and not apart:
        clean, mixed_logits = model(torch.cat([images, mixed])).logits.chunk(2)
    else:
        mixed_logits = model(mixed).logits
    own, other = cross_entropy(mixed_logits, labels), cross_entropy(mixed_logits, labels[INDEX])
    loss = mix_weight * (lam * own + (1 - lam) * other).mean()
    if cls_weight:
        target = lam[:, None] * clean + (1 - lam)[:, None] * clean[INDEX]
        loss = loss + cls_weight * cross_entropy(clean, labels).mean()
        loss = loss + sim_weight * ((mixed_logits - target) ** 2).mean(1).mean()
    return loss, lam


def first_step(tmp_path, name, method, **options):
    """Trainer after one step, its log line and the gradients of that step."""
    recorder = tiny.GradientRecorder()
    run = pictures.trainer(tmp_path, name, 4, mix_method=method, callbacks=[recorder], max_steps=1, **options)
    run.train()
    return run, run.state.log_history[0], recorder.steps[0]


@pytest.mark.parametrize("method", PIXEL_METHODS)
@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_loss_gradient_and_statistics_are_those_written_out(tmp_path, fixed, name, method):
    """ResNet: statistics over clean and mixed rows together, with PuzzleMix over one and then the other."""
    reference, (images, labels) = pictures.model(name), pictures.batch(name, 4)
    loss, lam = written_out(name, method, reference, images, labels)
    loss.backward()
    run, line, gradients = first_step(tmp_path, name, method, learning_rate=0.0)
    assert line["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert line["loss"] == pytest.approx(sum(line[term] for term in run.args.loss_terms), abs=1e-6)
    scale = max(p.grad.abs().max().item() for p in reference.parameters() if p.grad is not None)
    expected = {key: p.grad for key, p in reference.named_parameters() if p.grad is not None}
    assert tiny.largest_gap(expected, gradients) < 1e-5 * max(1.0, scale)
    statistics, found = dict(reference.named_buffers()), dict(run.model.named_buffers())
    assert not statistics or tiny.largest_gap(statistics, found) < 1e-5
    assert method not in ("puzzlemix", "logitmix_p") or lam.unique().numel() > 1


def test_label_smoothing_and_confidence_penalty_are_their_papers(tmp_path):
    images, labels = pictures.batch("vit", 4)
    logp = pictures.model("vit")(images).logits.log_softmax(-1)
    smooth = 0.9 * F.one_hot(labels, 3) + 0.1 / 3
    _, line, _ = first_step(tmp_path, "vit", "label_smoothing")
    assert line["loss"] == line["loss_cls"] == pytest.approx(-(smooth * logp).sum(1).mean().item(), abs=1e-5)
    _, line, _ = first_step(tmp_path, "vit", "confidence_penalty")
    entropy = -(logp.exp() * logp).sum(1).mean().item()
    assert line["loss_penalty"] == pytest.approx(-0.1 * entropy, abs=1e-6)
    assert line["loss"] == pytest.approx(F.nll_loss(logp, labels).item() - 0.1 * entropy, abs=1e-5)


def test_manifold_mixup_draws_the_input_and_the_first_two_layers(tmp_path, fixed):
    images, labels = pictures.batch("resnet", 4)
    run, line, _ = first_step(tmp_path, "resnet", "manifold_mixup")
    assert [site.name for site in run._sites] == ["input", "layer:0", "layer:1"]
    assert [site.name for site in find_sites(tiny.bert(), run.args.mix_site)] == ["embeddings", "layer:0", "layer:1"]
    losses = []
    for site in run._sites:
        _, fixed_site, _ = first_step(tmp_path, "resnet", "manifold_mixup", mix_site=site.name)
        losses.append(fixed_site["loss"])
    assert len(set(losses)) == 3
    assert line["loss"] in losses


@pytest.mark.parametrize("name", ["vit", "resnet"])
@pytest.mark.parametrize("method", ["logitmix_m", "logitmix_c"])
def test_mixing_pixels_gives_bitwise_the_loss_of_the_core(tmp_path, fixed, name, method):
    """The Trainer's loss, and the functional core on logits of the same 2B rows, as for text."""
    images, labels = pictures.batch(name, 4)
    model, preset = pictures.model(name), MIX_METHODS[method]
    mixture, _ = mixers.draw_mixture(preset, 4, torch.Generator(), None, {})
    mixed, plan = mixture.blend(images, mixture.plan, None)
    clean, mixed = model(pixel_values=torch.cat([images, mixed])).logits.split(4)
    weights = {term: getattr(preset, term) for term in ("mix_weight", "cls_weight", "sim_weight")}
    parts = mixing_loss_parts(clean, mixed, labels, plan, **weights, reduction="sum")
    seen = []

    class Watching(LogitMixTrainer):
        def compute_loss(self, *args, **kwargs):
            seen.append(super().compute_loss(*args, **kwargs))
            return seen[-1]

    args = tiny.arguments(tmp_path, mix_method=method, mix_site="input", max_steps=1)
    Watching(pictures.model(name), args, train_dataset=pictures.rows(name, 4)).train()
    assert torch.equal(seen[0].reshape(()), sum(part * (1 / torch.tensor([4])) for part in parts.values()).reshape(()))


def test_saliency_costs_logitmix_p_no_forward_pass_and_no_method_a_gradient(fixed):
    images, labels = pictures.batch("resnet", 4)
    model, passes = pictures.model("resnet"), []
    model.resnet.embedder.register_forward_pre_hook(
        lambda module, args: passes.append((len(args[0]), module.training))
    )
    mixer, (site,) = SiteMixer(model), find_sites(model, "input")
    assert list_sites(model)[0] == "input"
    mixture, _ = mixers.draw_mixture(
        MIX_METHODS["puzzlemix"], 4, torch.Generator(), lambda logits: F.cross_entropy(logits, labels), {}
    )
    plan = mixture.plan
    before = images.clone()
    for keep_clean, expected in ((True, [(4, True), (4, True)]), (False, [(4, False), (4, True)])):
        passes.clear()
        with mixer.installed():
            inputs = mixer.activate({"pixel_values": images}, site=site, keep_clean=keep_clean, **mixture._asdict())
            logits = model(**inputs).logits
            assert mixer.plan.lam.tolist() != plan.lam.tolist()
        assert passes == expected
        assert len(logits) == (8 if keep_clean else 4)
        assert all(part.training for part in model.modules())
        assert all(p.grad is None for p in model.parameters())
        assert torch.equal(images, before)


def test_the_image_processor_undoes_the_normalisation(tmp_path, monkeypatch):
    seen = []

    def spy(*args, std, **options):
        seen.append((std, options))
        return puzzlemix(*args, std=std, **options)

    monkeypatch.setattr(mixers_module, "puzzlemix", spy)
    processor = ViTImageProcessor(image_std=[0.2, 0.3, 0.5])
    options = {"max_steps": 1, "mix_method": "puzzlemix", "puzzle_options": '{"grid": 4, "t_size": 2}'}
    pictures.trainer(tmp_path, "vit", 4, processing_class=processor, **options).train()
    pictures.trainer(tmp_path, "vit", 4, **options).train()
    assert torch.equal(seen[0][0], torch.tensor([0.2, 0.3, 0.5]))
    assert seen[1][0] is None
    assert seen[0][1] == {"grid": 4, "t_size": 2}


def test_presets_are_what_the_arguments_hold(tmp_path):
    for method in pictures.METHODS:
        args = tiny.arguments(tmp_path, mix_method=method)
        preset = dataclasses.asdict(MIX_METHODS[method])
        del preset["papers"]
        assert {name: getattr(args, name) for name in preset} == preset
