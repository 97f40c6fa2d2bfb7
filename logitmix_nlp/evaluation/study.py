# SPDX-License-Identifier: Apache-2.0
"""Everything that is computed for one report: figures, rows from outside, rows under shift."""

import logging
from typing import Any, NamedTuple

import torch

from logitmix_nlp.calibration.metrics import per_class_figures
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.figures import calibration_figures, figure_intervals
from logitmix_nlp.evaluation.variants import MC_DROPOUT, Batches, Variants
from logitmix_nlp.functional.bootstrap import Interval
from logitmix_nlp.functional.ood import ood_metrics

__all__ = ["SHIFT_FIGURES", "Study", "make_study"]

logger = logging.getLogger(__name__)

SHIFT_FIGURES = ("accuracy", "ece", "oe", "nll")


class Study(NamedTuple):
    """What was found.

    Args:
        scores (`dict[str, torch.Tensor]`): Scores `(N, C)` of the evaluated rows, by variant.
        labels (`torch.Tensor` of shape `(N,)`): Their classes.
        figures (`dict[str, dict[str, Interval]]`): Variant, then name of [`FIGURES`].
        classes (`dict[str, dict[str, dict]]`): Variant, then class: see [`per_class_figures`].
        outside_scores (`dict[str, dict[str, torch.Tensor]]`): Name of a set from outside, then variant: scores.
        outside (`dict[str, dict[str, dict[str, float]]]`): The same: figures of [`functional.ood_metrics`];
            of MC dropout without those of the energy, which is 0 for every row.
        shifts (`dict[str, dict[str, dict[str, float]]]`): Name of a shift, `"none"` first, then variant: figures of
            `SHIFT_FIGURES`. Empty if there is no shift.
        n_bins (`int`): Confidence bins.
    """

    scores: dict[str, torch.Tensor]
    labels: torch.Tensor
    figures: dict[str, dict[str, Interval]]
    classes: dict[str, dict[str, dict[str, float | int | None]]]
    outside_scores: dict[str, dict[str, torch.Tensor]]
    outside: dict[str, dict[str, dict[str, float]]]
    shifts: dict[str, dict[str, dict[str, float]]]
    n_bins: int

    def record(self) -> dict[str, Any]:
        """The figures as JSON takes them; what does not exist is `None`."""
        intervals = {
            variant: {name: one._asdict() for name, one in found.items()} for variant, found in self.figures.items()
        }
        found = {"figures": intervals, "per_class": self.classes, "ood": self.outside, "shift": self.shifts}
        return {"rows": len(self.labels), "n_bins": self.n_bins, **_without_nan(found)}


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
    """Run the model on all sets and compute all figures.

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
        ValueError: See [`figure_intervals`] and [`functional.ood_metrics`].
    """
    labels = torch.as_tensor(rows.labels)
    scores = _scores(variants, rows.origin, batches)
    resamples = f"; {n_resamples} resamples for the intervals take a while with many rows" if n_resamples else ""
    logger.info("Computing the figures of %s%s", counted(len(labels), "row"), resamples)
    figures = {name: figure_intervals(found, labels, n_bins, n_resamples, seed) for name, found in scores.items()}
    outside_scores = {name: _scores(variants, name, inputs) for name, inputs in outside.items()}
    found_outside = {
        name: {variant: _outside(variant, scores[variant], out) for variant, out in by_variant.items()}
        for name, by_variant in outside_scores.items()
    }
    shifted = {name: _scores(variants, name, inputs) for name, inputs in shifts.items()}
    found_shifts = {
        name: {variant: _chosen(found, labels, n_bins) for variant, found in by_variant.items()}
        for name, by_variant in ({"none": scores, **shifted} if shifts else {}).items()
    }
    names = variants.classifier.class_names
    classes = {name: per_class_figures(found, labels, names, n_bins) for name, found in scores.items()}
    return Study(scores, labels, figures, classes, outside_scores, found_outside, found_shifts, n_bins)


def _scores(variants: Variants, name: str, batches: Batches) -> dict[str, torch.Tensor]:
    logger.info("Predicting: %s", name)
    return variants.scores(batches)


def _outside(variant: str, scores: torch.Tensor, out: torch.Tensor) -> dict[str, float]:
    found = _floats(ood_metrics(scores, out))
    if variant == MC_DROPOUT:  # scores are log probabilities, and their energy is 0 but for rounding
        found = {name: value for name, value in found.items() if not name.endswith("_energy")}
    return found


def _chosen(scores: torch.Tensor, labels: torch.Tensor, n_bins: int) -> dict[str, float]:
    found = calibration_figures(scores, labels, n_bins)
    return _floats({name: found[name] for name in SHIFT_FIGURES})


def _floats(figures: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return None if value != value else value
