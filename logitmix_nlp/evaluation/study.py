# SPDX-License-Identifier: Apache-2.0
"""Everything that one report says of its models: their predictions, read in several ways, and the metrics."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Any, NamedTuple

import numpy as np
import torch

from logitmix_nlp.calibration.metrics import per_class_metrics
from logitmix_nlp.calibration.stored_temperature import stored_temperature
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.mixup_rescaling import mean_at_site, rescaled_logits
from logitmix_nlp.evaluation.robustness import mc_dropout_logits
from logitmix_nlp.functional.bootstrap import Interval
from logitmix_nlp.functional.ensembles import ensemble_scores
from logitmix_nlp.functional.entities import are_entity_tags, entity_intervals
from logitmix_nlp.functional.metrics import METRICS, metric_intervals, metric_values
from logitmix_nlp.functional.ood import ood_metrics
from logitmix_nlp.functional.rescaling import truncated_beta_mean

__all__ = ["SHIFT_METRICS", "SHOWN", "Batches", "Study", "Variants", "make_study"]

logger = logging.getLogger(__name__)

AS_TRAINED = "as trained"
SHOWN = tuple(name for name in METRICS if name != "matthews_correlation")
SHIFT_METRICS = ("accuracy", "ece", "oe", "nll")
Batches = Callable[[Classifier], Iterable[Mapping[str, Any]]]  # called once for each reading of the rows
LEAST_ENERGY = 1e-5  # of log probabilities it is 0 but for rounding


class Variants(NamedTuple):
    """How scores are made of a model's logits: as trained, at a temperature, with MC dropout, rescaled.

    Of several models, the mean of their probabilities is one more.

    Args:
        classifiers (`dict[str, Classifier]`): The models by a short name. Class ids are those of the first.
        temperatures (`dict[str, dict[str, float]]`): By the names that [`logits`] gives: name of each variant that
            divides all logits by a temperature.
        passes (`int`): Passes of MC dropout, of one model alone; 0 for none.
        rescaling (`dict[str, Any]`, *optional*): Arguments of [`rescaled_logits`], for one model trained with mixup.
        seed (`int`): Of the dropout masks.
    """

    classifiers: dict[str, Classifier]
    temperatures: dict[str, dict[str, float]]
    passes: int = 0
    rescaling: dict[str, Any] | None = None
    seed: int = 0

    @classmethod
    def of(cls, classifiers: dict[str, Classifier], passes: int = 0, seed: int = 0) -> "Variants":
        """Each model, and the mean of several, as trained and at the temperature that its configuration holds."""
        temperatures = {name: {AS_TRAINED: 1.0} for name in classifiers}
        for name, classifier in classifiers.items():
            if (stored := stored_temperature(classifier.model.config)) != 1:
                temperatures[name][_at("stored", stored)] = stored
        if len(classifiers) > 1:
            temperatures[_mean(classifiers)] = {AS_TRAINED: 1.0}
        return cls(classifiers, temperatures, passes, seed=seed)

    @property
    def class_names(self) -> list[str]:
        """Class names by id."""
        return next(iter(self.classifiers.values())).class_names

    def logits(self, batches: Batches) -> dict[str, torch.Tensor]:
        """Logits `(N, C)` of each model by its name; last, of several, the logarithm of their mean probability."""
        logits = {}
        for name, classifier in self.classifiers.items():
            order = [classifier.class_names.index(label) for label in self.class_names]
            logits[name] = classifier.logits(batches(classifier))[:, order]
        if len(logits) > 1:
            members = torch.stack([one.double() for one in logits.values()])
            seen = ~members.isnan().any(2).any(0)  # words that have a token in each model
            mean = members.new_full(members.shape[1:], torch.nan)
            mean[seen] = ensemble_scores(members[:, seen]).log_probs
            logits[_mean(logits)] = mean
        return logits

    def scores(self, batches: Batches) -> dict[str, torch.Tensor]:
        """Scores `(N, C)` of each variant, to be taken for logits; `batches` gives the inputs anew at each call."""
        scores = {
            f"{name}, {variant}" if len(self.classifiers) > 1 else variant: logits / temperature
            for name, logits in self.logits(batches).items()
            for variant, temperature in self.temperatures[name].items()
        }
        classifier = next(iter(self.classifiers.values()))
        if self.rescaling is not None:
            scores["mixup rescaling"] = rescaled_logits(classifier.model, batches(classifier), **self.rescaling)
        if self.passes:
            generator = torch.Generator().manual_seed(self.seed)
            passes = mc_dropout_logits(classifier.model, batches(classifier), self.passes, generator)
            scores["MC dropout"] = passes.log_probs
        return scores

    def with_fitted(self, temperatures: Mapping[str, float]) -> "Variants":
        """With the temperatures that were fitted to what [`logits`] gives of held-out rows, by the same names."""
        fitted = {
            name: {**self.temperatures[name], _at("fitted", temperature): temperature}
            for name, temperature in temperatures.items()
        }
        return self._replace(temperatures=fitted)

    def with_rescaling(self, alpha: float, training_batches: Batches, labels: np.ndarray) -> "Variants":
        """With the rescaling of Carratino et al. (Eq. 15), for a model that mixup at the pixels trained.

        Args:
            alpha (`float`): α of that mixup.
            training_batches (`Callable`): Its training rows, for their mean.
            labels (`np.ndarray` of shape `(N,)`): Their classes, for the share of each.

        Returns:
            `Variants`: With one more.
        """
        theta, (classifier,) = float(truncated_beta_mean(alpha)), self.classifiers.values()
        mean = mean_at_site(classifier.model, training_batches(classifier), "input")
        shares = np.bincount(labels, minlength=classifier.model.config.num_labels) / len(labels)
        rescaling = {"theta": theta, "mean": mean, "site": "input", "label_mean": torch.from_numpy(shares)}
        return self._replace(rescaling=rescaling)


def _at(kind: str, temperature: float) -> str:
    return f"{kind} T = {temperature:.4g}"


def _mean(models: Sized) -> str:
    return f"mean of {len(models)} models"


class Study(NamedTuple):
    """What was measured.

    Args:
        scores (`dict[str, torch.Tensor]`): Scores `(N, C)` of the evaluated rows, by variant.
        labels (`torch.Tensor` of shape `(N,)`): Their classes.
        metrics (`dict[str, dict[str, Interval]]`): Variant, then name of `SHOWN`, or before those of `ENTITIES`.
        classes (`dict[str, dict[str, dict]]`): Variant, then class: see [`per_class_metrics`].
        outside_scores (`dict[str, dict[str, torch.Tensor]]`): Name of a set from outside, then variant: scores.
        outside (`dict[str, dict[str, dict[str, float]]]`): The same: metrics of [`functional.ood_metrics`];
            without those of the energy where it is 0 for every row, as that of mean probabilities is.
        shifts (`dict[str, dict[str, dict[str, float]]]`): Name of a shift, `"none"` first, then variant: metrics of
            `SHIFT_METRICS`. Empty if there is no shift.
        n_bins (`int`): Confidence bins.
        unit (`str`): What has a class: `"row"` or `"word"`.
    """

    scores: dict[str, torch.Tensor]
    labels: torch.Tensor
    metrics: dict[str, dict[str, Interval]]
    classes: dict[str, dict[str, dict[str, float | int | None]]]
    outside_scores: dict[str, dict[str, torch.Tensor]]
    outside: dict[str, dict[str, dict[str, float]]]
    shifts: dict[str, dict[str, dict[str, float]]]
    n_bins: int
    unit: str = "row"

    def record(self) -> dict[str, Any]:
        """The metrics as JSON takes them; what does not exist is `None`."""
        intervals = {
            variant: {name: one._asdict() for name, one in metrics.items()}
            for variant, metrics in self.metrics.items()
        }
        parts = {"figures": intervals, "per_class": self.classes, "ood": self.outside, "shift": self.shifts}
        return {f"{self.unit}s": len(self.labels), "n_bins": self.n_bins, **_without_nan(parts)}


def make_study(
    variants: Variants,
    rows: Rows,
    batches: Batches,
    outside: dict[str, Batches],
    shifts: dict[str, Batches],
    *,
    n_bins: int = 15,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Study:
    """Run the models on all sets and compute all metrics.

    Args:
        variants (`Variants`): The models, and how their predictions are read.
        rows (`Rows`): Labelled rows to evaluate on.
        batches (`Callable`): Their inputs.
        outside (`dict[str, Callable]`): Inputs of the sets from outside the training distribution, by name.
        shifts (`dict[str, Callable]`): Inputs of the same rows, in the same order, under each shift.
        n_bins (`int`): Confidence bins.
        n_resamples (`int`): Bootstrap resamples; 0 for no intervals.
        seed (`int`): Of the resamples.

    Returns:
        `Study`: All of it.

    Raises:
        ValueError: See [`functional.metric_intervals`] and [`functional.ood_metrics`].
    """
    labels, groups = torch.as_tensor(rows.targets), rows.groups
    scores = _scores(variants, rows.origin, batches)
    seen = ~torch.stack([one.isnan().any(1) for one in scores.values()]).any(0)
    if not seen.all():
        logger.warning("%s of %s without a token left out.", counted(int((~seen).sum()), rows.unit), rows.origin)
        labels, groups = labels[seen], groups[seen]
        scores = {name: one[seen] for name, one in scores.items()}
    resamples = f"; {n_resamples} resamples for the intervals take a while with many rows" if n_resamples else ""
    logger.info("Computing the metrics of %s%s", counted(len(labels), "row"), resamples)
    draws = {"n_resamples": n_resamples, "seed": seed}
    metrics = {
        name: metric_intervals(logits, labels, n_bins, SHOWN, groups=groups, **draws)
        for name, logits in scores.items()
    }
    if rows.of_words and are_entity_tags(variants.class_names):
        sizes = torch.bincount(groups, minlength=len(rows)).tolist()
        truth = _sentences(labels, variants.class_names, sizes)
        for name, logits in scores.items():
            predicted = _sentences(logits.argmax(1), variants.class_names, sizes)
            metrics[name] = {**entity_intervals(predicted, truth, **draws), **metrics[name]}
    outside_scores = {name: _scores(variants, name, inputs) for name, inputs in outside.items()}
    outside_metrics = {
        name: {variant: _outside(scores[variant], out) for variant, out in by_variant.items()}
        for name, by_variant in outside_scores.items()
    }
    shifted = {name: _scores(variants, name, inputs) for name, inputs in shifts.items()}
    shift_metrics = {
        name: {variant: metric_values(logits, labels, n_bins, SHIFT_METRICS) for variant, logits in by_variant.items()}
        for name, by_variant in ({"none": scores, **shifted} if shifts else {}).items()
    }
    names = variants.class_names
    classes = {name: per_class_metrics(logits, labels, names, n_bins) for name, logits in scores.items()}
    return Study(scores, labels, metrics, classes, outside_scores, outside_metrics, shift_metrics, n_bins, rows.unit)


def _sentences(classes: torch.Tensor, names: list[str], sizes: list[int]) -> list[list[str]]:
    """The tags of each sentence, given its number of words."""
    return [[names[k] for k in part.tolist()] for part in classes.split(sizes)]


def _scores(variants: Variants, name: str, batches: Batches) -> dict[str, torch.Tensor]:
    logger.info("Predicting: %s", name)
    return variants.scores(batches)


def _outside(scores: torch.Tensor, out: torch.Tensor) -> dict[str, float]:
    metrics = {name: float(value) for name, value in ood_metrics(scores, out).items()}
    if torch.cat([scores, out]).logsumexp(1).abs().max() < LEAST_ENERGY:
        metrics = {name: value for name, value in metrics.items() if not name.endswith("_energy")}
    return metrics


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if value != value else value
