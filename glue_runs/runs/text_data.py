# SPDX-License-Identifier: Apache-2.0
"""Text classification data, from GLUE or of the user, to one result: splits with class ids, and what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from datasets import DatasetDict

from glue_runs.runs.arguments import DataArguments
from glue_runs.tasks.description import DataDescription
from glue_runs.tasks.glue import GlueTask, get_task
from glue_runs.tasks.sources import load_glue
from logitmix_nlp.evaluation.data.columns import NONE_NAMED, Columns, check_texts, guess_text_columns, with_trained
from logitmix_nlp.evaluation.data.downloads import download
from logitmix_nlp.evaluation.data.files import read_data_file
from logitmix_nlp.evaluation.data.labels import encode_labels, is_multi_label
from logitmix_nlp.evaluation.data.soft_labels import is_soft, join_columns

__all__ = ["describe_task", "load_data", "load_named", "read_sources"]

_SPLITS = ("train", "validation", "test")


def load_data(
    args: DataArguments,
    splits: Sequence[str] = (),
    *,
    trained: Columns = NONE_NAMED,
    cache_dir: str | None = None,
    token: str | None = None,
) -> tuple[DatasetDict, DataDescription]:
    """Load what the arguments name.

    Args:
        args (`DataArguments`): Says which source is used: a GLUE task, a dataset or files.
        splits (`Sequence[str]`): Splits that must be there: `train`, `validation`, `test`, or names of the task's own.
            Only a split whose rows are another task's (`test_ax` of MNLI) may be missing: a warning says so.
        trained (`Columns`): Columns that the model at hand was trained on, for the user's own data.
        cache_dir (`str`, *optional*): Where downloads are kept.
        token (`str`, *optional*): Hub token.

    Returns:
        `tuple`: Splits, and the description of their columns; it names no prediction file for a split left out.

    Raises:
        FileNotFoundError: If a file, folder or Hub dataset does not exist.
        ValueError: If a needed split is missing, or the data is malformed.
    """
    if args.task_name is not None:
        task = get_task(args.task_name)
        data = load_glue(task, splits, data_dir=args.data_dir, cache_dir=cache_dir, token=token)
        left_out = {split.name for split in task.splits if split.source is not None} - set(data)
        description = describe_task(task)
        files = tuple(pair for pair in description.prediction_files if pair[0] not in left_out)
        return data, replace(description, prediction_files=files)
    raw, origins = read_sources(args, splits, cache_dir=cache_dir, token=token)
    named, soft = Columns(tuple(args.text_column_names or ()), label=args.label_column_name), None
    if args.soft_label_columns is not None:
        soft = args.soft_label_columns
        if len(soft) == 1:
            named, soft = named._replace(label=soft[0]), ()
        else:
            raw = DatasetDict(
                {k: join_columns(raw[k], soft, named.label, origins[k], needed=k != "test") for k in raw}
            )
    return _interpret(raw, origins, named, trained, soft)


def read_sources(
    args: DataArguments, splits: Sequence[str] = (), *, cache_dir: str | None = None, token: str | None = None
) -> tuple[DatasetDict, dict[str, str]]:
    """The splits of the user's own dataset or files as they are, and what to call each; see [`load_data`]."""
    if args.dataset_name is not None:
        source = f"dataset {args.dataset_name!r}"
        raw = load_named(args.dataset_name, args.dataset_config_name, cache_dir=cache_dir, token=token)
        origins = {name: f"{source}, split {name!r}" for name in raw}
    else:
        source = "the given files"
        files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
        origins = {name: file for name, file in files.items() if file is not None}
        raw = DatasetDict({name: read_data_file(file, args.label_column_name) for name, file in origins.items()})
    missing = [name for name in splits if name not in raw]
    if missing:
        raise ValueError(f"{source}: no split {', '.join(missing)}; there is only: {', '.join(raw)}.")
    return raw, origins


def describe_task(task: GlueTask) -> DataDescription:
    """The description of a GLUE task's columns, the same from every source."""
    return DataDescription(
        text_columns=task.text_columns,
        label_column="label",
        label_names=task.label_names,
        metrics=task.metrics,
        evaluation_splits=task.evaluation_splits,
        prediction_files=task.prediction_files,
        task=task,
    )


def load_named(
    name: str, config_name: str | None = None, *, cache_dir: str | None = None, token: str | None = None
) -> DatasetDict:
    """A dataset by Hub name or local folder, which may be one that `save_to_disk` wrote."""
    data = download(name, config_name, cache_dir=cache_dir, token=token)
    known = DatasetDict({split: data[split] for split in _SPLITS if split in data})
    if not known:
        raise ValueError(f"dataset {name!r} has none of the splits {', '.join(_SPLITS)}; it has: {', '.join(data)}.")
    return known


def _interpret(
    raw: DatasetDict,
    origins: Mapping[str, str],
    named: Columns,
    trained: Columns,
    soft_names: Sequence[str] | None = None,
) -> tuple[DatasetDict, DataDescription]:
    """Class ids and description of data that is not a GLUE task."""
    first = next(iter(raw))
    texts = with_trained(named, trained, raw[first].column_names, origins[first]).text
    texts = texts or guess_text_columns(raw[first], named.label, origins[first])
    for name, split in raw.items():
        check_texts(split, texts, origins[name])
    data, label_names = encode_labels(raw, named.label, origins, soft_names)
    multi_label = any(is_multi_label(split, named.label) for split in data.values())
    soft_labels = any(is_soft(split, named.label) for split in data.values())
    metrics = ("micro_f1",) if multi_label else ("pearson", "spearmanr") if label_names is None else ("accuracy",)
    facts = {"labels_complete": "train" in raw, "metrics": metrics, "multi_label": multi_label}
    facts["soft_labels"] = soft_labels
    return data, DataDescription(texts, named.label, label_names, **facts)
