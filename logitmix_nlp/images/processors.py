# SPDX-License-Identifier: Apache-2.0
"""The second half of an image processor, done for whole batches on the device; and whether that is all it does."""

import numpy as np
import torch
from PIL import Image
from transformers import BaseImageProcessor

from logitmix_nlp.functional.augmentation import enlarge_pixels, normalize_pixels
from logitmix_nlp.images.pictures import seen_size, to_bytes

__all__ = ["check_processor", "model_pixels"]

NEEDED = {"do_rescale", "rescale_factor"}
PROBE_SIZE = (67, 45)  # neither square nor of a size that a processor would leave alone


def model_pixels(images: torch.Tensor, processor: BaseImageProcessor) -> torch.Tensor:
    """Scale, normalise and, where each pixel is to become a square, enlarge images of the right size.

    Args:
        images (`torch.Tensor` of shape `(B, 3, h, w)`): Bytes, as [`images.pictures.to_bytes`] makes them, or as they
            are stored where the processor only enlarges.
        processor (`BaseImageProcessor`): Of the model.

    Returns:
        `torch.Tensor` of shape `(B, 3, H, W)`: What the model takes, float32.
    """
    scale = processor.rescale_factor if processor.do_rescale else 1.0
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0], [1.0])
    images = normalize_pixels(images, mean, std, scale)
    return enlarge_pixels(images, *(seen_size(processor) or images.shape[-2:]))


def check_processor(processor: BaseImageProcessor) -> None:
    """Refuse an image processor that does more than resize, crop, `scale x`, `(x - mean) / std`.

    One image of noise goes both ways: through the processor, and through [`images.pictures.to_bytes`] and
    [`model_pixels`].

    Args:
        processor (`BaseImageProcessor`): Of the model.

    Raises:
        ValueError: Naming the processor, if a setting is missing or both ways do not make the same pixels.
    """
    name, settings = type(processor).__name__, processor.to_dict()
    advice = "choose another model, or train one from scratch with --config_name (timm's: timm/NAME)."
    lacking = sorted(NEEDED - set(settings))
    if lacking:
        raise ValueError(f"{name} has no {', '.join(lacking)}, so that its pixels cannot be made here: {advice}")
    noise = np.random.default_rng(0).integers(256, size=(*PROBE_SIZE, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    try:
        expected = processor(image, return_tensors="pt")["pixel_values"].float()
        actual = model_pixels(to_bytes(image, processor)[None], processor)
    except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{name} cannot be followed step by step ({reason}): {advice}") from error
    if actual.shape != expected.shape:
        raise ValueError(f"{name} makes {tuple(expected.shape)} of an image, here {tuple(actual.shape)}: {advice}")
    gap, size = (actual - expected).abs().max().item(), expected.abs().max().item()
    if not gap <= 1e-4 * max(size, 1.0):
        raise ValueError(
            f"{name} does more than resize, crop, scale and normalise: its pixels differ by up to {gap:.3g} from "
            f"(scale x - mean) / std: {advice}"
        )
