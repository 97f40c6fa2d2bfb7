# SPDX-License-Identifier: Apache-2.0
"""Four sources of text classification data, one result: splits with class ids, and what their columns mean."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError

from glue_runs.arguments import DataArguments
from glue_runs.columns import check_texts, guess_text_columns
from glue_runs.encoding import encode_labels
from glue_runs.files import read_data_file
from glue_runs.labels import DataDescription
from glue_runs.tasks import GlueTask, get_task
from glue_runs.tsv import read_split

__all__ = [
    "describe_task",
    "load_data",
    "load_files",
    "load_glue_folder",
    "load_glue_hub",
    "load_named",
    "needed_splits",
]

HUB_NAME = "nyu-mll/glue"
_SPLITS = ("train", "validation", "test")


def load_data(
    args: DataArguments, splits: Sequence[str] = (), *, cache_dir: str | None = None, token: str | None = None
) -> tuple[DatasetDict, DataDescription]:
    """Load what the arguments name.

    Args:
        args (`DataArguments`): Says which of the four sources is used.
        splits (`Sequence[str]`): Splits that must be there: `train`, `validation`, `test`, or names of the task's own.
        cache_dir (`str`, *optional*): Where downloads are kept.
        token (`str`, *optional*): Hub token.

    Returns:
        `tuple`: Splits, and the description of their columns.

    Raises:
        FileNotFoundError: If a file, folder or Hub dataset does not exist.
        ValueError: If a needed split is missing, or the data is malformed.
    """
    if args.task_name is not None:
        task = get_task(args.task_name)
        description = describe_task(task)
        if args.data_dir is not None:
            data = load_glue_folder(task, args.data_dir, splits or None)
        else:
            data = load_glue_hub(task, cache_dir=cache_dir, token=token)
        source = f"GLUE task {task.name!r}"
    elif args.dataset_name is not None:
        source, columns = f"dataset {args.dataset_name!r}", (args.text_column_names, args.label_column_name)
        raw = load_named(args.dataset_name, args.dataset_config_name, cache_dir=cache_dir, token=token)
        data, description = _interpret(raw, {name: f"{source}, split {name!r}" for name in raw}, *columns)
    else:
        files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        files = {name: file for name, file in files.items() if file is not None}
        source, columns = "the given files", (args.text_column_names, args.label_column_name)
        data, description = _interpret(load_files(files, args.label_column_name), files, *columns)
    missing = [name for name in splits if name not in data]
    if missing:
        raise ValueError(f"{source}: no split {', '.join(missing)}; there is only: {', '.join(data)}.")
    return data, description


def needed_splits(args: DataArguments, *, train: bool, evaluate: bool, predict: bool) -> list[str]:
    """Names of the splits that must be loaded for what the user wants to do."""
    shape = DataDescription if args.task_name is None else describe_task(get_task(args.task_name))
    splits = ["train"] * train + list(shape.evaluation_splits) * evaluate
    return splits + [name for name, _ in shape.prediction_files] * predict


def describe_task(task: GlueTask) -> DataDescription:
    """The description of a GLUE task's columns, the same from every source."""
    return DataDescription(
        text_columns=task.text_columns,
        label_column="label",
        label_names=task.label_names,
        metrics=task.metrics,
        evaluation_splits=task.evaluation_splits,
        prediction_files=task.prediction_files,
    )


def load_glue_folder(task: GlueTask, data_dir: str | Path, splits: Sequence[str] | None = None) -> DatasetDict:
    """A task from the official distribution, with the columns and types of `nyu-mll/glue`.

    Args:
        task (`GlueTask`): Task record.
        data_dir (`str` or `Path`): Folder that holds the task's folder.
        splits (`Sequence[str]`, *optional*): Splits to read, which must exist; `None` reads those that exist.

    Returns:
        `DatasetDict`: The splits.
    """
    if splits is None:
        folder = Path(data_dir) / task.folder
        splits = [split.name for split in task.splits if (folder / split.file).is_file()] or [task.splits[0].name]
    label = Value("float32") if task.label_names is None else ClassLabel(names=list(task.label_names))
    features = Features(
        {**{name: Value("string") for name in task.text_columns}, "label": label, "idx": Value("int32")}
    )
    return DatasetDict({s: Dataset.from_dict(read_split(task, s, data_dir), features=features) for s in splits})


def load_glue_hub(task: GlueTask, *, cache_dir: str | None = None, token: str | None = None) -> DatasetDict:
    """A task from `nyu-mll/glue` on the Hub, or from the cache of an earlier download."""
    data = _load_dataset(HUB_NAME, task.name, cache_dir, token)
    for name, split in data.items():
        feature = split.features["label"]
        found = tuple(feature.names) if isinstance(feature, ClassLabel) else None
        if found != task.label_names:
            raise ValueError(f"{HUB_NAME}, {task.name}, split {name!r}: labels {found}, expected {task.label_names}.")
    return data


def load_named(
    name: str, config_name: str | None = None, *, cache_dir: str | None = None, token: str | None = None
) -> DatasetDict:
    """A dataset by Hub name or local folder, which may be one that `save_to_disk` wrote."""
    if (Path(name) / "dataset_dict.json").is_file():
        data = load_from_disk(name)
    elif (Path(name) / "state.json").is_file():
        data = DatasetDict(train=load_from_disk(name))
    else:
        data = _load_dataset(name, config_name, cache_dir, token)
    known = DatasetDict({split: data[split] for split in _SPLITS if split in data})
    if not known:
        raise ValueError(f"dataset {name!r} has none of the splits {', '.join(_SPLITS)}; it has: {', '.join(data)}.")
    return known


def load_files(files: Mapping[str, str], label_column: str = "label") -> DatasetDict:
    """Data files by split; see [`read_data_file`]."""
    return DatasetDict({name: read_data_file(file, label_column) for name, file in files.items()})


def _load_dataset(name: str, config_name: str | None, cache_dir: str | None, token: str | None) -> DatasetDict:
    try:
        return load_dataset(name, config_name, cache_dir=cache_dir, token=token)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"dataset {name!r} is neither a local folder, nor in the cache, nor to be had from the Hub: {error} "
            "Check the name and the connection, or give local files."
        ) from error
    except DatasetGenerationError as error:
        raise ValueError(f"dataset {name!r} is malformed: {error.__cause__ or error}") from error


def _interpret(
    raw: DatasetDict, origins: Mapping[str, str], text_columns: Sequence[str] | None, label_column: str
) -> tuple[DatasetDict, DataDescription]:
    """Class ids and description of data that is not a GLUE task."""
    first = next(iter(raw))
    texts = tuple(text_columns) if text_columns else guess_text_columns(raw[first], label_column, origins[first])
    for name, split in raw.items():
        check_texts(split, texts, origins[name])
    data, label_names = encode_labels(raw, label_column, origins)
    metrics = ("pearson", "spearmanr") if label_names is None else ("accuracy",)
    return data, DataDescription(texts, label_column, label_names, labels_complete="train" in raw, metrics=metrics)
