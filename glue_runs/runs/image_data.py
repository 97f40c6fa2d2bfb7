# SPDX-License-Identifier: Apache-2.0
"""The splits of an image data set, from wherever the flags say, and what they are called."""

import logging
from pathlib import Path

from datasets import DatasetDict, concatenate_datasets

from glue_runs.runs.text_data import load_named
from glue_runs.tasks.sources import parquet_parts
from logitmix_nlp.evaluation.data.files import read_data_file
from logitmix_nlp.images import ImageDataArguments, ImageModelArguments
from logitmix_nlp.images.datasets import digits, hold_out, read_image_folder

__all__ = ["HELD_OUT", "SPLITS", "is_held_out", "load_splits", "source_name"]

logger = logging.getLogger("logitmix_nlp.images.run")

HELD_OUT = ", rows held out"
SPLITS = {"train": "do_train", "validation": "do_eval", "test": "do_predict"}


def load_splits(
    args: ImageDataArguments, model_args: ImageModelArguments, seed: int
) -> tuple[DatasetDict, dict[str, str]]:
    """Read the images that the flags name; a validation split is held out if there is none.

    Args:
        args (`ImageDataArguments`): Which images.
        model_args (`ImageModelArguments`): `cache_dir` and `token` are read.
        seed (`int`): Of the rows held out.

    Returns:
        `tuple`: The splits by name, and what to call each in an error.

    Raises:
        ValueError: If there is nothing to read, or a file is malformed.
        OSError: If a file, folder or Hub repository cannot be read.
    """
    files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
    files = {name: Path(file) for name, file in files.items() if file is not None}
    folders = {"train": args.train_dir, "validation": args.validation_dir, "test": args.test_dir}
    folders = {name: folder for name, folder in folders.items() if folder is not None}
    if args.is_default:
        logger.info("No images given: taking the 1,797 digits of 8x8 pixels that come with scikit-learn.")
        raw = digits()
    elif args.dataset_name is not None:
        options = {"cache_dir": model_args.cache_dir, "token": model_args.token}
        raw = load_named(args.dataset_name, args.dataset_config_name, **options)
    elif args.data_dir is not None:
        parts = parquet_parts(Path(args.data_dir), lambda found: [name for name in SPLITS if name in found])
        if not parts:
            raise ValueError(f"--data_dir {args.data_dir} has no parquet file like train-00000-of-00001.parquet.")
        raw = DatasetDict(
            {name: concatenate_datasets(list(map(read_data_file, paths))) for name, paths in parts.items()}
        )
    elif folders:
        raw = DatasetDict({name: read_image_folder(folder) for name, folder in folders.items()})
    else:
        other = [str(path) for path in files.values() if path.suffix.lower() != ".parquet"]
        if other:
            raise ValueError(f"{other[0]}: images are read from .parquet files, or from folders with --train_dir.")
        raw = DatasetDict({name: read_data_file(path) for name, path in files.items()})
    source = source_name(args)
    origins = {name: str(files.get(name, folders.get(name, f"{source}, split {name!r}"))) for name in SPLITS}
    if "validation" not in raw and "train" in raw:
        raw = hold_out(raw, args.train_val_split, seed)
        logger.info("No validation split: %d training rows are held out for it.", len(raw["validation"]))
        origins["validation"] = f"{origins['train']}{HELD_OUT}"
    return raw, origins


def is_held_out(origins: dict[str, str]) -> bool:
    """Whether the validation rows are training rows held out."""
    return origins["validation"].endswith(HELD_OUT)


def source_name(args: ImageDataArguments) -> str:
    """Short name of the data."""
    places = (args.dataset_name, args.data_dir, args.train_dir, args.validation_dir, args.test_dir)
    named = [Path(place).name for place in places if place is not None]
    files = [Path(file).stem for file in (args.train_file, args.validation_file, args.test_file) if file is not None]
    return (named + files or ["digits"])[0]
