# SPDX-License-Identifier: Apache-2.0
"""One model, several ways to read its predictions: as trained, at a temperature, with MC dropout, rescaled."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.labelled_rows import Rows
from logitmix_nlp.functional.rescaling import truncated_beta_mean
from logitmix_nlp.mixup_rescaling import mean_at_site, rescaled_logits
from logitmix_nlp.robustness import mc_dropout_logits
from logitmix_nlp.stored_temperature import stored_temperature
from logitmix_nlp.temperature import TemperatureScaler

__all__ = ["AS_TRAINED", "Batches", "Variants", "halves"]

AS_TRAINED = "as trained"
Batches = Callable[[], Iterable[Mapping[str, Any]]]  # called once for each reading of the rows


class Variants(NamedTuple):
    """How scores are made of a model's logits.

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
        """Scores of each variant, to be taken for logits.

        Args:
            batches (`Callable`): Gives the inputs of the model, batch by batch, anew at each call.

        Returns:
            `dict[str, torch.Tensor]`: Tensors of shape `(N, C)` by name.
        """
        logits = self.classifier.logits(batches())
        found = {name: logits / temperature for name, temperature in self.temperatures.items()}
        model = self.classifier.model
        if self.rescaling is not None:
            found["mixup rescaling"] = rescaled_logits(model, batches(), **self.rescaling)
        if self.passes:
            generator = torch.Generator().manual_seed(self.seed)
            found["MC dropout"] = mc_dropout_logits(model, batches(), self.passes, generator).log_probs
        return found

    def with_stored(self) -> "Variants":
        """With the temperature that the model's configuration holds, if it does."""
        found = stored_temperature(self.classifier.model.config)
        if found == 1:
            return self
        return self._replace(temperatures={**self.temperatures, f"stored T = {found:.4g}": found})

    def with_fitted(self, logits: torch.Tensor, labels: np.ndarray) -> tuple["Variants", TemperatureScaler]:
        """With a temperature fitted to held-out rows, and the scaler that holds what it found."""
        scaler = TemperatureScaler().fit(logits, labels)
        name = f"fitted T = {scaler.temperature:.4g}"
        return self._replace(temperatures={**self.temperatures, name: scaler.temperature}), scaler

    def with_rescaling(self, alpha: float, training_batches: Batches) -> "Variants":
        """With the prediction-time rescaling of Carratino et al. for a model that mixup at the pixels trained."""
        theta = float(truncated_beta_mean(alpha))
        mean = mean_at_site(self.classifier.model, training_batches(), "input")
        return self._replace(rescaling={"theta": theta, "mean": mean, "site": "input"})


def halves(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Two halves of the rows, drawn at random: one to fit on, one to evaluate on.

    Args:
        rows (`Rows`): At least 4.
        seed (`int`): Of the draw.

    Returns:
        `tuple[Rows, Rows]`: No row is in both; the second is the larger one of an odd number.

    Raises:
        ValueError: If there are too few rows.
    """
    if len(rows) < 4:
        raise ValueError(
            f"{rows.origin} holds {len(rows)} rows, too few to fit a temperature on one half and to evaluate on the "
            "other: give --calibration_data."
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    half = len(rows) // 2
    return rows.pick(np.sort(order[:half])), rows.pick(np.sort(order[half:]))
