# SPDX-License-Identifier: Apache-2.0
"""Metrics of `calibration.metrics` as an `evaluate.Metric`, without the Hub, for code written against that library."""

from typing import Any

import datasets
import evaluate
import numpy as np
import torch

from logitmix_nlp.calibration.metrics import calibration_metrics
from logitmix_nlp.functional.entities import count_entities, entity_scores, entity_type_scores

__all__ = ["ArrayMetric", "CalibrationMetric", "EntityMetric"]

INPUTS = """
Args:
    predictions: One entry per row.
    references: True labels, one per row.
"""


class _MemoryMetric(evaluate.Metric):
    """An `evaluate.Metric` without files: it keeps its rows in memory."""

    def __init__(self, config_name: str | None = None) -> None:
        super().__init__(config_name=config_name, keep_in_memory=True)

    def _build_data_dir(self) -> str:
        """Where files would lie; the base class makes the folder."""
        return self._data_dir_root


class ArrayMetric(_MemoryMetric):
    """An `evaluate.Metric` that keeps its rows in memory as the arrays they came as: none is rounded, no file is made.

    It is of one process and takes no `num_process`: it scores the rows that this process gave it. In a distributed
    evaluation, gather first, as `Trainer` does before it calls `compute_metrics`. A subclass gives `_info` and
    `_compute`, which gets both arrays.

    Args:
        config_name (`str`, *optional*): Which variant of the metric this is.
    """

    def __init__(self, config_name: str | None = None) -> None:
        super().__init__(config_name)
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []

    def __len__(self) -> int:
        return sum(len(references) for _, references in self._batches)

    def add(
        self, *, prediction: Any = None, reference: Any = None, predictions: Any = None, references: Any = None
    ) -> None:
        """Add one row; `evaluate.combine` calls its two parts by their plural names."""
        prediction = predictions if prediction is None else prediction
        reference = references if reference is None else reference
        _require(prediction, reference)
        self.add_batch(predictions=_array(prediction)[None], references=_array(reference)[None])

    def add_batch(self, *, predictions: Any = None, references: Any = None) -> None:
        """Add rows.

        Raises:
            ValueError: If there is not one reference per prediction, or the rows are shaped unlike those before.
        """
        _require(predictions, references)
        predictions, references = _array(predictions), _array(references)
        if references.ndim != 1 or predictions.ndim not in (1, 2):
            raise ValueError(
                "Expected predictions of shape (N,) or (N, C) and references of shape (N,), got the shapes "
                f"{predictions.shape} and {references.shape}."
            )
        if len(predictions) != len(references):
            raise ValueError(f"Found {len(predictions)} predictions and {len(references)} references; need one each.")
        if len(references) == 0:
            return
        if self._batches and self._batches[0][0].shape[1:] != predictions.shape[1:]:
            raise ValueError(
                f"Found predictions of shape {predictions.shape} after some of shape {self._batches[0][0].shape}; "
                "all rows must have the same form."
            )
        self._batches.append((predictions, references))

    def compute(self, *, predictions: Any = None, references: Any = None) -> dict[str, float]:
        """Figures of all rows added and of those given here; afterwards the metric is empty again.

        Raises:
            ValueError: If there are no rows, or rows that cannot be scored.
        """
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references)
        if not self._batches:
            raise ValueError(f"{self.name}: no rows to score; pass predictions and references, or add some first.")
        predictions, references = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        self._batches = []
        return self._compute(predictions=predictions, references=references)


class CalibrationMetric(ArrayMetric):
    """ECE, OE, NLL and Brier score, see [`metrics.calibration_metrics`].

    `predictions` are logits or probabilities `(N, C)`, `references` true classes `(N,)`.

    Args:
        n_bins (`int`): Number of equal confidence bins `(a, b]`.
        from_logits (`bool`, *optional*): Whether the predictions are logits; by default that is recognised, see
            [`functional.confidence_bins`].
    """

    def __init__(self, n_bins: int = 15, from_logits: bool | None = None) -> None:
        self.n_bins, self.from_logits = n_bins, from_logits
        super().__init__()

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Expected calibration error, overconfidence error, negative log-likelihood and Brier score.",
            citation="Thulasidasan et al., 2019, arXiv:1905.11001 (ECE, OE); Brier, 1950.",
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        return calibration_metrics(predictions, references, self.n_bins, from_logits=self.from_logits)


class EntityMetric(_MemoryMetric):
    """Precision, recall and F1 of named entities, and the accuracy of the tags, as seqeval's default mode counts.

    `predictions` and `references` are lists of tags, such as `["O", "B-person", "I-person"]`, one for each sentence.
    Besides the overall metrics there is an entry for each type of entity, as in seqeval. Rows are kept in memory.
    """

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="Precision, recall and F1 of named entities.",
            citation="Tjong Kim Sang & De Meulder: Introduction to the CoNLL-2003 shared task, CoNLL 2003.",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": tags, "references": tags}),
        )

    def _compute(self, predictions: list[list[str]], references: list[list[str]]) -> dict[str, Any]:
        counts = count_entities(predictions, references)
        pairs = [
            pair for tags, truth in zip(predictions, references, strict=True) for pair in zip(tags, truth, strict=True)
        ]
        overall = {f"overall_{name}": value for name, value in entity_scores(counts).items()}
        accuracy = sum(tag == true for tag, true in pairs) / max(len(pairs), 1)
        return {**entity_type_scores(counts), **overall, "overall_accuracy": accuracy}


def _require(predictions: Any, references: Any) -> None:
    if predictions is None or references is None:
        missing = "predictions" if predictions is None else "references"
        raise ValueError(f"Found no {missing}; a metric needs predictions and references.")


def _array(values: Any) -> np.ndarray:
    """Numbers as an array of their own precision; rows of integers become float64, since they are logits."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Found values of type {array.dtype}; predictions and references must be numbers.")
    return array.astype(np.float64) if array.ndim == 2 and array.dtype.kind != "f" else array
