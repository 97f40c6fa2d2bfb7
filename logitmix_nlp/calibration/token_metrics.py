# SPDX-License-Identifier: Apache-2.0
"""Metrics of token classification, in the form `Trainer` reports them: of tagged tokens, and of entities they mark."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import EvalPrediction

from logitmix_nlp.calibration.metrics import ClassificationMetrics, as_tensor, first_output
from logitmix_nlp.functional.bootstrap import Interval
from logitmix_nlp.functional.checks import IGNORED
from logitmix_nlp.functional.entities import (
    EntityCounts,
    are_entity_tags,
    count_entities,
    entity_intervals,
    entity_scores,
)

__all__ = ["TokenMetrics"]


class TokenMetrics(ClassificationMetrics):
    """[`ClassificationMetrics`] over tagged tokens, and `precision`, `recall` and `f1` of the entities they mark.

    Entities are those of [`functional.entities`], from the tags of each row alone, as seqeval counts them; without
    them if the class names do not mark entities (`B-person`, `O`).

    Example:
        `TokenMetrics(model.config.id2label.values())` as `compute_metrics` of a `Trainer` of token classification.

    Args:
        names (`Sequence[str]`): Class names by id.
        n_bins (`int`): Number of equal confidence bins `(a, b]` of ECE and OE.
    """

    def __init__(self, names: Sequence[str], n_bins: int = 15):
        super().__init__(n_bins)
        self.names = tuple(names)
        self._marks = are_entity_tags(self.names)
        self._entities: EntityCounts | None = None

    def __call__(self, prediction: EvalPrediction, compute_result: bool | None = None) -> dict[str, float]:
        """Score an evaluation, or add one batch to it; see [`ClassificationMetrics`]."""
        scores = super().__call__(prediction, compute_result)
        if not self._marks:
            return scores
        logits, labels = (as_tensor(first_output(part)) for part in (prediction.predictions, prediction.label_ids))
        counts = count_entities(self._tags(logits.argmax(-1), labels), self._tags(labels, labels))
        if compute_result is None:
            return {**entity_scores(counts), **scores}
        if self._entities is not None:
            counts = EntityCounts(*(mine + theirs for mine, theirs in zip(self._entities, counts, strict=True)))
        self._entities = None if compute_result else counts
        return {**entity_scores(counts), **scores} if compute_result else {}

    def intervals(self, predictions: Any, labels: Any, *, n_resamples: int, seed: int) -> dict[str, Interval]:
        """The scores of entities with 95% intervals over rows; none if the class names mark none.

        Args:
            predictions (`np.ndarray` of shape `(N, T, C)`): Logits.
            labels (`np.ndarray` of shape `(N, T)`): Tags, -100 for tokens without one.
            n_resamples (`int`): See [`entity_intervals`].
            seed (`int`): Of the resamples.
        """
        if not self._marks:
            return {}
        labels = as_tensor(labels)
        tags = (self._tags(classes, labels) for classes in (as_tensor(predictions).argmax(-1), labels))
        return entity_intervals(*tags, n_resamples=n_resamples, seed=seed)

    def _tags(self, classes: torch.Tensor, labels: torch.Tensor) -> list[list[str]]:
        """Names of the classes of each row's tagged tokens."""
        rows = zip(classes, labels, strict=True)
        return [[self.names[k] for k in row[of_row != IGNORED].tolist()] for row, of_row in rows]

    def reset(self) -> None:
        """Forget the batches added, after an evaluation that was broken off."""
        super().reset()
        self._entities = None
