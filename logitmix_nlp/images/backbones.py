# SPDX-License-Identifier: Apache-2.0
"""Image classifiers to train from scratch, each a configuration of a stock Transformers class."""

import difflib
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig, PretrainedConfig, TimmWrapperConfig

from logitmix_nlp.training.model_folders import explained, load_config

__all__ = ["BACKBONES", "TIMM_BACKBONES", "Backbone", "parse_overrides", "scratch_config"]

SMALL_STEM = 4  # ResNet's stem halves height and width twice


class Backbone(NamedTuple):
    """A model to train from scratch.

    Args:
        model_type (`str`): Its `model_type` in Transformers.
        settings (`dict[str, Any]`): What differs from that type's default configuration.
        enlarge (`int`): How many times the image processor enlarges small images, each pixel to a square.
            `ResNetConfig` has no other stem than a 7x7 convolution and a 3x3 pooling of stride 2 each; on images
            enlarged 4 times they see 11 pixels, a little less than 3 of the original's, and step by 1 of those, as
            the 3x3 stem for CIFAR does.
    """

    model_type: str
    settings: dict[str, Any] = {}
    enlarge: int = 1


BACKBONES = {
    "resnet": Backbone("resnet"),
    "resnet_small_stem": Backbone(
        "resnet",
        {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
        SMALL_STEM,
    ),
    "resnet20": Backbone(
        "resnet",
        {"embedding_size": 16, "hidden_sizes": [16, 32, 64], "depths": [3, 3, 3], "layer_type": "basic"},
        SMALL_STEM,
    ),
    "vit": Backbone("vit"),
    "mobilenet_v2": Backbone("mobilenet_v2"),
    "convnext": Backbone("convnext"),
    "swin": Backbone("swin"),
}
# Short name -> architecture of timm
TIMM_BACKBONES = {
    "vgg16": "vgg16_bn",
    "resnext50": "resnext50_32x4d",
    "preact_resnet18": "resnetv2_18",
    "wide_resnet50": "wide_resnet50_2",
    "densenet121": "densenet121",
}


def scratch_config(
    name: str, overrides: str | None = None, *, cache_dir: str | None = None, token: str | None = None
) -> tuple[PretrainedConfig, int]:
    """Configuration of a model to train from scratch.

    Args:
        name (`str`): One of `BACKBONES` or `TIMM_BACKBONES`, `timm/NAME`, or a folder, `.json` file or Hub name with a
            configuration.
        overrides (`str`, *optional*): Settings to change, see [`parse_overrides`].
        cache_dir (`str`, *optional*): Where downloads are kept.
        token (`str`, *optional*): Hub token.

    Returns:
        `tuple`: The configuration, and how many times small images are enlarged for it.

    Raises:
        ValueError: If a setting is unknown, or timm does not have the architecture.
        ImportError: If the model needs timm and it is missing.
        OSError: If there is no such configuration.
    """
    changes = parse_overrides(overrides)
    if name in BACKBONES:
        backbone = BACKBONES[name]
        _refuse_unknown(changes, AutoConfig.for_model(backbone.model_type), name)
        with explained(f"--config_overrides {overrides}: not for {name}"):
            return AutoConfig.for_model(backbone.model_type, **{**backbone.settings, **changes}), backbone.enlarge
    if name in TIMM_BACKBONES or name.startswith("timm/"):
        return _timm_config(TIMM_BACKBONES.get(name, name.removeprefix("timm/")), changes), 1
    if not Path(name).exists() and "/" not in name:
        close = difflib.get_close_matches(name, [*BACKBONES, *TIMM_BACKBONES], n=1)
        raise ValueError(
            f"--config_name {name}: no such model{f', did you mean {close[0]!r}' if close else ''}. Available: "
            f"{', '.join(BACKBONES)}; with timm: {', '.join(TIMM_BACKBONES)} or timm/NAME; or a folder or .json file."
        )
    config = load_config(name, cache_dir=cache_dir, token=token)
    _refuse_unknown(changes, config, name)
    return load_config(name, cache_dir=cache_dir, token=token, **changes), 1


def parse_overrides(text: str | None) -> dict[str, Any]:
    """Read `name=value,...` or a JSON object; values are JSON, or else words.

    Args:
        text (`str`, *optional*): For example `depths=[1,1,1],layer_type=basic`.

    Returns:
        `dict[str, Any]`: Values by name.

    Raises:
        ValueError: If it is neither.
    """
    if not text:
        return {}
    try:
        if text.lstrip().startswith("{"):
            return json.loads(text)
        pairs = [pair.partition("=") for pair in _split(text)]
        if not all(name.strip() and equals for name, equals, _ in pairs):
            raise ValueError("a pair has no name or no '='")
        return {name.strip(): _value(value.strip()) for name, _, value in pairs}
    except ValueError as error:
        raise ValueError(
            f"--config_overrides must be 'name=value,name=[1,2]' or a JSON object, got {text!r} ({error})."
        ) from error


def _split(text: str) -> list[str]:
    """The parts between commas that are not inside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _refuse_unknown(changes: dict[str, Any], config: PretrainedConfig, name: str) -> None:
    known = list(config.to_dict())
    for key in changes:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise ValueError(
                f"--config_overrides: {name} has no setting {key!r}{f', did you mean {close[0]!r}' if close else ''}."
            )


def _timm_config(architecture: str, changes: dict[str, Any]) -> PretrainedConfig:
    """Transformers' wrapper of a timm model; the changes are arguments of its constructor."""
    if importlib.util.find_spec("timm") is None:
        raise ImportError(f"timm/{architecture} needs timm: pip install 'logitmix-nlp[timm]'")
    import timm

    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise ValueError(
            f"timm {timm.__version__} has no model {architecture!r}; close: {', '.join(close) or 'none'}."
        )
    return TimmWrapperConfig(architecture=architecture, model_args=changes or None)
