# SPDX-License-Identifier: Apache-2.0
"""What the model card of a run says beyond what its trainer knows: names of the data, the task's score."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datasets import DatasetDict

from glue_runs.runs.arguments import DataArguments, ModelArguments
from glue_runs.tasks.glue import get_task
from glue_runs.tasks.labels import DataDescription
from glue_runs.tasks.sources import HUB_NAME
from logitmix_nlp.publishing.card import CardOptions, DatasetFacts
from logitmix_nlp.publishing.card.facts import describe_dataset, is_local_path
from logitmix_nlp.publishing.hub.public_text import last_part

__all__ = ["card_options", "dataset_facts"]


def card_options(
    model_args: ModelArguments, data_args: DataArguments, description: DataDescription, rows: DatasetDict
) -> CardOptions:
    """Describe a run for its model card.

    Args:
        model_args (`ModelArguments`): As given by the user.
        data_args (`DataArguments`): As given by the user.
        description (`DataDescription`): Meaning of the columns.
        rows (`DatasetDict`): Splits, as loaded.

    Returns:
        `CardOptions`: Evaluation data by the names that the trainer has for them.
    """
    names = [name for name in description.evaluation_splits if name in rows]
    short = [name.removeprefix("validation_") for name in names] if len(names) > 1 else [""] * len(names)
    scores = description.metrics
    return CardOptions(
        evaluation_data={key: dataset_facts(data_args, rows, name) for key, name in zip(short, names, strict=True)},
        training_data=dataset_facts(data_args, rows, "train") if "train" in rows else None,
        finetuned_from=model_args.model_name_or_path,
        main_metric="combined_score" if len(scores) > 1 else scores[0],
        language="en" if data_args.task_name is not None else None,
        text_pair=len(description.text_columns) == 2,
        max_length=data_args.max_seq_length,
        n_bins=data_args.n_bins,
    )


def dataset_facts(args: DataArguments, rows: DatasetDict, split: str) -> DatasetFacts:
    """Name the rows of a split; only what came from the Hub is given a name there.

    Args:
        args (`DataArguments`): Where the rows came from.
        rows (`DatasetDict`): Splits, as loaded.
        split (`str`): `train`, or one of the evaluation splits.

    Returns:
        `DatasetFacts`: Its source, configuration and split.
    """
    limit = args.max_train_samples if split == "train" else args.max_eval_samples
    found = replace(describe_dataset(rows[split]), split=split, complete=limit is None)
    if args.task_name is not None:
        name, here = f"GLUE {get_task(args.task_name).folder}", args.data_dir is not None
        return replace(
            found,
            name=f"{name} (local files)" if here else name,
            hub_id=None if here else HUB_NAME,
            config=args.task_name,
            revision=None if here else found.revision,
        )
    if args.dataset_name is not None:
        here, config = is_local_path(args.dataset_name), args.dataset_config_name
        name = f"{last_part(args.dataset_name.rstrip('/'))} (local data)" if here else args.dataset_name
        return replace(found, name=name, hub_id=None if here else args.dataset_name, config=config)
    files: Sequence[str | None] = (args.train_file, args.validation_file)
    return replace(found, name=f"{Path(files[split != 'train']).name} (local file)", split=None, hub_id=None)
