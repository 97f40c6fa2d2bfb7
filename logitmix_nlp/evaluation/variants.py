# SPDX-License-Identifier: Apache-2.0
"""One model, several ways to read its predictions: as trained, at a temperature, with MC dropout, rescaled."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from logitmix_nlp.calibration.stored_temperature import stored_temperature
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.mixup_rescaling import mean_at_site, rescaled_logits
from logitmix_nlp.evaluation.robustness import mc_dropout_logits
from logitmix_nlp.functional.rescaling import truncated_beta_mean

__all__ = ["AS_TRAINED", "MC_DROPOUT", "Batches", "Variants"]

AS_TRAINED, MC_DROPOUT = "as trained", "MC dropout"
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
            found[MC_DROPOUT] = mc_dropout_logits(model, batches(), self.passes, generator).log_probs
        return found

    def with_stored(self) -> "Variants":
        """With the temperature that the model's configuration holds, if it does."""
        found = stored_temperature(self.classifier.model.config)
        if found == 1:
            return self
        return self._replace(temperatures={**self.temperatures, f"stored T = {found:.4g}": found})

    def with_fitted(self, temperature: float) -> "Variants":
        """With a temperature that was fitted to held-out rows."""
        return self._replace(temperatures={**self.temperatures, f"fitted T = {temperature:.4g}": temperature})

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
        found = {"theta": theta, "mean": mean, "site": "input", "label_mean": torch.from_numpy(shares)}
        return self._replace(rescaling=found)
