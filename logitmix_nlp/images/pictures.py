# SPDX-License-Identifier: Apache-2.0
"""From stored images to bytes of one size, and the image processor that a model from scratch is saved with."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import BaseImageProcessor, ViTImageProcessorPil

from logitmix_nlp.mixing.outputs import SetupError

try:
    from PIL import Image
except ImportError as error:
    raise ImportError("Images need Pillow: pip install 'logitmix-nlp[vision]'") from error

__all__ = [
    "BadImage",
    "common_size",
    "enlarges_only",
    "make_processor",
    "pixel_statistics",
    "read_image",
    "seen_size",
    "to_bytes",
]

BILINEAR, NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST


class BadImage(SetupError):
    """An image of the data that cannot be used; the message says which, and what to do."""

    def __str__(self) -> str:
        """The last line: a worker of a `DataLoader` puts its traceback before it."""
        return super().__str__().strip().splitlines()[-1]


def read_image(value: Any, where: str) -> Image.Image:
    """Open an image as RGB, as Transformers' pipelines do: grey becomes three equal channels, transparency is dropped.

    Args:
        value (`dict`, `bytes`, `str` or `PIL.Image.Image`): What a dataset stores: `{"bytes": ..., "path": ...}`, the
            bytes of an image file, a path, or an image.
        where (`str`): Split and row, for the error.

    Returns:
        `PIL.Image.Image`: In mode RGB.

    Raises:
        BadImage: If there is no image, or it is damaged.
    """
    with _named(value, where), _open(value) as image:
        return image.convert("RGB")


def common_size(rows: Dataset, column: str, where: str) -> tuple[int, int]:
    """Height and width that all images of a split share; only their headers are read.

    Args:
        rows (`Dataset`): Rows with an image column that is not decoded.
        column (`str`): Its name.
        where (`str`): Split, for the error.

    Returns:
        `tuple[int, int]`: Height and width in pixels.

    Raises:
        BadImage: If one cannot be read, or sizes differ.
    """
    common: tuple[int, int] | None = None
    for row, value in enumerate(rows[column], start=1):
        with _named(value, f"{where}, row {row}"), _open(value) as image:
            width, height = image.size
        if common not in (None, (height, width)):
            raise BadImage(
                f"{where}, row {row}{_place(value)}: the image is {width} pixels wide and {height} high, those before "
                f"it {common[1]} and {common[0]}: choose what the model sees with --image_size."
            )
        common = (height, width)
    return common


def pixel_statistics(rows: Dataset, column: str, where: str, limit: int = 2000) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of pixels in `[0, 1]`, for normalising.

    Args:
        rows (`Dataset`): Training rows with an image column that is not decoded.
        column (`str`): Its name.
        where (`str`): Split, for an error.
        limit (`int`): Images that are looked at, spread evenly over the split.

    Returns:
        `tuple[list[float], list[float]]`: Means and standard deviations of red, green and blue; a constant channel has
        the standard deviation 1.

    Raises:
        BadImage: If an image cannot be read.
    """
    places = np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int)).tolist()
    count, sums, squares = 0, np.zeros(3), np.zeros(3)
    for row, value in zip(places, rows.select(places)[column], strict=True):
        pixels = np.asarray(read_image(value, f"{where}, row {row + 1}"), dtype=np.float64).reshape(-1, 3) / 255
        count, sums, squares = count + len(pixels), sums + pixels.sum(0), squares + (pixels**2).sum(0)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return [round(float(value), 4) for value in mean], [round(float(value), 4) or 1.0 for value in std]


def make_processor(
    height: int, width: int, mean: Sequence[float], std: Sequence[float], *, enlarged: bool = False
) -> BaseImageProcessor:
    """The image processor of a model from scratch: resize to one size, scale to `[0, 1]`, normalise.

    Args:
        height (`int`): Of what the model sees, in pixels.
        width (`int`): Likewise.
        mean (`Sequence[float]`): Mean of each channel, of pixels in `[0, 1]`.
        std (`Sequence[float]`): Their standard deviation.
        enlarged (`bool`): Whether each pixel becomes a square (nearest neighbour); else bilinear interpolation.

    Returns:
        `BaseImageProcessor`: Saved with the model, so that `pipeline("image-classification")` does the same.
    """
    return ViTImageProcessorPil(
        size={"height": height, "width": width},
        resample=NEAREST if enlarged else BILINEAR,
        image_mean=list(mean),
        image_std=list(std),
    )


def seen_size(processor: BaseImageProcessor) -> tuple[int, int] | None:
    """Height and width of what a model sees; `None` if they depend on the image, as where nothing resizes or crops."""
    settings = processor.to_dict()
    if not settings.get("do_center_crop") and not settings.get("do_resize"):
        return None
    size = settings["crop_size"] if settings.get("do_center_crop") else settings["size"]
    return (size["height"], size["width"]) if size.get("height") and size.get("width") else None


def enlarges_only(image: Image.Image, processor: BaseImageProcessor) -> bool:
    """Whether the processor leaves the pixels of such an image as they are, or makes a square of each."""
    settings, seen = processor.to_dict(), seen_size(processor)
    if seen is None or settings.get("do_center_crop") or not settings["do_resize"]:
        return False
    sides = (image.height, image.width)
    exact = settings["resample"] == NEAREST and all(new % old == 0 for new, old in zip(seen, sides, strict=True))
    return exact or seen == sides


def to_bytes(image: Image.Image, processor: BaseImageProcessor) -> torch.Tensor:
    """Resize and crop an image as the processor does, without its scaling and normalisation.

    Args:
        image (`PIL.Image.Image`): In mode RGB.
        processor (`BaseImageProcessor`): Of the model.

    Returns:
        `torch.Tensor` of shape `(3, H, W)`: Bytes, in `[0, 255]`.
    """
    inputs = processor(image, do_rescale=False, do_normalize=False, return_tensors="pt")
    return inputs["pixel_values"][0].to(torch.uint8)


@contextlib.contextmanager
def _named(value: Any, where: str) -> Iterator[None]:
    """Say which image it was that could not be read."""
    try:
        yield
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise BadImage(f"{where}{_place(value)}: not a readable image ({reason}); fix or remove it.") from error


def _open(value: Any) -> contextlib.AbstractContextManager[Image.Image]:
    if isinstance(value, Image.Image):
        return contextlib.nullcontext(value)
    if isinstance(value, dict):
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if value is None:
        raise ValueError("there is none")
    if not isinstance(value, (bytes, str)):
        raise TypeError(f"found {type(value).__name__}")
    return Image.open(io.BytesIO(value) if isinstance(value, bytes) else value)


def _place(value: Any) -> str:
    path = value.get("path") if isinstance(value, dict) else value if isinstance(value, str) else None
    return f" ({path})" if path else ""
