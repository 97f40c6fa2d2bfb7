# SPDX-License-Identifier: Apache-2.0
"""Run a model on batches and leave it as it was found."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["evaluation_mode", "inputs_of", "stirred"]


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


@contextmanager
@torch.no_grad()
def stirred(model: nn.Module, inputs: dict[str, Any], main_input: str) -> Iterator[dict[str, Any]]:
    """Make a model tell rows apart while the context is open, as one can that has learnt something.

    Weights that are all equal, as of a head that starts at zero, get random values, and have their old ones back
    afterwards. Batch normalisation normalises by these rows, without which signals vanish in fresh models. No random
    number of the global generator is drawn.

    Args:
        model (`nn.Module`): In evaluation mode, its parameters not sharded.
        inputs (`dict[str, Any]`): Keyword arguments of the model; not written to.
        main_input (`str`): Name of the main input.

    Yields:
        `dict[str, Any]`: Keyword arguments with other content in every row: random tokens in place of all but padding
        and special ones, or noise on real numbers.
    """
    generator = torch.Generator().manual_seed(0)
    with ExitStack() as restored:
        for p in model.parameters():
            if p.dim() > 1 and p.is_floating_point() and p.numel() and bool(torch.eq(*p.aminmax())):
                restored.callback(p.copy_, p.clone())
                p.copy_(torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)
        content = {**inputs, main_input: _other_content(inputs[main_input], model.config, generator)}
        standardise = partial(_standardise, {})
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                restored.callback(module.register_forward_hook(standardise).remove)
        model(**content)
        yield content


def _other_content(values: torch.Tensor, config: Any, generator: torch.Generator) -> torch.Tensor:
    if values.is_floating_point():
        return values + torch.randn(values.shape, generator=generator).to(values)
    special = [value for name, value in vars(config).items() if name.endswith("token_id") and isinstance(value, int)]
    special = torch.tensor([*special, 0], device=values.device)
    size = max(getattr(config, "vocab_size", 0), int(values.max()) + 1)
    drawn = torch.randint(size, values.shape, generator=generator).to(values)
    return torch.where(torch.isin(values, special) | torch.isin(drawn, special), values, drawn)


def _standardise(known: dict[nn.Module, tuple], module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
    """Bring each channel to mean 0 and deviation 1 of the first rows that came by."""
    shape = (-1, *[1] * (output.dim() - 2))
    if module not in known:
        # In float64, for squares of what has all but vanished, and so on the CPU: not every device has it.
        values = output.cpu().double().transpose(0, 1).flatten(1)
        deviation = values.std(1, correction=0)
        statistics = values.mean(1), torch.where(deviation > 0, deviation, 1.0)
        known[module] = tuple(x.view(shape).float().to(output.device) for x in statistics)
    mean, deviation = known[module]
    return ((output - mean) / deviation).to(output.dtype)
