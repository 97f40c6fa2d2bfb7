# SPDX-License-Identifier: Apache-2.0
"""The places a GLUE task is read from: the Hub, a copy of its parquet files, `save_to_disk`, or the official files."""

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from datasets import Dataset, DatasetDict, concatenate_datasets

from glue_runs.tasks.glue import GlueTask, resolve_split
from glue_runs.tasks.schema import check_ids, conform, task_features
from glue_runs.tasks.tsv import read_split
from logitmix_nlp.evaluation.data.downloads import download
from logitmix_nlp.evaluation.data.files import SAVED_NAME, read_data_file, read_saved
from logitmix_nlp.evaluation.data.lines import require_file

__all__ = ["HUB_NAME", "glue_files", "load_glue", "parquet_parts"]

logger = logging.getLogger(__name__)

HUB_NAME = "nyu-mll/glue"
_PART = re.compile(r"(\w+)-(\d{5})-of-(\d{5})\.parquet")


def load_glue(
    task: GlueTask,
    splits: Sequence[str] = (),
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | None = None,
    token: str | None = None,
) -> DatasetDict:
    """A GLUE task with the columns, types and row ids of `nyu-mll/glue`, whichever place it comes from.

    Args:
        task (`GlueTask`): Task record.
        splits (`Sequence[str]`): Splits that must be there; none named takes those that are. A split whose rows are
            another task's is left out, with a warning, if they are not to be had.
        data_dir (`str` or `Path`, *optional*): Folder of one of these, looked for in this order: `save_to_disk` (the
            folder itself, or `cola/` in it), parquet files named as in `nyu-mll/glue`
            (`cola/train-00000-of-00001.parquet`), official files (`CoLA/train.tsv`). `None` asks the Hub.
        cache_dir (`str`, *optional*): Where downloads are kept.
        token (`str`, *optional*): Hub token.

    Returns:
        `DatasetDict`: The splits, in the order of the record.

    Raises:
        FileNotFoundError: If a file, folder, split or Hub dataset does not exist.
        ValueError: If the task has no such split, or the data is malformed: names file or split, and line or row.
    """
    wanted = [task.split(name) for name in splits] if splits else task.splits
    if data_dir is None:
        read = partial(_read_hub, cache_dir=cache_dir, token=token)
    else:
        read = partial(_read_folder, folder=Path(data_dir))
    own = [split.name for split in wanted if split.source is None]
    splits_read = read(task, own, bool(splits)) if own else {}
    for split in wanted:
        if split.source is None:
            continue
        owner, original = resolve_split(task, split.name)
        try:
            splits_read[split.name] = read(owner, [original.name], True)[original.name]
        except FileNotFoundError as error:
            logger.warning("%s will not be written: %s", split.submission, error)
    return DatasetDict({split.name: splits_read[split.name] for split in task.splits if split.name in splits_read})


def _read_hub(
    task: GlueTask, names: Sequence[str], required: bool, cache_dir: str | None, token: str | None
) -> dict[str, Dataset]:
    data = download(HUB_NAME, task.name, cache_dir=cache_dir, token=token)
    return _chosen(data, task, names, required, f"dataset {HUB_NAME!r}, configuration {task.name!r}")


def _read_folder(task: GlueTask, names: Sequence[str], required: bool, folder: Path) -> dict[str, Dataset]:
    """Splits from a local folder, in whichever layout it has."""
    for saved in (folder / task.name, folder):
        if (saved / SAVED_NAME).is_file():
            return _chosen(read_saved(saved), task, names, required, str(saved))
    if any((folder / task.name).glob("*.parquet")):
        return _read_parts(task, names, required, folder / task.name)
    return _read_official(task, names, required, folder)


def glue_files(task: GlueTask, name: str, folder: Path) -> list[Path]:
    """The files that a split is read from, in whichever layout the folder has; none if they are not there."""
    owner, split = resolve_split(task, name)
    for saved in (folder / owner.name, folder):
        if (saved / SAVED_NAME).is_file():
            return sorted(path for path in (saved / split.name).glob("*") if path.is_file())
    parts = sorted((folder / owner.name).glob(f"{split.name}-*.parquet"))
    places = [folder / place for place in owner.paths(split)]
    return parts or [path for path in places if path.is_file()][:1]


def _chosen(
    data: DatasetDict, task: GlueTask, names: Sequence[str], required: bool, origin: str
) -> dict[str, Dataset]:
    """The named splits of a dataset, those that exist unless they are required."""
    names = _existing(data, names, required, origin)
    return {name: conform(data[name], task, name, f"{origin}, split {name!r}") for name in names}


def _existing(present: Sequence[str], names: Sequence[str], required: bool, origin: str) -> list[str]:
    existing = [name for name in names if name in present]
    if not existing or (required and len(existing) < len(names)):
        missing = ", ".join(name for name in names if name not in present)
        raise FileNotFoundError(f"{origin} has no split {missing}; there is only: {', '.join(present) or 'nothing'}.")
    return existing


def _read_parts(task: GlueTask, names: Sequence[str], required: bool, folder: Path) -> dict[str, Dataset]:
    """Splits from parquet files."""
    by_split = parquet_parts(folder, lambda parts: _existing(parts, names, required, str(folder)))
    rows = {}
    for name, paths in by_split.items():
        pieces = [conform(read_data_file(path), task, name, str(path)) for path in paths]
        rows[name] = concatenate_datasets(pieces)
        check_ids(rows[name], f"{folder}, split {name!r}")
    return rows


def parquet_parts(folder: Path, choose: Callable[[tuple[str, ...]], Sequence[str]] = tuple) -> dict[str, list[Path]]:
    """Parquet files `SPLIT-00000-of-00001.parquet` of a folder by split, in order.

    Args:
        folder (`Path`): Where they lie; other files are passed over.
        choose (`Callable`): Says which of the splits found are wanted; all if not given.

    Returns:
        `dict[str, list[Path]]`: Files of each wanted split.

    Raises:
        ValueError: If one of them is missing.
    """
    parts: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.parquet")):
        if match := _PART.fullmatch(path.name):
            parts.setdefault(match[1], []).append(path)
    wanted = {name: parts[name] for name in choose(tuple(parts))}
    for name, paths in wanted.items():
        total = int(_PART.fullmatch(paths[0].name)[3])
        expected = [f"{name}-{number:05d}-of-{total:05d}.parquet" for number in range(total)]
        missing = sorted(set(expected) - {path.name for path in paths})
        if missing or len(paths) != total:
            names = ", ".join(path.name for path in paths)
            raise ValueError(
                f"{folder}: split {name!r} is not complete: found {names}, expected {', '.join(expected)}."
            )
    return wanted


def _read_official(task: GlueTask, names: Sequence[str], required: bool, folder: Path) -> dict[str, Dataset]:
    """Splits from the official files."""
    paths = {name: [folder / place for place in task.paths(task.split(name))] for name in names}
    if not required:
        names = [name for name in names if any(path.is_file() for path in paths[name])] or names[:1]
    if not any(path.parent.is_dir() for path in paths[names[0]]):
        _refuse_layout(task, names[0], folder, paths[names[0]])
    return {n: Dataset.from_dict(read_split(task, n, folder), features=task_features(task)) for n in names}


def _refuse_layout(task: GlueTask, name: str, folder: Path, paths: Sequence[Path]) -> None:
    """Raise a `FileNotFoundError` that says in which layouts the folder may be."""
    try:
        require_file(*paths)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Allowed in {folder} are the official files ({', '.join(task.paths(task.split(name)))}), parquet "
            f"files as in {HUB_NAME} ({task.name}/{name}-00000-of-00001.parquet), and what save_to_disk wrote "
            f"({task.name}/{SAVED_NAME})."
        ) from error
