# SPDX-License-Identifier: Apache-2.0
"""Whether a folder can be written to, asked before the work whose results go into it."""

import os
from pathlib import Path

__all__ = ["check_folder"]


def check_folder(folder: str | Path) -> None:
    """Raise unless files can be written into a folder, which need not be there yet and is not made.

    Raises:
        ValueError: If its name is empty.
        NotADirectoryError: If it, or a folder above it, is a file.
        PermissionError: If the nearest folder that is there cannot be written to.
    """
    if not str(folder).strip():
        raise ValueError("--output_dir is empty: give the folder that the results go to, '.' for this one.")
    place = Path(folder).resolve()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{folder} cannot be the folder of the results: {place} is a file. Name another.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be the folder of the results: {place} is not yours to write to.")
