# SPDX-License-Identifier: Apache-2.0
"""Everything that a card says, read off a trainer and its predictions."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import HfApi, metadata_load
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled
from transformers import PreTrainedModel, Trainer
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging

from logitmix_nlp.calibration.metrics import first_output
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from logitmix_nlp.mixing.sites import find_sites
from logitmix_nlp.publishing.card.facts import (
    HERE,
    LIBRARY_TAG,
    CardFacts,
    CardOptions,
    DatasetFacts,
    EvaluationFacts,
    command_of_process,
    describe_dataset,
    is_local_path,
    name_datasets,
)
from logitmix_nlp.publishing.card.method import describe_method, method_tag
from logitmix_nlp.publishing.card.recipe import progress, recipe, selected_by, versions
from logitmix_nlp.publishing.card.results import MIN_ROWS, classification_metrics, number_of_resamples, score_metrics
from logitmix_nlp.publishing.hub.public_text import last_part, public_command

__all__ = ["card_facts", "evaluate_predictions"]

logger = logging.get_logger(__name__)


def card_facts(
    trainer: Trainer,
    predictions: Mapping[str, Any],
    *,
    options: CardOptions,
    missing: str | None = None,
    language: str | Sequence[str] | None = None,
    license: str | None = None,
    tags: str | Sequence[str] | None = None,
    model_name: str | None = None,
    finetuned_from: str | None = None,
    tasks: str | Sequence[str] | None = None,
    dataset_tags: str | Sequence[str] | None = None,
    dataset: str | Sequence[str] | None = None,
    dataset_args: str | Sequence[str] | None = None,
) -> CardFacts:
    """Collect what a card says.

    Args:
        trainer (`LogitMixTrainer`): Trained, or not.
        predictions (`Mapping[str, EvalLoopOutput]`): Of the weights it holds, by name of the evaluation dataset, `""`
            for a single one; metrics without prefix.
        options (`CardOptions`): What the trainer cannot know.
        missing (`str`, *optional*): Why there are no predictions.
        language (`str` or `Sequence[str]`, *optional*): Language of the texts.
        license (`str`, *optional*): Licence of the model.
        tags (`str` or `Sequence[str]`, *optional*): More tags for the Hub.
        model_name (`str`, *optional*): Name of the model.
        finetuned_from (`str`, *optional*): Base model.
        tasks (`str` or `Sequence[str]`, *optional*): Task of the pipeline.
        dataset_tags (`str` or `Sequence[str]`, *optional*): Names of the evaluation data on the Hub.
        dataset (`str` or `Sequence[str]`, *optional*): Their names for readers.
        dataset_args (`str` or `Sequence[str]`, *optional*): Their configurations.

    Returns:
        `CardFacts`: Without absolute paths, secrets and guesses.

    Raises:
        ValueError: If there are neither one nor as many dataset names as evaluation datasets.
    """
    args, state, model = trainer.args, trainer.state, trainer.accelerator.unwrap_model(trainer.model)
    adapter = not isinstance(model, PreTrainedModel)
    plain = model.get_base_model() if adapter else model
    kind = _kind(plain.config)
    sources = evaluation_datasets(trainer)
    language = language or options.language
    known = {name: describe_dataset(rows, name) for name, rows in sources.items()}
    known = {name: options.evaluation_data.get(name, facts) for name, facts in known.items()}
    known = name_datasets(known, dataset_tags, dataset, dataset_args) if known else {}
    evaluations = [
        evaluate_predictions(
            output,
            known[name],
            kind,
            options,
            compute_metrics=None if args.batch_eval_metrics else trainer.compute_metrics,
            trained_on=sources[name] is trainer.train_dataset,
        )
        for name, output in predictions.items()
    ]
    training = _training_data(trainer, options, dataset_tags, dataset, dataset_args)
    base, base_known = _base(finetuned_from, options.finetuned_from, plain.config._name_or_path, args.output_dir)
    hub_base = base if base and not is_local_path(base) else None
    own_name, repo_id = trainer.hub_model_id or _folder(args.output_dir), trainer.hub_model_id or HERE
    name = model_name or own_name.rsplit("/", 1)[-1]
    temperature = plain.config.to_dict().get(TEMPERATURE_KEY)
    sites = find_sites(model, args.mix_site) if args.loss_weights.needs_mixed else []
    measured = any(metric.name == "ece" for evaluation in evaluations for metric in evaluation.metrics)
    image = type(plain).__name__ in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.values()
    given = [tags] if isinstance(tags, str) else list(tags or ())
    return CardFacts(
        model_name=name,
        repo_id=repo_id,
        task=_task(tasks, "image-classification" if image else "text-classification"),
        kind=kind,
        architecture=type(plain).__name__,
        labels=tuple(str(plain.config.id2label[place]) for place in sorted(plain.config.id2label)),
        method=describe_method(
            args, [site.name for site in sites], kind, measured=measured, rescaled=temperature is not None
        ),
        recipe=recipe(args, state),
        progress=progress(args, state, trainer.is_in_train),
        training_data=training,
        training_rows=_rows(trainer.train_dataset),
        evaluations=tuple(evaluations),
        missing=None if evaluations else missing or "the trainer has no evaluation dataset.",
        selected_by=selected_by(args, state, trainer.is_in_train),
        base_model=hub_base,
        base_name=hub_base or (last_part(base.rstrip("/\\")) if base else None),
        base_known=base_known,
        adapter=adapter,
        processor=repo_id if trainer.processing_class is not None else hub_base,
        text_pair=options.text_pair,
        max_length=options.max_length,
        temperature=None if temperature is None else float(temperature),
        main_metric=options.main_metric,
        license=license or _license_of(base),
        language=tuple([language] if isinstance(language, str) else language or ()),
        tags=tuple(dict.fromkeys([*given, "generated_from_trainer", *_tags(args, measured)])),
        command=_command(options),
        versions=versions(),
    )


def evaluate_predictions(
    output: Any,
    dataset: DatasetFacts,
    kind: str,
    options: CardOptions,
    *,
    compute_metrics: Any = None,
    trained_on: bool = False,
) -> EvaluationFacts:
    """Turn the predictions for one dataset into metrics with intervals.

    Args:
        output (`EvalLoopOutput`): Predictions `(N, C)`, labels and metrics without prefix.
        dataset (`DatasetFacts`): What the rows are.
        kind (`str`): Problem type of the model.
        options (`CardOptions`): Bins and resamples.
        compute_metrics (`Callable`, *optional*): What made the metrics, if it takes all rows at once.
        trained_on (`bool`): Whether the model was trained on the rows.

    Returns:
        `EvaluationFacts`: Calibration only for classifiers of one label per row.

    Raises:
        ValueError: See [`functional.confidence_bins`].
    """
    logits, labels = first_output(output.predictions), first_output(output.label_ids)
    size = 0 if logits is None else int(np.size(logits))
    resamples = number_of_resamples(size, output.num_samples, options.n_resamples)
    metrics, bins = (), None
    if kind == SINGLE_LABEL and logits is not None:
        metrics = classification_metrics(logits, labels.reshape(-1), options.n_bins, resamples)
        enough = output.num_samples >= MIN_ROWS
        bins = confidence_bins(logits, labels.reshape(-1), options.n_bins, from_logits=True) if enough else None
    ours = {metric.name for metric in metrics}
    scores = {name: value for name, value in output.metrics.items() if name not in ours}
    # Lists are those of batches, which cannot be drawn from row by row.
    predictions = logits if isinstance(output.predictions, list) else output.predictions
    label_ids = labels if isinstance(output.label_ids, list) else output.label_ids
    theirs = score_metrics(compute_metrics, scores, predictions, label_ids, resamples)
    return EvaluationFacts(dataset, output.num_samples, (*theirs, *metrics), resamples, bins, trained_on)


def evaluation_datasets(trainer: Trainer) -> dict[str, Any]:
    """The evaluation datasets of a trainer by name, `""` for a single one."""
    data = trainer.eval_dataset
    if isinstance(data, dict):
        return dict(data)
    return {} if data is None else {"": data}


def _base(given: str | None, told: str | None, loaded: str, output_dir: str) -> tuple[str | None, bool]:
    """The base model and whether it is known; a model that was saved here before is not the base of itself."""
    base = given if given is not None else told if told is not None else loaded
    if not base:
        return None, True  # made from a configuration
    here = Path(os.path.realpath(output_dir))
    if os.path.isdir(base) and Path(os.path.realpath(base)).is_relative_to(here):
        return None, False
    return base, True


def _kind(config: Any) -> str:
    if config.num_labels == 1 or config.problem_type == REGRESSION:
        return REGRESSION
    return MULTI_LABEL if config.problem_type == MULTI_LABEL else SINGLE_LABEL


def _training_data(trainer: Trainer, options: CardOptions, tags: Any, names: Any, configs: Any) -> tuple:
    if trainer.train_dataset is None:
        return ()
    if options.training_data is not None:
        return (options.training_data,)
    found = {"": describe_dataset(trainer.train_dataset)}
    first = [value if value is None or isinstance(value, str) else value[0] for value in (tags, names, configs)]
    return tuple(name_datasets(found, *first).values())


def _rows(dataset: Any) -> int | None:
    try:
        return None if dataset is None else len(dataset)
    except TypeError:  # rows of a stream are not counted
        return None


def _folder(output_dir: str) -> str:
    return Path(os.path.abspath(output_dir)).name


def _task(tasks: str | Sequence[str] | None, own: str) -> str:
    return own if not tasks else tasks if isinstance(tasks, str) else tasks[0]


def _tags(args: Any, measured: bool) -> list[str]:
    family = ["logitmix"] if args.mix_method.startswith("logitmix") else []
    return [LIBRARY_TAG] + ["calibration"] * measured + family + [method_tag(args.mix_method)]


def _command(options: CardOptions) -> str | None:
    argv = options.command if options.command is not None else command_of_process()
    return None if argv is None else public_command(argv)


def _license_of(base: str | None) -> str | None:
    """The licence that the base model's own card names; `None` if that cannot be known."""
    if not base:
        return None
    try:
        if os.path.isdir(base):
            card = Path(base) / "README.md"
            license = (metadata_load(card) or {}).get("license") if card.is_file() else None
        elif is_local_path(base):
            license = None
        else:
            data = HfApi().model_info(base, timeout=10).card_data
            license = None if data is None else data.license
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError, ValueError) as error:
        logger.info(f"The licence of {base} could not be read ({type(error).__name__}); the card names none.")
        return None
    return license if isinstance(license, str) and license not in ("other", "unknown") else None
