# SPDX-License-Identifier: Apache-2.0
"""Running sums of the loss terms between two log lines, kept on the device and equal on all processes when read."""

import torch
from accelerate import Accelerator
from transformers.utils import logging

from logitmix_nlp.functional.mixing_loss import LOSS_TERMS

__all__ = ["TermLog"]

logger = logging.get_logger(__name__)


class TermLog:
    """Average of each loss term per optimizer step since the last log line, as the Trainer averages `loss`."""

    def __init__(self):
        self._sums: torch.Tensor | None = None
        self._steps = 0

    def begin_step(self) -> None:
        """Count one optimizer step."""
        self._steps += 1

    def add(self, parts: dict[str, torch.Tensor]) -> None:
        """Add the terms of one batch, in the scale of the logged loss; a non-finite total is counted."""
        zero = next(iter(parts.values())).new_zeros(())
        terms = torch.stack([parts.get(name, zero).detach() for name in LOSS_TERMS])
        values = torch.cat([terms, (~torch.isfinite(terms.sum())).to(terms).reshape(1)])
        self._sums = values if self._sums is None else self._sums + values

    def pop(self, accelerator: Accelerator, names: list[str]) -> dict[str, float]:
        """Read and reset. Every process must call this.

        Args:
            accelerator (`Accelerator`): Gathers the sums of all processes.
            names (`list[str]`): The terms to return.

        Returns:
            `dict[str, float]`: Mean of each term over processes and steps, not hiding NaN; and if there were any, with
            a warning, `nonfinite_batches`: how many batches of all processes had a loss that is not finite.
        """
        sums = accelerator.gather(self._sums.reshape(1, -1))
        *means, _ = (sums.mean(0) / max(self._steps, 1)).tolist()
        nonfinite = int(sums[:, -1].sum().item())
        self._sums, self._steps = None, 0
        terms = dict(zip(LOSS_TERMS, means, strict=True))
        values = {name: terms[name] for name in names}
        if nonfinite:
            values["nonfinite_batches"] = nonfinite
            logger.warning(
                f"{nonfinite} batches since the last log line had a loss that is not finite; the logged `loss` "
                "leaves them out. Lower the learning rate, or check the data and the mixed-precision settings."
            )
        return values
