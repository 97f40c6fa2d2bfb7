# SPDX-License-Identifier: Apache-2.0
"""What a model card says, as data, and how much of it datasets, names and processes say of themselves."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import datasets

from logitmix_nlp.functional.calibration import ConfidenceBins
from logitmix_nlp.publishing.hub.public_text import last_part

__all__ = [
    "HERE",
    "LIBRARY_TAG",
    "CardFacts",
    "CardOptions",
    "DatasetFacts",
    "EvaluationFacts",
    "MethodFacts",
    "Metric",
    "command_of_process",
    "data_title",
    "describe_dataset",
    "is_local_path",
    "name_datasets",
]

HERE = "."
LIBRARY_TAG = "logitmix-nlp"
UNNAMED = "local data"
_HUB_FILE = re.compile(r"hf://datasets/([\w.-]+(?:/[\w.-]+)?)@([0-9a-f]+)/")
_MODEL_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


@dataclass(frozen=True)
class DatasetFacts:
    """Which rows.

    Args:
        name (`str`): For readers: `GLUE CoLA`, or `dev.csv (local file)`.
        hub_id (`str`, *optional*): Dataset on the Hub, `nyu-mll/glue`; `None` for any other source.
        config (`str`, *optional*): Its configuration, `cola`.
        split (`str`, *optional*): Its split, `validation`.
        revision (`str`, *optional*): Its commit.
        complete (`bool`): Whether these are all rows of the split.
    """

    name: str
    hub_id: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    complete: bool = True


@dataclass(frozen=True)
class Metric:
    """One metric of one evaluation.

    Args:
        name (`str`): As metrics are named: `accuracy`, `ece`, `matthews_correlation`.
        value (`float`): Its value for all rows.
        low (`float`, *optional*): Lower end of its 95% interval; `None` where there is none.
        high (`float`, *optional*): Upper end; above `low`.
        n_bins (`int`, *optional*): Confidence bins of `ece` and `oe`.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n_bins: int | None = None


@dataclass(frozen=True)
class EvaluationFacts:
    """One evaluation of the saved model.

    Args:
        dataset (`DatasetFacts`): What it was evaluated on.
        rows (`int`): How many rows.
        metrics (`tuple` of `Metric`): Scores and calibration.
        n_resamples (`int`): Resamples behind the intervals; 0 if there are none.
        bins (`ConfidenceBins`, *optional*): For the reliability diagram of a single-label classifier.
        trained_on (`bool`): Whether the model was trained on the same rows.
    """

    dataset: DatasetFacts
    rows: int
    metrics: tuple[Metric, ...]
    n_resamples: int = 0
    bins: ConfidenceBins | None = None
    trained_on: bool = False


@dataclass(frozen=True)
class MethodFacts:
    """How the model was trained to be honest about its confidence.

    Args:
        name (`str`): `mix_method`.
        paper (`str`): Where it comes from.
        equation (`str`): The loss with the weights used.
        terms (`tuple` of pairs): Symbol of each term and what it is.
        settings (`tuple` of pairs): Name and value of each other choice.
        citations (`tuple` of `str`): BibTeX.
    """

    name: str
    paper: str
    equation: str
    terms: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    citations: tuple[str, ...]


@dataclass(frozen=True)
class CardFacts:
    """Everything that a model card says.

    Args:
        model_name (`str`): Name of the model, without its owner.
        repo_id (`str`): What `from_pretrained` takes: the Hub's name, or [`HERE`], the folder of the card.
        task (`str`): `text-classification`, `token-classification` or `image-classification`.
        kind (`str`): `single_label_classification`, `multi_label_classification` or `regression`.
        architecture (`str`): Class of the model.
        labels (`tuple` of `str`): Class names by id; one name for a regression.
        method (`MethodFacts`): Loss and mixing.
        recipe (`tuple` of pairs): Name and value of the other choices of the training.
        progress (`str`): Which weights these are.
        training_data (`tuple` of `DatasetFacts`): What it was trained on, if anything.
        training_rows (`int`, *optional*): How many rows; `None` if nobody counted them.
        evaluations (`tuple` of `EvaluationFacts`): Results of the saved weights.
        missing (`str`, *optional*): Why there are no results.
        selected_by (`str`, *optional*): Metric of the evaluation data that chose these weights.
        base_model (`str`, *optional*): Model on the Hub that this one was fine-tuned from.
        base_name (`str`, *optional*): Its name for readers; the last folder's, if it was one.
        base_known (`bool`): Whether it is known; without a base model, the model was then trained from scratch.
        adapter (`bool`): Whether the folder holds a PEFT adapter, not a whole model.
        processor (`str`, *optional*): Where the tokenizer or image processor is loaded from; `None` if nowhere.
        text_pair (`bool`): Whether inputs are two texts.
        max_length (`int`, *optional*): Longest input in tokens, in training.
        temperature (`float`, *optional*): `calibration_temperature` of the config.
        main_metric (`str`, *optional*): The task's own score.
        license (`str`, *optional*): Given, or that of the base model.
        language (`tuple` of `str`): Given.
        tags (`tuple` of `str`): For the Hub's search.
        command (`str`, *optional*): Command line that made it, without secrets and local places.
        versions (`tuple` of pairs): Package and version.
    """

    model_name: str
    repo_id: str
    task: str
    kind: str
    architecture: str
    labels: tuple[str, ...]
    method: MethodFacts
    recipe: tuple[tuple[str, str], ...] = ()
    progress: str = ""
    training_data: tuple[DatasetFacts, ...] = ()
    training_rows: int | None = None
    evaluations: tuple[EvaluationFacts, ...] = ()
    missing: str | None = None
    selected_by: str | None = None
    base_model: str | None = None
    base_name: str | None = None
    base_known: bool = True
    adapter: bool = False
    processor: str | None = None
    text_pair: bool = False
    max_length: int | None = None
    temperature: float | None = None
    main_metric: str | None = None
    license: str | None = None
    language: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    command: str | None = None
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def bins(self) -> dict[str, ConfidenceBins]:
        """Confidence bins by name of the dataset, for the reliability diagram."""
        return {data_title(e.dataset): e.bins for e in self.evaluations if e.bins is not None}


@dataclass
class CardOptions:
    """What a trainer cannot know about its own model card; set it as `trainer.card_options`.

    Args:
        evaluation_data (`Mapping[str, DatasetFacts]`): By name of the evaluation dataset, `""` for a single one.
        training_data (`DatasetFacts`, *optional*): What the model is trained on.
        finetuned_from (`str`, *optional*): The base model, if it is not what the config names; `""` if there
            is none, as the model was trained from scratch.
        command (`Sequence[str]`, *optional*): Program and arguments; `None` takes those of the process.
        main_metric (`str`, *optional*): The task's own score, for `.eval_results`; `None` takes the accuracy.
        language (`str`, *optional*): Language of the texts.
        text_pair (`bool`): Whether inputs are two texts.
        max_length (`int`, *optional*): Longest input in tokens.
        n_bins (`int`): Confidence bins of ECE and OE.
        n_resamples (`int`): Resamples behind each interval; a fifth of them for more than a million scores.
    """

    evaluation_data: Mapping[str, DatasetFacts] = field(default_factory=dict)
    training_data: DatasetFacts | None = None
    finetuned_from: str | None = None
    command: Sequence[str] | None = None
    main_metric: str | None = None
    language: str | None = None
    text_pair: bool = False
    max_length: int | None = None
    n_bins: int = 15
    n_resamples: int = 1000


def data_title(dataset: DatasetFacts) -> str:
    """A dataset's name with its split."""
    return f"{dataset.name}, {dataset.split}" if dataset.split else dataset.name


def describe_dataset(dataset: Any, split: str = "") -> DatasetFacts:
    """Read its name, configuration and split off a dataset; `hub_id` only if the rows were downloaded from the Hub.

    Args:
        dataset (`Any`): What a `Trainer` takes.
        split (`str`): What its rows are called if they do not say so themselves.
    """
    if not isinstance(dataset, (datasets.Dataset, datasets.IterableDataset)):
        return DatasetFacts(UNNAMED, split=split or None)
    info, split = dataset.info, (split or None) if dataset.split is None else str(dataset.split)
    files = list(info.download_checksums or {})
    on_hub = next((match for match in map(_HUB_FILE.match, files) if match is not None), None)
    if on_hub is None:
        local = sorted({last_part(file) for file in files})
        return DatasetFacts(f"{', '.join(local)} ({UNNAMED})" if 0 < len(local) <= 3 else UNNAMED, split=split)
    config = None if info.config_name in (None, "default") else info.config_name
    splits = (info.splits or {}) if isinstance(dataset, datasets.Dataset) else {}
    complete = split in splits and len(dataset) == splits[split].num_examples
    return DatasetFacts(on_hub[1], on_hub[1], config, split, on_hub[2], complete)


def name_datasets(
    described: Mapping[str, DatasetFacts],
    tags: Sequence[str] = (),
    names: Sequence[str] = (),
    configs: Sequence[str] = (),
) -> dict[str, DatasetFacts]:
    """Put `dataset_tags`, `dataset` and `dataset_args` of `create_model_card` over what the datasets say themselves.

    Args:
        described (`Mapping[str, DatasetFacts]`): By name of the evaluation dataset.
        tags (`Sequence[str]`): Names on the Hub, none, one for all or one for each.
        names (`Sequence[str]`): Names for readers; without any, those on the Hub.
        configs (`Sequence[str]`): Configurations.

    Raises:
        ValueError: If the number of one of them is neither one nor that of the datasets.
    """
    facts = list(described.values())
    for key, values in {"hub_id": tags, "name": names or tags, "config": configs}.items():
        if len(values) not in (0, 1, len(facts)):
            raise ValueError(
                f"dataset_tags, dataset and dataset_args take one value, or one for each of the {len(facts)} "
                f"evaluation datasets ({', '.join(name or 'the only one' for name in described)}), got {len(values)}."
            )
        each = list(values) * len(facts) if len(values) == 1 else values
        facts = [replace(fact, **{key: value}) for fact, value in zip(facts, each, strict=True)] if each else facts
    # A `model-index` would join datasets of one place: the name goes to their split.
    places = [(fact.hub_id, fact.config, fact.split) for fact in facts]
    return {
        name: fact if places.count(place) == 1 else replace(fact, split=" ".join(filter(None, (fact.split, name))))
        for name, fact, place in zip(described, facts, places, strict=True)
    }


def is_local_path(name: str) -> bool:
    """Whether a model's name is a folder here, or could not be one on the Hub."""
    return bool(name) and (os.path.isdir(name) or _MODEL_ID.fullmatch(name) is None or name.startswith("."))


def command_of_process() -> list[str] | None:
    """The command line of this process, if it is a script or a module that could be run again; else `None`."""
    main = sys.modules["__main__"]
    spec = main.__spec__
    if spec is not None:
        name = spec.name.removesuffix(".__main__")
        return None if name == "ipykernel_launcher" else ["python", "-m", name, *sys.argv[1:]]
    return ["python", *sys.argv] if sys.argv[0].endswith(".py") else None
