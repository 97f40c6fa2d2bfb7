# SPDX-License-Identifier: Apache-2.0
"""Small images on disk, in the layouts that the image script reads."""

import io
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image

NAMES = ("cat", "dog")
TINY = ["--config_name=resnet20", "--config_overrides=embedding_size=8,hidden_sizes=[8],depths=[1]"]


def picture(label: int, number: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """Noise, brighter for the second class; `size` is width and height."""
    rng = np.random.default_rng(10 * number + label)
    pixels = rng.integers(100, size=(size[1], size[0], 3), dtype=np.uint8) + np.uint8(100 * label)
    return Image.fromarray(pixels).convert(mode)


def write_folder(folder: Path, each: int = 6, names: tuple[str, ...] = NAMES, **options) -> Path:
    """One folder of PNG files per class."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture(label, number, **options).save(folder / name / f"{number}.png")
    return folder


def rows(count: int = 12, **options) -> Dataset:
    """The same images as PNG bytes, classes in turn."""
    images = []
    for number in range(count):
        file = io.BytesIO()
        picture(number % 2, number, **options).save(file, format="PNG")
        images.append({"bytes": file.getvalue(), "path": None})
    features = Features({"image": ImageFeature(decode=False), "label": ClassLabel(names=list(NAMES))})
    return Dataset.from_dict({"image": images, "label": [n % 2 for n in range(count)]}, features=features)


def write_parquet(path: Path, count: int = 12, **options) -> Path:
    """The same as a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows(count, **options).cast_column("image", ImageFeature()).to_parquet(str(path))
    return path
