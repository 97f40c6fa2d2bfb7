# SPDX-License-Identifier: Apache-2.0
"""Run a model on batches and leave it as it was found."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["evaluation_mode", "inputs_of"]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[torch.device]:
    """Put every module into evaluation mode while the context is open; each gets its own mode back.

    Yields:
        `torch.device`: Where the model's first parameter lies.
    """
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield next(model.parameters()).device
    finally:
        for part, mode in modes.items():
            part.training = mode


def inputs_of(batches: Iterable[Mapping[str, Any]], device: torch.device) -> Iterator[dict[str, Any]]:
    """Keyword arguments of the model for each batch: without `labels`, tensors on `device`.

    Raises:
        ValueError: If there is no batch.
    """
    count = 0
    for batch in batches:
        count += 1
        yield {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
            if name != "labels"
        }
    if not count:
        raise ValueError("No batches: give at least one. (A generator can be read only once.)")
