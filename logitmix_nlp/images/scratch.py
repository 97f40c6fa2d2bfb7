# SPDX-License-Identifier: Apache-2.0
"""A model with random weights for the images at hand, and the image processor that belongs to it."""

import warnings
from collections.abc import Sequence

from datasets import Dataset
from transformers import AutoModelForImageClassification, BaseImageProcessor, PretrainedConfig, PreTrainedModel

from logitmix_nlp.images.arguments import ImageModelArguments
from logitmix_nlp.images.backbones import scratch_config
from logitmix_nlp.images.pictures import common_size, make_processor, pixel_statistics, read_image
from logitmix_nlp.training.model_folders import explained

__all__ = ["from_scratch", "name_classes"]

USUAL_SIZE = 224


def from_scratch(
    args: ImageModelArguments, rows: Dataset, names: Sequence[str], *, column: str = "image", where: str = "train"
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Build the model of `--config_name` for some training images.

    Args:
        args (`ImageModelArguments`): Which configuration, and for which size.
        rows (`Dataset`): Training rows with images that are not decoded.
        names (`Sequence[str]`): Class names by id.
        column (`str`): Name of the image column.
        where (`str`): Split, for errors.

    Returns:
        `tuple`: The model, weights drawn from torch's random state, and its image processor, which normalises by mean
        and standard deviation of the training images.

    Raises:
        ValueError: If the configuration or a setting is unknown, an image cannot be read, or a size must be chosen.
        ImportError: If the model needs timm and it is missing.
    """
    config, enlarge = scratch_config(
        args.config_name, args.config_overrides, cache_dir=args.cache_dir, token=args.token
    )
    own = read_image(rows[column][0], f"{where}, row 1").size[::-1]
    if args.image_size is not None:
        height = width = args.image_size
    elif enlarge > 1:
        height, width = (enlarge * side for side in common_size(rows, column, where))
    else:
        height, width = _sides(config)
    enlarged = enlarge > 1 and height % own[0] == 0 and width % own[1] == 0
    if "image_size" in config.to_dict():
        config.image_size = height if height == width else (height, width)
    name_classes(config, names)
    what = f"--config_name {args.config_name} with --config_overrides {args.config_overrides}: no such model"
    with explained(what), warnings.catch_warnings():
        warnings.filterwarnings("error", "Initializing zero-element tensors")  # torch makes such layers, but runs none
        model = AutoModelForImageClassification.from_config(config)
    return model, make_processor(height, width, *pixel_statistics(rows, column, where), enlarged=enlarged)


def name_classes(config: PretrainedConfig, names: Sequence[str]) -> None:
    """Write class names, and with them the number of outputs, into a configuration."""
    config.id2label = dict(enumerate(names))
    config.label2id = {name: label for label, name in enumerate(names)}
    config.problem_type = "single_label_classification"


def _sides(config: PretrainedConfig) -> tuple[int, int]:
    size = config.to_dict().get("image_size", USUAL_SIZE)
    return (size, size) if isinstance(size, int) else tuple(size)
