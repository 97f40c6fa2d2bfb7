# SPDX-License-Identifier: Apache-2.0
import image_files
import pytest
import torch
import transformers

from logitmix_nlp.images.datasets import ImageRows
from logitmix_nlp.images.pictures import NEAREST, enlarges_only, seen_size
from logitmix_nlp.images.processors import check_processor, model_pixels

SMALL = {"size": {"height": 24, "width": 24}}


def processor(name, **options):
    return getattr(transformers, f"{name}ImageProcessorPil")(**options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ViT", SMALL),
        ("ViT", {"do_resize": False}),
        ("ViT", {"do_rescale": False, **SMALL}),
        ("ViT", {"do_normalize": False, **SMALL}),
        ("ConvNext", {"size": {"shortest_edge": 24}}),
        ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": {"height": 24, "width": 24}}),
        ("EfficientNet", {"include_top": False, **SMALL}),
        ("MobileViT", {"size": {"shortest_edge": 32}, "crop_size": {"height": 24, "width": 24}}),
    ],
)
def test_what_the_model_sees_is_what_its_processor_makes(name, options):
    own = processor(name, **options)
    check_processor(own)
    rows = ImageRows(image_files.rows(2, size=(30, 40)), own)
    found = model_pixels(torch.stack([rows[0]["pixel_values"]]), own)
    expected = own(image_files.picture(0, 0, size=(30, 40)), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("EfficientNet", SMALL, "EfficientNetImageProcessorPil does more than resize, crop, scale and normalise"),
        ("EfficientNet", {"include_top": False, "rescale_offset": True, **SMALL}, "does more than resize"),
        ("Perceiver", {}, "PerceiverImageProcessorPil"),
        ("Siglip2", {}, "Siglip2ImageProcessorPil"),
        ("ImageGPT", {}, "ImageGPTImageProcessorPil"),
        ("Pix2Struct", {}, "Pix2StructImageProcessorPil has no do_rescale, rescale_factor"),
    ],
)
def test_processors_of_other_arithmetic_are_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        ImageRows(image_files.rows(2), processor(name, **options))


def test_a_processor_that_neither_resizes_nor_crops_has_no_size():
    assert seen_size(processor("ViT", do_resize=False)) is None
    assert seen_size(processor("ViT")) == (224, 224)


def test_images_stay_as_they_are_only_where_that_is_certain():
    image, small = image_files.picture(0, 0, size=(24, 24)), image_files.picture(0, 0, size=(12, 8))
    assert enlarges_only(image, processor("ViT", **SMALL))
    assert enlarges_only(small, processor("ViT", resample=NEAREST, **SMALL))
    assert not enlarges_only(small, processor("ViT", **SMALL))
    assert not enlarges_only(image, processor("ViT", do_resize=False))
    assert not enlarges_only(image, processor("ConvNext", size={"shortest_edge": 24}))
    assert not enlarges_only(image, processor("CLIP", crop_size={"height": 24, "width": 24}))
