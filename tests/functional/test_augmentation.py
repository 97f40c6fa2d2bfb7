# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessorPil

from logitmix_nlp.functional.augmentation import (
    CropFlip,
    crop_flip,
    enlarge_pixels,
    normalize_pixels,
    sample_crop_flip,
)


def reference(image, top, left, flip, padding):
    """One image, by hand: a larger black one, a slice of it, mirrored."""
    channels, height, width = image.shape
    larger = np.zeros((channels, height + 2 * padding, width + 2 * padding), dtype=image.dtype)
    larger[:, padding : padding + height, padding : padding + width] = image
    cut = larger[:, top : top + height, left : left + width]
    return cut[:, :, ::-1] if flip else cut


@pytest.mark.parametrize("shape", [(7, 3, 8, 8), (5, 1, 6, 9), (1, 3, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_and_flips_are_those_of_one_image_at_a_time(shape, dtype):
    images = torch.randint(1, 255, shape).to(dtype)
    before, plan = images.clone(), sample_crop_flip(len(images), 3, 0.5, generator=torch.Generator().manual_seed(1))
    found = crop_flip(images, plan, 3)
    expected = [reference(x, *draw, 3) for x, *draw in zip(images.numpy(), *(d.tolist() for d in plan), strict=True)]
    assert found.dtype == dtype
    assert np.array_equal(found.numpy(), np.stack(expected))
    assert torch.equal(images, before)


def test_the_middle_crop_without_a_flip_is_the_image():
    images = torch.rand(2, 3, 5, 5)
    middle = torch.full((2,), 4)
    assert torch.equal(crop_flip(images, CropFlip(middle, middle, torch.zeros(2, dtype=torch.bool)), 4), images)
    assert torch.equal(crop_flip(images, sample_crop_flip(2, 0, 0.0), 0), images)
    assert torch.equal(crop_flip(images, sample_crop_flip(2, 0, 1.0), 0), images.flip(-1))


def test_draws_are_uniform_and_reach_both_ends():
    plan = sample_crop_flip(20000, 4, 0.25, generator=torch.Generator().manual_seed(0))
    for draw in (plan.top, plan.left):
        counts = torch.bincount(draw, minlength=9)
        assert len(counts) == 9
        assert (counts - 20000 / 9).abs().max() < 5 * (20000 / 9) ** 0.5
    assert plan.flip.float().mean() == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(plan.top, plan.left)


def test_normalised_and_enlarged_bytes_are_what_the_image_processor_makes():
    pixels = np.random.default_rng(0).integers(256, size=(6, 8, 3), dtype=np.uint8)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    size = {"height": 24, "width": 16}
    processor = ViTImageProcessorPil(size=size, resample=Image.Resampling.NEAREST, image_mean=mean, image_std=std)
    expected = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    found = enlarge_pixels(normalize_pixels(images, mean, std), 24, 16)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected.float(), atol=1e-6)
    assert torch.equal(found, normalize_pixels(images, mean, std).repeat_interleave(4, 2).repeat_interleave(2, 3))


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        sample_crop_flip(2, -1, 0.5)
    with pytest.raises(ValueError, match=r"flip_prob must lie in \[0, 1\], got 1.5"):
        sample_crop_flip(2, 1, 1.5)
    with pytest.raises(ValueError, match="8 x 8 pixels cannot be enlarged to 12 x 16"):
        enlarge_pixels(torch.zeros(1, 3, 8, 8), 12, 16)
