# SPDX-License-Identifier: Apache-2.0
"""What data and models hold, wherever they lie: files may be moved without making another run, not changed."""

import functools
import hashlib
import json
import mimetypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import CONFIG_NAME

from glue_runs.tasks.glue import get_task
from glue_runs.tasks.sources import glue_files
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.evaluation.data.files import SAVED_NAME
from logitmix_nlp.publishing.hub.white_list import PROCESSOR_FILES

__all__ = ["DATA_PLACES", "MODEL_PLACES", "differences", "digests"]

MODEL_PLACES = ("model_name_or_path", "config_name", "tokenizer_name", "deepspeed")
DATA_PLACES = (
    "data_dir", "dataset_name", "train_file", "validation_file", "test_file", "train_dir", "validation_dir",
    "test_dir",
)  # fmt: skip
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.bin.index.json")
_LARGE = 2**33  # bytes; of the files of a larger split only the first and last million count
_BLOCK = 2**20


def digests(values: Mapping[str, Any], splits: Sequence[str]) -> dict[str, str]:
    """A digest of the files that each split, and each model, configuration and tokenizer, is read from.

    Args:
        values (`Mapping[str, Any]`): Arguments of a run by name; those of models and data are read.
        splits (`Sequence[str]`): Names of splits.

    Returns:
        `dict[str, str]`: By split, and by the argument that names a model. What comes from the Hub, or whose files are
        not to be seen from here, has none.
    """
    files = {split: _split_files(values, split) for split in splits}
    by_name = {split: _digest(paths) for split, paths in files.items() if paths}
    for name in MODEL_PLACES:
        place = Path(values[name]) if isinstance(values.get(name), str) and values[name] else None
        if place is not None and place.is_file():
            by_name[name] = _digest({"": place})
        elif place is not None and place.is_dir():
            paths = [place / file for file in PROCESSOR_FILES] + [p for kind in _WEIGHTS for p in place.glob(kind)]
            files = {path.name: path for path in paths if path.is_file()}
            by_name[name] = _digest(files, _config(place / CONFIG_NAME))
    return by_name


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], contents: Mapping[str, str], contents_now: Mapping[str, str]
) -> list[str]:
    """What two runs do differently, in words; nothing if they are the same run.

    Args:
        before (`Mapping[str, Any]`): Arguments of the first that count.
        now (`Mapping[str, Any]`): Arguments of the second; those that `before` lacks are not compared.
        contents (`Mapping[str, str]`): What [`digests`] said of the first.
        contents_now (`Mapping[str, str]`): What it says of the second. Where both are known, places do not count.
    """
    known = {name for name in contents_now if name in contents}
    moved = (known & set(MODEL_PLACES)) | (set(DATA_PLACES) if "train" in known else set())
    images = "image_column_name" in now
    changed = [
        f"{name}: {before[name]!r} there, {value!r} now"
        for name, value in now.items()
        if name in before and name not in moved and not _same(name, before[name], value, images=images)
    ]
    replaced = sorted(name for name in known if contents[name] != contents_now[name])
    return changed + [f"{name}: its files have changed" for name in replaced]


def _same(name: str, before: Any, now: Any, *, images: bool) -> bool:
    if name == "mix_site" and images:  # which have an input to mix, whatever is named behind it
        return str(before).split("|")[0] == str(now).split("|")[0]
    if name in (*MODEL_PLACES, *DATA_PLACES) and isinstance(before, str) and isinstance(now, str):
        return os.path.realpath(before) == os.path.realpath(now)
    return before == now


def _config(path: Path) -> str:
    """A configuration without the temperature, which training removes."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return json.dumps({k: v for k, v in dict(config).items() if k != TEMPERATURE_KEY}, sort_keys=True)


def _split_files(args: Mapping[str, Any], split: str) -> dict[str, Path]:
    """Files of a split, by what is to be the same of their names."""
    base = split.partition("_")[0]  # MNLI has two of each
    file, folder, name = args.get(f"{base}_file"), args.get(f"{base}_dir"), args.get("dataset_name")
    try:
        if file is not None:
            return {Path(file).suffix.lower(): Path(file)} if Path(file).is_file() else {}
        if folder is not None:
            return {name: path for name, path in _files_below(Path(folder)).items() if _may_be_image(name)}
        if args.get("data_dir") is not None:
            task, place = args.get("task_name"), Path(args["data_dir"])
            return _parts(place, split) if task is None else _named(glue_files(get_task(task), split, place))
        if name is not None and Path(name).is_dir():
            return _dataset_files(Path(name), split)
    except (OSError, ValueError):  # reading the data says what is wrong with them
        pass
    return {}


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    return {path.name: path for path in paths}


def _parts(folder: Path, split: str) -> dict[str, Path]:
    return _named(sorted(folder.glob(f"{split}-*.parquet")))


def _dataset_files(folder: Path, split: str) -> dict[str, Path]:
    """Files of a folder for `load_dataset`, or of `save_to_disk`: those named after the split, else all."""
    saved = (folder / SAVED_NAME).is_file()
    root = folder / split if saved else folder
    files = _files_below(root)
    named = {name: path for name, path in files.items() if any(part.startswith(split) for part in name.split("/"))}
    return files if saved or not named else named


def _files_below(folder: Path) -> dict[str, Path]:
    """All files that are not hidden, by their place in the folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path for name, path in files.items() if not any(part.startswith(".") for part in name.split("/"))}


def _may_be_image(name: str) -> bool:
    kind, _ = mimetypes.guess_type(name, strict=False)
    return "/" in name and (kind is None or kind.startswith("image/"))


def _digest(files: Mapping[str, Path], more: str = "") -> str:
    stats = {name: path.stat() for name, path in files.items()}
    whole = sum(stat.st_size for stat in stats.values()) <= _LARGE
    parts = [[n, _file_digest(files[n], stat.st_size, stat.st_mtime_ns, whole)] for n, stat in sorted(stats.items())]
    return hashlib.blake2b(json.dumps([parts, more]).encode(), digest_size=16).hexdigest()


@functools.cache
def _file_digest(path: Path, size: int, changed: int, whole: bool) -> str:
    """A digest of one file, computed once as long as it does not change."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if not whole and size > 2 * _BLOCK:
            digest.update(file.read(_BLOCK))
            file.seek(-_BLOCK, 2)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
