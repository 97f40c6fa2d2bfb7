# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pictures
import pytest
import torch

from logitmix_nlp.images.examples import mixed_examples
from logitmix_nlp.reports.plots import image_grid


@pytest.fixture
def batch():
    images, labels = pictures.batch("resnet", 6)
    return pictures.model("resnet").eval(), images, labels


def test_mixed_images_are_what_their_label_says(batch):
    model, images, labels = batch
    found = mixed_examples("logitmix_m", model, images, labels, seed=3)
    lam = found.lam.view(-1, 1, 1, 1)
    assert torch.allclose(found.images, lam * images + (1 - lam) * images[found.index], atol=1e-6)
    assert not (found.index == torch.arange(6)).any()
    cut = mixed_examples("cutmix", model, images, labels, seed=3)
    own = (cut.images == images).all(1).float().mean((1, 2))
    assert torch.allclose(own, cut.lam, atol=1e-6)
    half = mixed_examples("lamix", model, images, labels, seed=3)
    assert torch.allclose(half.images, (images + images[half.index]) / 2, atol=1e-6)
    assert half.lam.unique().numel() == 6


def test_puzzlemix_looks_through_the_model_and_leaves_it_alone(batch):
    model, images, labels = batch
    before = images.clone()
    one, again = (mixed_examples("logitmix_p", model, images, labels, seed=3) for _ in range(2))
    assert torch.equal(one.images, again.images)
    assert torch.equal(images, before)
    assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    assert not torch.equal(mixed_examples("logitmix_p", model, images, labels, seed=3).images, one.images)


@pytest.mark.parametrize("method", ["vanilla", "label_smoothing"])
def test_methods_that_mix_no_pixels_are_refused(batch, method):
    with pytest.raises(ValueError, match=f"mix_method='{method}' does not mix pixels"):
        mixed_examples(method, *batch)


def test_the_grid_is_a_picture_and_says_what_does_not_fit():
    pixels = np.zeros((2, 4, 4, 3))
    target = io.BytesIO()
    image_grid({"a": (pixels, ["1", "2"]), "b": (pixels[..., 0], ["3", "4"])}, target, file_format="png")
    assert target.getvalue().startswith(b"\x89PNG")
    for rows in ({}, {"a": (pixels, ["1"])}, {"a": (pixels[:0], [])}):
        with pytest.raises(ValueError, match="as many images and captions"):
            image_grid(rows, target, file_format="png")
