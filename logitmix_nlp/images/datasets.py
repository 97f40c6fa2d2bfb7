# SPDX-License-Identifier: Apache-2.0
"""Images with labels: folders, the packaged digits, and rows of any dataset as what the Trainer takes."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as ImageFeature
from PIL import Image
from sklearn.datasets import load_digits
from transformers import BaseImageProcessor

from logitmix_nlp.images.pictures import BadImage, enlarges_only, read_image, to_bytes
from logitmix_nlp.images.processors import check_processor

__all__ = ["ImageRows", "cut_rows", "digits", "hold_out", "read_image_folder", "stored_images"]

logger = logging.getLogger(__name__)

DIGITS_TEST_ROWS = 360  # of 1,797, a fifth
CUT_SEED = 0
MEMORY = 2**31  # bytes of decoded images that are held


class ImageRows(torch.utils.data.Dataset):
    """Rows as [`ImageTrainer`] takes them: `pixel_values` as bytes of shape `(3, H, W)`, and `labels`.

    Images are resized and cropped as the processor does, but for a size that makes a square of each pixel: such small
    images are held in memory as they are, and enlarged by the trainer.

    Args:
        rows (`Dataset`): Rows with an image column and, unless they are only to be predicted, labels.
        processor (`BaseImageProcessor`): Of the model; resizes and crops.
        image_column (`str`): Name of the image column; its images must not be decoded yet.
        label_column (`str`, *optional*): Name of the column of class ids; `None` leaves labels out.
        where (`str`): Split, for errors.

    Raises:
        ValueError: If the processor does more than can be done to whole batches, see [`check_processor`].
        BadImage: When a row is read whose image is damaged, or comes out of the processor in another size than the
            first one's.
    """

    def __init__(
        self,
        rows: Dataset,
        processor: BaseImageProcessor,
        image_column: str = "image",
        label_column: str | None = "label",
        where: str = "rows",
    ):
        check_processor(processor)
        self.images, self.column = rows.select_columns([image_column]), image_column
        self.processor, self.where = processor, where
        self.labels = None if label_column is None else torch.tensor(rows[label_column][:])
        self.pixels = self._decoded()
        self.shape = tuple(self._pixels(0).shape)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> dict[str, Any]:
        pixels = self._pixels(row)
        if pixels.shape != self.shape:
            raise BadImage(
                f"{self.where}, row {row + 1}: the image processor made {tuple(pixels.shape)} of the image, and "
                f"{self.shape} of the first one: it needs a size of both height and width, or a center crop."
            )
        return (
            {"pixel_values": pixels} if self.labels is None else {"pixel_values": pixels, "labels": self.labels[row]}
        )

    def _image(self, row: int) -> Image.Image:
        return read_image(self.images[row][self.column], f"{self.where}, row {row + 1}")

    def _pixels(self, row: int) -> torch.Tensor:
        return to_bytes(self._image(row), self.processor) if self.pixels is None else self.pixels[row]

    def _decoded(self) -> torch.Tensor | None:
        """All images as they are stored, in memory, if they are small, of one size, and at most to be enlarged."""
        first = self._image(0)
        rows, size = len(self), first.size
        if not enlarges_only(first, self.processor) or 3 * size[0] * size[1] * rows > MEMORY:
            return None
        pixels = torch.empty(rows, 3, size[1], size[0], dtype=torch.uint8)
        for row, value in enumerate(self.images[self.column]):
            image = read_image(value, f"{self.where}, row {row + 1}")
            if image.size != size:
                return None
            pixels[row] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels


def stored_images(split: Dataset, column: str, where: str) -> Dataset:
    """The split with its image column as it is stored, not decoded.

    Args:
        split (`Dataset`): Rows.
        column (`str`): Column of images: of the `Image` type, or files as `{"bytes": ..., "path": ...}`, bytes or
            paths.
        where (`str`): Split, for the error.

    Raises:
        ValueError: If there is no such column, or no rows.
    """
    if column not in split.column_names:
        columns = ", ".join(split.column_names)
        raise ValueError(f"{where} has no image column {column!r}; choose with --image_column_name out of: {columns}.")
    if len(split) == 0:
        raise ValueError(f"{where} has no rows.")
    if isinstance(split.features[column], ImageFeature):
        return split.cast_column(column, ImageFeature(decode=False))
    return split


def read_image_folder(folder: str | Path) -> Dataset:
    """Images in one folder per class, in the order of their names.

    Args:
        folder (`str` or `Path`): Its subfolders are the classes, and hold images at any depth.

    Returns:
        `Dataset`: Columns `image` (not decoded) and `label` (a `ClassLabel` of the subfolders' names).

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no subfolders, or there is one without images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; give one with a folder of images for each class.")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise ValueError(f"{folder} has no folders: its images must lie in one folder per class, named after it.")
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in known)
        if not files:
            raise ValueError(f"{folder / name} holds no image; remove it, or fill it.")
        paths += [str(path) for path in files]
        labels += [label] * len(files)
    features = Features({"image": ImageFeature(decode=False), "label": ClassLabel(names=classes)})
    return Dataset.from_dict({"image": paths, "label": labels}, features=features)


def digits() -> DatasetDict:
    """The 1,797 handwritten digits of scikit-learn, 8x8 pixels, the last 360 as `validation`; no download.

    Returns:
        `DatasetDict`: Columns `image` (PNG) and `label`, splits `train` and `validation`.
    """
    source = load_digits()
    images = [{"bytes": _png(image), "path": None} for image in (source.images * (255 / 16)).round().astype("uint8")]
    names = [str(name) for name in source.target_names]
    features = Features({"image": ImageFeature(decode=False), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"image": images, "label": source.target.tolist()}, features=features)
    border = len(rows) - DIGITS_TEST_ROWS
    return DatasetDict(train=rows.select(range(border)), validation=rows.select(range(border, len(rows))))


def hold_out(data: Mapping[str, Dataset], share: float, seed: int) -> DatasetDict:
    """Splits in which `validation` is a share of the training rows, drawn at random.

    Args:
        data (`Mapping[str, Dataset]`): Splits with `train` and without `validation`.
        share (`float`): Share of the rows, in `(0, 1)`.
        seed (`int`): Of the draw.

    Raises:
        ValueError: If one of both would be empty.
    """
    rows = len(data["train"])
    held = round(share * rows)
    if not 0 < held < rows:
        raise ValueError(f"--train_val_split {share} of {rows} training rows leaves {rows - held} and {held} rows.")
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).tolist()
    parts = {
        "train": data["train"].select(sorted(order[held:])),
        "validation": data["train"].select(sorted(order[:held])),
    }
    return DatasetDict({**data, **parts})


def cut_rows(rows: Dataset, limit: int | None, *, label_column: str, where: str, sample: bool, train: bool) -> Dataset:
    """So many rows of a split, in its order: the first ones, or a sample that is the same in every run.

    Args:
        rows (`Dataset`): A split.
        limit (`int`, *optional*): How many; `None`, or more than there are, means all.
        label_column (`str`): Column of class ids; it may be missing.
        where (`str`): Split, for errors.
        sample (`bool`): Draw the rows at random, as rows that lie class by class need it.
        train (`bool`): Whether the rows are to train on.

    Returns:
        `Dataset`: Of `min(limit, len(rows))` rows. Samples do not depend on the run's seed, so that all methods and
        seeds see the same rows, and a larger sample holds the smaller ones.

    Raises:
        ValueError: If rows to train on miss a class of the split.
    """
    if limit is None or limit >= len(rows):
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(CUT_SEED)).tolist()
    cut = rows.select(sorted(order[:limit]) if sample else range(limit))
    if label_column in rows.column_names:
        there, left = (len(set(split[label_column][:])) for split in (rows, cut))
        if left < there:
            text = f"{where}: {limit} rows hold {left} of {there} classes"
            if train:
                raise ValueError(f"{text}, the model could not learn the others: raise --max_train_samples.")
            logger.warning("%s; results on them say nothing about the others: raise the limit.", text)
    return cut


def _png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels, mode="L").save(file, format="PNG")
    return file.getvalue()
