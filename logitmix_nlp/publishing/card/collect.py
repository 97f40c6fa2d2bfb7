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
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)
from transformers.utils import logging

from logitmix_nlp.calibration.metrics import first_output, tagged_tokens
from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY
from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.functional.checks import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from logitmix_nlp.mixing.mixers import mixing_sites
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
from logitmix_nlp.training.methods import get_method

__all__ = ["card_facts", "evaluate_predictions"]

logger = logging.get_logger(__name__)


def card_facts(
    trainer: Trainer, predictions: Mapping[str, Any], given: Mapping[str, Any], missing: str | None = None
) -> CardFacts:
    """Collect what a card says.

    Args:
        trainer (`LogitMixTrainer`): Trained, or not; its `card_options` say what it cannot know.
        predictions (`Mapping[str, EvalLoopOutput]`): Of the weights it holds, by name of the evaluation dataset, `""`
            for a single one; metrics without prefix.
        given (`Mapping[str, Any]`): Arguments of [`LogitMixTrainer.create_model_card`].
        missing (`str`, *optional*): Why there are no predictions.

    Returns:
        `CardFacts`: Without absolute paths, secrets and guesses.

    Raises:
        ValueError: If the number of dataset names is neither one nor that of the evaluation datasets.
    """
    args, state, options = trainer.args, trainer.state, trainer.card_options
    model = trainer.accelerator.unwrap_model(trainer.model)
    adapter = not isinstance(model, PreTrainedModel)
    plain = model.get_base_model() if adapter else model
    kind = _kind(plain.config)
    sources = evaluation_datasets(trainer)
    names = [_listed(given.get(name)) for name in ("dataset_tags", "dataset", "dataset_args")]
    known = {name: describe_dataset(rows, name) for name, rows in sources.items()}
    known = {name: options.evaluation_data.get(name, facts) for name, facts in known.items()}
    known = name_datasets(known, *names) if known else {}
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
    loaded = (given.get("finetuned_from"), options.finetuned_from, plain.config._name_or_path)
    base, base_known = _base(loaded, args.output_dir)
    hub_base = base if base and not is_local_path(base) else None
    repo_id = trainer.hub_model_id or HERE
    temperature = plain.config.to_dict().get(TEMPERATURE_KEY)
    sites = mixing_sites(args.mixer, model, args.mix_site) if args.loss_weights.needs_mixed else []
    measured = any(metric.name == "ece" for evaluation in evaluations for metric in evaluation.metrics)
    tasks = _listed(given.get("tasks")) or [_task(type(plain).__name__)]
    return CardFacts(
        model_name=given.get("model_name") or Path(trainer.hub_model_id or os.path.abspath(args.output_dir)).name,
        repo_id=repo_id,
        task=tasks[0],
        kind=kind,
        architecture=type(plain).__name__,
        labels=tuple(str(plain.config.id2label[place]) for place in sorted(plain.config.id2label)),
        method=describe_method(
            args,
            [site.name for site in sites],
            kind,
            measured=measured,
            rescaled=temperature is not None,
            row_loss=trainer.row_loss,
        ),
        recipe=recipe(args, state),
        progress=progress(args, state, trainer.is_in_train),
        training_data=_training_data(trainer, names),
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
        license=given.get("license") or _license_of(base),
        language=tuple(_listed(given.get("language") or options.language)),
        tags=tuple(dict.fromkeys([*_listed(given.get("tags")), "generated_from_trainer", *_tags(args, measured)])),
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
    """Score the `EvalLoopOutput` of one dataset; calibration only for classifiers of one label per row."""
    logits, labels = first_output(output.predictions), first_output(output.label_ids)
    size = 0 if logits is None else int(np.size(logits))
    resamples = number_of_resamples(size, output.num_samples, options.n_resamples)
    metrics, bins = (), None
    if kind == SINGLE_LABEL and logits is not None:
        targets = labels if labels.shape == logits.shape else labels.reshape(logits.shape[:-1])  # or soft labels
        metrics = classification_metrics(logits, targets, options.n_bins, resamples)
        enough, tagged = output.num_samples >= MIN_ROWS, tagged_tokens(logits, targets)
        bins = confidence_bins(*tagged, options.n_bins, from_logits=True) if enough else None
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


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value or ())


def _base(names: Sequence[str | None], output_dir: str) -> tuple[str | None, bool]:
    """The base model and whether it is known; a model that was saved here before is not the base of itself."""
    base = next((name for name in names if name is not None), None)
    if not base:
        return None, True  # made from a configuration
    here = Path(os.path.realpath(output_dir))
    if os.path.isdir(base) and Path(os.path.realpath(base)).is_relative_to(here):
        return None, False
    return base, True


def _task(architecture: str) -> str:
    """Task of the Hub that a class of models is for."""
    if architecture in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES.values():
        return "image-classification"
    tokens = architecture in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES.values()
    return "token-classification" if tokens else "text-classification"


def _kind(config: Any) -> str:
    """Problem type of a model."""
    if config.num_labels == 1 or config.problem_type == REGRESSION:
        return REGRESSION
    return MULTI_LABEL if config.problem_type == MULTI_LABEL else SINGLE_LABEL


def _training_data(trainer: Trainer, names: Sequence[list[str]]) -> tuple[DatasetFacts, ...]:
    if trainer.train_dataset is None:
        return ()
    if trainer.card_options.training_data is not None:
        return (trainer.card_options.training_data,)
    facts = {"": describe_dataset(trainer.train_dataset)}
    return tuple(name_datasets(facts, *(name[:1] for name in names)).values())


def _rows(dataset: Any) -> int | None:
    try:
        return None if dataset is None else len(dataset)
    except TypeError:  # rows of a stream are not counted
        return None


def _tags(args: Any, measured: bool) -> list[str]:
    family = ["logitmix"] * ("logitmix" in get_method(args.mix_method).papers)
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
