# SPDX-License-Identifier: Apache-2.0
"""Crops, flips and normalisation of whole batches of images: the usual augmentation of CIFAR, without torchvision."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812

from logitmix_nlp.functional.mixing import sent

__all__ = ["CropFlip", "crop_flip", "enlarge_pixels", "normalize_pixels", "sample_crop_flip"]


class CropFlip(NamedTuple):
    """Where each image of a batch is cropped, and whether it is mirrored.

    Args:
        top (`torch.Tensor` of shape `(B,)`): First row of the crop in the padded image, integers in `[0, 2 padding]`.
        left (`torch.Tensor` of shape `(B,)`): First column, in the same range.
        flip (`torch.Tensor` of shape `(B,)`): Booleans: mirrored left to right.
    """

    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor


def sample_crop_flip(
    batch_size: int,
    padding: int,
    flip_prob: float,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> CropFlip:
    """Draw a crop and a flip for each image.

    Args:
        batch_size (`int`): Number of images `B`.
        padding (`int`): Pixels of black around an image before it is cropped to its size again, at least 0.
        flip_prob (`float`): Probability that an image is mirrored, in `[0, 1]`.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU.
        device (`torch.device` or `str`): Where the draws go.

    Returns:
        `CropFlip`: Uniform and independent per image.

    Raises:
        ValueError: If `padding` is negative or `flip_prob` no probability.
    """
    if padding < 0:
        raise ValueError(f"padding must be at least 0, got {padding}.")
    if not 0.0 <= flip_prob <= 1.0:
        raise ValueError(f"flip_prob must lie in [0, 1], got {flip_prob}.")
    top, left = torch.randint(2 * padding + 1, (2, batch_size), generator=generator)
    flip = torch.rand(batch_size, generator=generator) < flip_prob
    return CropFlip(*(sent(draw, device) for draw in (top, left, flip)))


def crop_flip(images: torch.Tensor, plan: CropFlip, padding: int) -> torch.Tensor:
    """Pad each image with zeros, crop it to its own size and mirror it, as the plan says.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Images of any type; not written to.
        plan (`CropFlip`): One crop and flip per image, drawn for the same `padding`.
        padding (`int`): Pixels of zeros on each side.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: New images of the same type.
    """
    batch_size, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (padding,) * 4)
    rows = plan.top[:, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(batch_size, width)
    columns = plan.left[:, None] + torch.where(plan.flip[:, None], width - 1 - columns, columns)
    image, channel = torch.arange(batch_size, device=device), torch.arange(channels, device=device)
    return padded[
        image[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]


def enlarge_pixels(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Turn each pixel into a rectangle of equal ones.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Images.
        height (`int`): New height, a multiple of `H`.
        width (`int`): New width, a multiple of `W`.

    Returns:
        `torch.Tensor` of shape `(B, C, height, width)`: The images themselves if they have that size already.

    Raises:
        ValueError: If a new side is no multiple of the old one.
    """
    rows, columns = images.shape[-2:]
    if height % rows or width % columns:
        raise ValueError(f"Images of {rows} x {columns} pixels cannot be enlarged to {height} x {width}: no multiple.")
    if (height, width) == (rows, columns):
        return images
    return F.interpolate(images, size=(height, width), mode="nearest-exact")


def normalize_pixels(
    images: torch.Tensor, mean: Sequence[float], std: Sequence[float], scale: float = 1 / 255
) -> torch.Tensor:
    """`(scale * images - mean) / std`, channel by channel, in float32.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Pixels, for example bytes.
        mean (sequence of `C` floats): What is subtracted from the scaled pixels.
        std (sequence of `C` floats): What they are divided by then.
        scale (`float`): What pixels are multiplied by first.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: Float32.
    """
    mean, std = (sent(torch.tensor(values), images.device).view(1, -1, 1, 1) for values in (mean, std))
    return (images.float() * scale - mean) / std
