# SPDX-License-Identifier: Apache-2.0
"""Calibration at each evaluation of any `Trainer`, in time for its log, its best checkpoint and early stopping."""

from collections.abc import Callable
from typing import Any

from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from logitmix_nlp.calibration.metrics import LOWER_IS_BETTER, ClassificationMetrics
from logitmix_nlp.calibration.stored_temperature import clear_temperature

__all__ = ["CalibrationCallback"]


class CalibrationCallback(TrainerCallback):
    """Add ECE, OE, NLL and Brier score to each evaluation of a `Trainer`, stock or of this library.

    A callback sees the metrics of an evaluation, but not its logits, and only after they were logged. So this one is
    made from the trainer, and extends its `compute_metrics`, where the logits are: one evaluation pass, and the
    metrics are there for the log, for `metric_for_best_model="eval_ece"` and for `EarlyStoppingCallback`, in whatever
    order callbacks run. Metrics that the trainer's own `compute_metrics` gives are kept. A temperature that
    `python -m logitmix_nlp calibrate` stored with the model is removed when training starts: it would be that of the
    old weights.

    Example:
        `trainer.add_callback(CalibrationCallback(trainer))`

    Args:
        trainer (`Trainer`): Fine-tunes a single-label classifier.
        n_bins (`int`): Number of equal confidence bins `(a, b]` of ECE and OE.

    Raises:
        ValueError: At the start of training, if `greater_is_better=True` would pick the worst of ECE, OE, NLL or Brier
            score; and see [`ClassificationMetrics`].
    """

    def __init__(self, trainer: Trainer, n_bins: int = 15):
        self._metrics = ClassificationMetrics(n_bins)
        trainer.compute_metrics = self._extended(trainer.compute_metrics)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: PreTrainedModel,
        **kwargs: Any,
    ) -> None:
        """Check that the best checkpoint will be the best one, and forget the temperature of the old weights."""
        name = str(args.metric_for_best_model)
        if name.split("_")[-1] in LOWER_IS_BETTER and args.greater_is_better:
            raise ValueError(
                f"metric_for_best_model={name!r} is better when lower, but greater_is_better is "
                f"{args.greater_is_better}, as stock TrainingArguments have it by default: set "
                "greater_is_better=False."
            )
        clear_temperature(model.config)

    def _extended(self, own: Callable[..., dict[str, float]] | None) -> Callable[..., dict[str, float]]:
        def compute_metrics(prediction: EvalPrediction, compute_result: bool | None = None) -> dict[str, float]:
            metrics = self._metrics(prediction, compute_result)
            if own is None:
                return metrics
            given = own(prediction) if compute_result is None else own(prediction, compute_result=compute_result)
            return {**metrics, **(given or {})}

        return compute_metrics
