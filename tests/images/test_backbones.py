# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json

import image_files
import pytest
import torch
from transformers import AutoModelForImageClassification

from logitmix_nlp.functional.augmentation import enlarge_pixels
from logitmix_nlp.images import ImageModelArguments
from logitmix_nlp.images.backbones import BACKBONES, parse_overrides, scratch_config
from logitmix_nlp.images.pictures import NEAREST
from logitmix_nlp.images.scratch import from_scratch

SMALL = {
    "resnet": "embedding_size=4,hidden_sizes=[4],depths=[1],layer_type=basic",
    "resnet_small_stem": "embedding_size=4,hidden_sizes=[4],depths=[1]",
    "resnet20": "depths=[1,1,1]",
    "vit": "patch_size=4,hidden_size=8,num_hidden_layers=1,num_attention_heads=1,intermediate_size=8",
    "mobilenet_v2": "depth_multiplier=0.25,min_depth=4",
    "convnext": "hidden_sizes=[4,8],depths=[1,1],num_stages=2",
    "swin": "patch_size=2,embed_dim=4,depths=[1],num_heads=[1],window_size=2",
}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_model_is_a_stock_one_for_the_size_given(name):
    args = ImageModelArguments(config_name=name, config_overrides=SMALL[name], image_size=32)
    model, processor = from_scratch(args, image_files.rows(4), image_files.NAMES)
    assert type(model).__module__.startswith("transformers.models.")
    assert model.config.id2label == {0: "cat", 1: "dog"}
    assert model.config.to_dict().get("image_size", 32) == 32
    pixels = processor(image_files.picture(0, 0), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    assert model.eval()(pixels.float()).logits.shape == (1, 2)


def test_resnet20_has_the_layers_and_the_weights_of_the_paper():
    """He et al., Sec. 4.2: 6n+2 layers, n = 3, and 0.27 M weights; here shortcuts have weights too."""
    config, enlarge = scratch_config("resnet20")
    config.num_labels = 10
    model = AutoModelForImageClassification.from_config(config)
    convolutions = [m for n, m in model.named_modules() if isinstance(m, torch.nn.Conv2d) and "shortcut" not in n]
    assert (len(convolutions), enlarge, scratch_config("vit")[1]) == (19, 4, 1)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(0.27e6, rel=0.03)


def test_the_small_stem_keeps_the_size_and_steps_by_one_pixel():
    args = ImageModelArguments(config_name="resnet20")
    model, processor = from_scratch(args, image_files.rows(4), image_files.NAMES)
    model.eval()
    assert (processor.size["height"], processor.resample) == (32, NEAREST)
    uneven = ImageModelArguments(config_name="resnet20", image_size=36)
    assert from_scratch(uneven, image_files.rows(4), image_files.NAMES)[1].resample != NEAREST
    images = torch.rand(1, 3, 8, 8)
    moved = images.roll(1, 3)
    with torch.no_grad():
        found, shifted = (model.resnet.embedder(enlarge_pixels(x, 32, 32)) for x in (images, moved))
    assert found.shape[-2:] == (8, 8)
    assert torch.allclose(found[..., 2:5], shifted[..., 3:6], atol=1e-6)
    changed = images.clone()
    changed[..., 4, 4] += 1
    with torch.no_grad():
        difference = (model.resnet.embedder(enlarge_pixels(changed, 32, 32)) - found).abs().sum(1)[0]
    places = difference.nonzero()
    assert places.min() >= 3  # output k sees enlarged pixels 4k - 5 to 4k + 5, pixel 4 is 16 to 19
    assert places.max() <= 6


def test_the_size_is_the_images_own_or_the_configurations(tmp_path):
    odd = image_files.rows(2, size=(6, 4))
    _, processor = from_scratch(ImageModelArguments(config_name="resnet_small_stem"), odd, image_files.NAMES)
    assert dict(processor.size) == {"height": 16, "width": 24}
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"model_type": "vit", "image_size": 12, "patch_size": 4, "num_hidden_layers": 1}))
    args = ImageModelArguments(config_name=str(path), config_overrides="hidden_size=12,num_attention_heads=1")
    model, processor = from_scratch(args, odd, image_files.NAMES)
    assert dict(processor.size) == {"height": 12, "width": 12}
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (12, 1)


def test_overrides_are_read_as_values():
    found = parse_overrides('depths=[1,2], layer_type=basic,hidden_dropout=0.5,downsample=true, "x"=[[1,2],[3]]')
    assert found == {
        "depths": [1, 2],
        "layer_type": "basic",
        "hidden_dropout": 0.5,
        "downsample": True,
        '"x"': [[1, 2], [3]],
    }
    assert parse_overrides('{"depths": [1, 2]}') == {"depths": [1, 2]}
    assert parse_overrides(None) == {}


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("resnet21", None, "--config_name resnet21: no such model, did you mean 'resnet20'. Available: resnet, "),
        ("resnet", "depth=[1]", "resnet has no setting 'depth', did you mean 'depths'"),
        ("resnet", "depths", "must be 'name=value,name=\\[1,2\\]' or a JSON object, got 'depths'"),
        ("resnet", "{1}", "or a JSON object, got '.1.'"),
    ],
)
def test_wrong_names_say_what_there_is(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        scratch_config(name, overrides)


@pytest.mark.parametrize("name", ["vgg16", "timm/resnet18"])
def test_timm_models_name_their_extra(monkeypatch, name):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else find(name))
    with pytest.raises(ImportError, match=r"needs timm: pip install 'logitmix-nlp\[timm\]'"):
        scratch_config(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_name_or_path": "m", "image_size": 3}, "--image_size describes a model from scratch, --model_name_or"),
        ({"model_name_or_path": "m", "config_name": "vit"}, "--config_name describes a model from scratch"),
        *[
            ({"image_size": size}, f"--image_size must be at least 1 and at most 10000, got {size}")
            for size in (-1, 0, 10001)
        ],
    ],
)
def test_arguments_of_the_model_that_do_not_fit(options, message):
    for size in (1, 10_000):
        assert ImageModelArguments(image_size=size).config_name == "resnet20"
    with pytest.raises(ValueError, match=message):
        ImageModelArguments(**options)
