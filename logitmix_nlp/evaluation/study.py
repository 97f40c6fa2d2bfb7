# SPDX-License-Identifier: Apache-2.0
"""Everything that one report says of a model: its predictions, read in several ways, and their metrics."""

import logging
from collections.abc import Callable, Iterable, Mapping
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
from logitmix_nlp.functional.metrics import METRICS, metric_intervals, metric_values
from logitmix_nlp.functional.ood import ood_metrics
from logitmix_nlp.functional.rescaling import truncated_beta_mean

__all__ = ["AS_TRAINED", "SHIFT_METRICS", "SHOWN", "Batches", "Study", "Variants", "make_study"]

logger = logging.getLogger(__name__)

AS_TRAINED, MC_DROPOUT = "as trained", "MC dropout"
SHOWN = tuple(name for name in METRICS if name != "matthews_correlation")
SHIFT_METRICS = ("accuracy", "ece", "oe", "nll")
Batches = Callable[[], Iterable[Mapping[str, Any]]]  # called once for each reading of the rows


class Variants(NamedTuple):
    """How scores are made of a model's logits: as trained, at a temperature, with MC dropout, rescaled.

    Args:
        classifier (`Classifier`): The model.
        temperatures (`dict[str, float]`): Name of each variant that divides all logits by a temperature.
        passes (`int`): Passes of MC dropout; 0 for none.
        rescaling (`dict[str, Any]`, *optional*): Arguments of [`rescaled_logits`], for models trained with mixup.
        seed (`int`): Of the dropout masks.
    """

    classifier: Classifier
    temperatures: dict[str, float]
    passes: int = 0
    rescaling: dict[str, Any] | None = None
    seed: int = 0

    def scores(self, batches: Batches) -> dict[str, torch.Tensor]:
        """Scores `(N, C)` of each variant, to be taken for logits; `batches` gives the inputs anew at each call."""
        logits = self.classifier.logits(batches())
        scores = {name: logits / temperature for name, temperature in self.temperatures.items()}
        model = self.classifier.model
        if self.rescaling is not None:
            scores["mixup rescaling"] = rescaled_logits(model, batches(), **self.rescaling)
        if self.passes:
            generator = torch.Generator().manual_seed(self.seed)
            scores[MC_DROPOUT] = mc_dropout_logits(model, batches(), self.passes, generator).log_probs
        return scores

    def with_stored(self) -> "Variants":
        """With the temperature that the model's configuration holds, if it does."""
        stored = stored_temperature(self.classifier.model.config)
        return self if stored == 1 else self._at("stored", stored)

    def with_fitted(self, temperature: float) -> "Variants":
        """With a temperature that was fitted to held-out rows."""
        return self._at("fitted", temperature)

    def _at(self, kind: str, temperature: float) -> "Variants":
        return self._replace(temperatures={**self.temperatures, f"{kind} T = {temperature:.4g}": temperature})

    def with_rescaling(self, alpha: float, training_batches: Batches, labels: np.ndarray) -> "Variants":
        """With the rescaling of Carratino et al. (Eq. 15), for a model that mixup at the pixels trained.

        Args:
            alpha (`float`): α of that mixup.
            training_batches (`Callable`): Its training rows, for their mean.
            labels (`np.ndarray` of shape `(N,)`): Their classes, for the share of each.

        Returns:
            `Variants`: With one more.
        """
        theta = float(truncated_beta_mean(alpha))
        mean = mean_at_site(self.classifier.model, training_batches(), "input")
        shares = np.bincount(labels, minlength=self.classifier.model.config.num_labels) / len(labels)
        rescaling = {"theta": theta, "mean": mean, "site": "input", "label_mean": torch.from_numpy(shares)}
        return self._replace(rescaling=rescaling)


class Study(NamedTuple):
    """What was measured.

    Args:
        scores (`dict[str, torch.Tensor]`): Scores `(N, C)` of the evaluated rows, by variant.
        labels (`torch.Tensor` of shape `(N,)`): Their classes.
        metrics (`dict[str, dict[str, Interval]]`): Variant, then name of `SHOWN`.
        classes (`dict[str, dict[str, dict]]`): Variant, then class: see [`per_class_metrics`].
        outside_scores (`dict[str, dict[str, torch.Tensor]]`): Name of a set from outside, then variant: scores.
        outside (`dict[str, dict[str, dict[str, float]]]`): The same: metrics of [`functional.ood_metrics`];
            of MC dropout without those of the energy, which is 0 for every row.
        shifts (`dict[str, dict[str, dict[str, float]]]`): Name of a shift, `"none"` first, then variant: metrics of
            `SHIFT_METRICS`. Empty if there is no shift.
        n_bins (`int`): Confidence bins.
    """

    scores: dict[str, torch.Tensor]
    labels: torch.Tensor
    metrics: dict[str, dict[str, Interval]]
    classes: dict[str, dict[str, dict[str, float | int | None]]]
    outside_scores: dict[str, dict[str, torch.Tensor]]
    outside: dict[str, dict[str, dict[str, float]]]
    shifts: dict[str, dict[str, dict[str, float]]]
    n_bins: int

    def record(self) -> dict[str, Any]:
        """The metrics as JSON takes them; what does not exist is `None`."""
        intervals = {
            variant: {name: one._asdict() for name, one in metrics.items()}
            for variant, metrics in self.metrics.items()
        }
        parts = {"figures": intervals, "per_class": self.classes, "ood": self.outside, "shift": self.shifts}
        return {"rows": len(self.labels), "n_bins": self.n_bins, **_without_nan(parts)}


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
    """Run the model on all sets and compute all metrics.

    Args:
        variants (`Variants`): The model, and how its predictions are read.
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
    labels = torch.as_tensor(rows.labels)
    scores = _scores(variants, rows.origin, batches)
    resamples = f"; {n_resamples} resamples for the intervals take a while with many rows" if n_resamples else ""
    logger.info("Computing the metrics of %s%s", counted(len(labels), "row"), resamples)
    metrics = {
        name: metric_intervals(logits, labels, n_bins, SHOWN, n_resamples=n_resamples, seed=seed)
        for name, logits in scores.items()
    }
    outside_scores = {name: _scores(variants, name, inputs) for name, inputs in outside.items()}
    outside_metrics = {
        name: {variant: _outside(variant, scores[variant], out) for variant, out in by_variant.items()}
        for name, by_variant in outside_scores.items()
    }
    shifted = {name: _scores(variants, name, inputs) for name, inputs in shifts.items()}
    shift_metrics = {
        name: {variant: metric_values(logits, labels, n_bins, SHIFT_METRICS) for variant, logits in by_variant.items()}
        for name, by_variant in ({"none": scores, **shifted} if shifts else {}).items()
    }
    names = variants.classifier.class_names
    classes = {name: per_class_metrics(logits, labels, names, n_bins) for name, logits in scores.items()}
    return Study(scores, labels, metrics, classes, outside_scores, outside_metrics, shift_metrics, n_bins)


def _scores(variants: Variants, name: str, batches: Batches) -> dict[str, torch.Tensor]:
    logger.info("Predicting: %s", name)
    return variants.scores(batches)


def _outside(variant: str, scores: torch.Tensor, out: torch.Tensor) -> dict[str, float]:
    metrics = {name: float(value) for name, value in ood_metrics(scores, out).items()}
    if variant == MC_DROPOUT:  # scores are log probabilities, and their energy is 0 but for rounding
        metrics = {name: value for name, value in metrics.items() if not name.endswith("_energy")}
    return metrics


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if value != value else value
