# SPDX-License-Identifier: Apache-2.0
"""What a dataset is called, as far as the dataset itself knows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import datasets

from logitmix_nlp.publishing.card.facts import DatasetFacts
from logitmix_nlp.publishing.hub.public_text import last_part

__all__ = ["describe_dataset", "name_datasets"]

UNNAMED = "local data"
_HUB_FILE = re.compile(r"hf://datasets/([\w.-]+(?:/[\w.-]+)?)@([0-9a-f]+)/")


def describe_dataset(dataset: Any, split: str = "") -> DatasetFacts:
    """Read a dataset's name, configuration and split off it.

    Args:
        dataset (`Any`): What a `Trainer` takes.
        split (`str`): What its rows are called if they do not say so themselves.

    Returns:
        `DatasetFacts`: With `hub_id` only if the rows were downloaded from the Hub.
    """
    if not isinstance(dataset, (datasets.Dataset, datasets.IterableDataset)):
        return DatasetFacts(UNNAMED, split=split or None)
    info, split = dataset.info, (split or None) if dataset.split is None else str(dataset.split)
    files = list(info.download_checksums or {})
    found = next((match for match in map(_HUB_FILE.match, files) if match is not None), None)
    if found is None:
        local = sorted({last_part(file) for file in files})
        return DatasetFacts(f"{', '.join(local)} ({UNNAMED})" if 0 < len(local) <= 3 else UNNAMED, split=split)
    config = None if info.config_name in (None, "default") else info.config_name
    whole = dataset_is_whole(dataset, split)
    return DatasetFacts(found[1], found[1], config, split, found[2], complete=whole)


def dataset_is_whole(dataset: Any, split: str | None) -> bool:
    """Whether a dataset has as many rows as its split; `False` if that is not known."""
    splits = dataset.info.splits or {}
    if not isinstance(dataset, datasets.Dataset) or split not in splits:
        return False
    return len(dataset) == splits[split].num_examples


def name_datasets(
    found: Mapping[str, DatasetFacts],
    tags: str | Sequence[str] | None = None,
    names: str | Sequence[str] | None = None,
    configs: str | Sequence[str] | None = None,
) -> dict[str, DatasetFacts]:
    """Put what `create_model_card` was told over what the datasets say: `dataset_tags`, `dataset`, `dataset_args`.

    Args:
        found (`Mapping[str, DatasetFacts]`): By name of the evaluation dataset.
        tags (`str` or `Sequence[str]`, *optional*): Names on the Hub, one for all or one for each.
        names (`str` or `Sequence[str]`, *optional*): Names for readers.
        configs (`str` or `Sequence[str]`, *optional*): Configurations.

    Returns:
        `dict[str, DatasetFacts]`: In the same order.

    Raises:
        ValueError: If there are neither one nor as many of them as datasets.
    """
    given = {"hub_id": tags, "name": names if names is not None else tags, "config": configs}
    facts = list(found.values())
    for field, values in given.items():
        if values is None:
            continue
        values = [values] if isinstance(values, str) else list(values)
        if len(values) not in (1, len(facts)):
            raise ValueError(
                f"dataset_tags, dataset and dataset_args take one value, or one for each of the {len(facts)} "
                f"evaluation datasets ({', '.join(name or 'the only one' for name in found)}), got {len(values)}."
            )
        values = values * (len(facts) if len(values) == 1 else 1)
        facts = [replace(fact, **{field: value}) for fact, value in zip(facts, values, strict=True)]
    return _told_apart(dict(zip(found, facts, strict=True)))


def _told_apart(facts: Mapping[str, DatasetFacts]) -> dict[str, DatasetFacts]:
    """Add its name to the split of each dataset that another one has too: a `model-index` would join them."""
    places = [(fact.hub_id, fact.config, fact.split) for fact in facts.values()]
    return {
        name: fact if places.count(place) == 1 else replace(fact, split=" ".join(filter(None, (fact.split, name))))
        for (name, fact), place in zip(facts.items(), places, strict=True)
    }
