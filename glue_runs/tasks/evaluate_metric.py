# SPDX-License-Identifier: Apache-2.0
"""The official score of a GLUE task as an `evaluate.Metric` that needs no Hub."""

import datasets
import evaluate
import numpy as np

from glue_runs.tasks.glue import get_task
from glue_runs.tasks.scores import predicted, score_rows
from logitmix_nlp.calibration.evaluate_metrics import INPUTS, ArrayMetric

__all__ = ["GlueMetric"]


class GlueMetric(ArrayMetric):
    """Official scores of a GLUE task, and `combined_score`, their mean, if it has two.

    `predictions` are logits `(N, C)`, class ids `(N,)`, or for STS-B scores `(N,)` or `(N, 1)`; `references` are class
    ids or scores `(N,)`. With `evaluate.combine([GlueMetric("cola"), CalibrationMetric()])` logits give both.

    Args:
        task (`str`): Configuration name of `nyu-mll/glue`, such as `"cola"`.
        positive_label (`int`): Class id that F1 counts as positive, 1 in GLUE's own label order.
    """

    def __init__(self, task: str, positive_label: int = 1) -> None:
        self.task, self.positive_label = get_task(task), positive_label
        super().__init__(config_name=self.task.name)

    def _info(self) -> evaluate.MetricInfo:
        kind = "float64" if self.task.label_names is None else "int64"
        forms = (datasets.Sequence(datasets.Value("float64")), datasets.Value(kind))
        return evaluate.MetricInfo(
            description=f"Official scores of {self.task.folder} in GLUE: {', '.join(self.task.metrics)}.",
            citation="Wang et al.: GLUE, ICLR 2019, arXiv:1804.07461.",
            inputs_description=INPUTS,
            features=[datasets.Features({"predictions": form, "references": datasets.Value(kind)}) for form in forms],
        )

    def _compute(self, predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
        is_regression = self.task.label_names is None
        num_classes = None if is_regression else len(self.task.label_names)
        if predictions.ndim == 2 and predictions.shape[1] != (num_classes or 1):
            raise ValueError(
                f"{self.task.name}: found predictions of shape {predictions.shape}, need {num_classes or 1} per row."
            )
        if is_regression or predictions.ndim == 2:
            predictions = predicted(predictions, is_regression)
        elif predictions.dtype.kind == "f" or not ((predictions >= 0) & (predictions < num_classes)).all():
            raise ValueError(
                f"{self.task.name}: found predictions such as {_stranger(predictions, num_classes)} of type "
                f"{predictions.dtype}; pass class ids, integers from 0 to {num_classes - 1}, or logits (N, C)."
            )
        return score_rows(predictions, references, self.task.metrics, num_classes, self.positive_label)


def _stranger(predictions: np.ndarray, num_classes: int) -> float:
    """The first value that is no class id, or else the first of all."""
    outside = predictions[~np.isin(predictions, np.arange(num_classes))]
    return (outside if len(outside) else predictions)[0].item()
