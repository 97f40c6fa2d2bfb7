# SPDX-License-Identifier: Apache-2.0
"""Mixing and losses on the device of the tests, in each dtype, against the same in float64 on the CPU."""

from pathlib import Path

import pytest
import torch

from logitmix_nlp.functional import (
    cutmix,
    mix,
    mixing_loss_parts,
    paste_spans,
    puzzlemix,
    saliency,
    salient_spans,
    sample_boxes,
    sample_plan,
    sample_spans,
    text_segments,
    union_mask,
)
from logitmix_nlp.functional.augmentation import crop_flip, sample_crop_flip

ROWS, CLASSES = 6, 4
KINDS = ("single_label_classification", "multi_label_classification", "regression")


def draws(device, **options):
    """The same plan here and on the device."""
    return [
        sample_plan(ROWS, 2.0, generator=torch.Generator().manual_seed(3), device=where, **options)
        for where in ("cpu", device)
    ]


def close(found, expected, dtype, device):
    assert found.device.type == device.type
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double().cpu(), expected.double(), atol=8 * step, rtol=8 * step)


PLANS = [{}, {"per_sample": True}, {"pairing": "roll"}, {"share": 0.5}]


@pytest.mark.parametrize("options", PLANS, ids=str)
def test_mixtures(device, dtype, options):
    x, mask = torch.randn(ROWS, 5, 7).to(dtype), torch.rand(ROWS, 5) > 0.5
    here, there = draws(device, **options)
    assert torch.equal(here.index, there.index.cpu())
    assert torch.equal(here.lam, there.lam.cpu())
    close(mix(x.to(device), there), mix(x.double(), here), dtype, device)
    assert torch.equal(union_mask(mask.to(device), there).cpu(), union_mask(mask, here))


def labels_of(kind):
    if kind == "regression":
        return torch.randn(ROWS)
    return torch.randint(2, (ROWS, CLASSES)).double() if kind.startswith("multi") else torch.randint(CLASSES, (ROWS,))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_every_term_and_its_gradient(device, dtype, kind, share):
    classes = 1 if kind == "regression" else CLASSES
    here, there = draws(device, per_sample=True, share=share)
    logits = [torch.randn(rows, classes).to(dtype) for rows in (ROWS, len(here.index), ROWS, len(here.index))]
    labels = labels_of(kind)
    weights = {"mix_weight": 1.0, "cls_weight": 0.5, "sim_weight": 2.0}
    single = kind == KINDS[0]
    weights |= {"penalty_weight": 0.1, "beta": 0.7, "label_smoothing": 0.1} if single else {}
    results = []
    for plan, where, wanted in ((here, "cpu", torch.float64), (there, device, dtype)):
        clean, mixed, *soft = (x.to(where, wanted).requires_grad_() for x in logits)
        given = labels.to(where) if single else labels.to(where, wanted)
        more = {"clean_soft": soft[0], "mixed_soft": soft[1]} if single else {}
        parts = mixing_loss_parts(clean, mixed, given, plan, problem_type=kind, **weights, **more)
        sum(parts.values()).backward()
        results.append([*parts.values(), clean.grad, mixed.grad])
    for expected, found in zip(*results, strict=True):
        close(found, expected, dtype, device)


@pytest.mark.parametrize("boxes", [1, ROWS])
def test_boxes_are_cut_alike(device, dtype, boxes):
    images, (here, there) = torch.rand(ROWS, 3, 12, 10).to(dtype), draws(device, per_sample=True)
    cut = sample_boxes(here.lam[:boxes], 12, 10, generator=torch.Generator().manual_seed(1))
    expected, plan = cutmix(images, here, cut)
    found, other = cutmix(images.to(device), there, cut if boxes == 1 else cut.to(device))
    assert torch.equal(found.cpu(), expected)
    assert torch.equal(other.lam.cpu(), plan.lam)


@pytest.mark.parametrize("t_size", [None, 4])
def test_puzzles_are_laid_alike(device, t_size):
    """In float32, which decides close calls; the gradient has no ties."""
    images, (here, there) = torch.rand(ROWS, 3, 16, 16), draws(device, per_sample=True)
    blocks = saliency(torch.randn(ROWS, 3, 16, 16))
    expected, plan = puzzlemix(images, here, blocks, grid=4, t_size=t_size)
    found, other = puzzlemix(images.to(device), there, blocks.to(device), grid=4, t_size=t_size)
    close(found, expected, torch.float32, device)
    close(other.lam, plan.lam, torch.float32, device)


@pytest.mark.parametrize("salient", [True, False])
def test_spans_are_pasted_alike(device, salient):
    ids, special = torch.randint(3, 50, (ROWS, 14)), torch.tensor([0, 1, 2])
    ids[:, 0], ids[:, 7], ids[:3, 12:] = 1, 2, 0
    here, there = draws(device, per_sample=True)
    scores, results = torch.rand(ROWS, 14), []
    for plan, where in ((here, "cpu"), (there, device)):
        tokens = ids.to(where)
        segments = text_segments(tokens, (tokens != 0).long(), special.to(where))
        if salient:
            spans = salient_spans(segments, plan, scores.to(where))
        else:
            spans = sample_spans(segments, plan, generator=torch.Generator().manual_seed(2))
        results.append(paste_spans(tokens, segments, plan, spans))
    (expected, plan), (found, other) = results
    assert torch.equal(found.cpu(), expected)
    assert not torch.equal(expected, ids)
    close(other.lam, plan.lam, torch.float32, device)


def test_crops_are_made_alike(device, dtype):
    images = torch.rand(ROWS, 3, 9, 8).to(dtype)
    here, there = (
        sample_crop_flip(ROWS, 2, 0.5, generator=torch.Generator().manual_seed(4), device=where)
        for where in ("cpu", device)
    )
    assert torch.equal(crop_flip(images.to(device), there, 2).cpu(), crop_flip(images, here, 2))


def test_a_device_that_is_not_there_ends_the_tests_at_once(monkeypatch, request):
    conftest = request.config.pluginmanager.get_plugin(str(Path(__file__).parents[1] / "conftest.py"))
    monkeypatch.setenv("TEST_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(pytest.exit.Exception, match=r"DEVICE=cuda: PyTorch .* sees no GPU on this machine\.$"):
        conftest.pytest_configure()
