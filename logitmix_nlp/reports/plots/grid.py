# SPDX-License-Identifier: Apache-2.0
"""Images in rows, each with its caption."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from logitmix_nlp.reports.plots.style import plot_file, wrapped

__all__ = ["image_grid"]


def image_grid(
    rows: Mapping[str, tuple[np.ndarray, Sequence[str]]],
    target: str | Path | IO,
    title: str = "",
    *,
    file_format: str | None = None,
    style: str = "light",
) -> None:
    """Draw rows of images, the name of each row on the left and a caption under each image.

    Args:
        rows (`Mapping[str, tuple[np.ndarray, Sequence[str]]]`): Name of each row, its images of shape `(N, H, W, 3)`
            or `(N, H, W)` with values in `[0, 1]`, and their captions.
        target (`str`, `Path` or binary file): Where the plot goes; the suffix of a path decides the format.
        title (`str`): Heading of the whole plot.
        file_format (`str`, *optional*): `"svg"`, `"png"` or `"pdf"`; needed for a file without a name.
        style (`str`): `"light"` or `"dark"`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If there is no image, rows differ in length, an image has no caption, or there is no such style.
    """
    counts = {len(images) for images, _ in rows.values()} | {len(captions) for _, captions in rows.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"Every row needs as many images and captions as the others, found {sorted(counts)}.")
    (columns,) = counts
    with plot_file(target, file_format, (1.15 * columns + 1.5, 1.4 * len(rows) + 0.5), title, style) as (figure, _):
        axes = figure.subplots(len(rows), columns, squeeze=False)
        for line, (name, (images, captions)) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(wrapped(name, 16), rotation=0, ha="right", va="center", fontsize=9)
            for axis, image, caption in zip(line, images, captions, strict=True):
                axis.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                axis.set_xlabel(caption, fontsize=8)
                axis.spines[:].set_visible(False)
