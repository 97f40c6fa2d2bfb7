# SPDX-License-Identifier: Apache-2.0
"""Mixtures that depend on the model: clean pass, gradient by the pixels, mixture, mixed pass, all in one call."""

from typing import Any

import torch
from torch import nn

from logitmix_nlp.mixing.mixers import Mixture
from logitmix_nlp.mixing.outputs import logits_of
from logitmix_nlp.mixing.rows import map_tensors

__all__ = ["GuidedPass"]


class GuidedPass:
    """Hooks of one forward pass in which the mixed rows depend on the gradient of the clean loss (PuzzleMix).

    [`enter`] runs the clean rows, takes the gradient of their loss by the pixels alone, so that no parameter gets a
    gradient and no reducer of a distributed wrapper is touched, and hands the mixed rows on to the pass under way;
    [`leave`] puts the clean logits before the mixed ones. The clean pass is the one whose logits the loss uses, so the
    gradient costs no forward pass more; where the gradient is taken near the images instead (`start` of the mixture),
    the clean logits are those of that place. Batch normalisation sees clean and mixed rows apart, and updates its
    running statistics with the one and then with the other. If no clean logits are wanted, the clean pass is made in
    evaluation mode and leaves no trace in those statistics. All this is as in the code of PuzzleMix's authors.

    Args:
        mixture (`Mixture`): With a guide.
        main_input (`str`): Name of the pixels among the keyword arguments of the model.
        keep_clean (`bool`): Whether the clean logits are wanted.
    """

    def __init__(self, mixture: Mixture, main_input: str, *, keep_clean: bool):
        self.plan = mixture.plan
        self._mixture, self._main_input, self._keep_clean = mixture, main_input, keep_clean
        self._entered = False
        self._clean: torch.Tensor | None = None

    @torch.compiler.disable
    def enter(self, module: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments of the mixed pass, the second that runs in this call; the first is made here."""
        if self._entered:
            return kwargs
        self._entered = True
        images = kwargs[self._main_input].detach()
        start = images if self._mixture.start is None else self._mixture.start(images)
        start = start.detach().requires_grad_()
        modes = {part: part.training for part in module.modules()}
        try:
            if not self._keep_clean:
                module.eval()
            with torch.enable_grad():
                logits = logits_of(module(**{**kwargs, self._main_input: start}), module)
                loss = self._mixture.guide(logits)
            (gradient,) = torch.autograd.grad(loss, start, retain_graph=self._keep_clean)
        finally:
            for part, mode in modes.items():
                part.training = mode
        with torch.no_grad():
            mixed, self.plan = self._mixture.blend(images, self._mixture.plan, gradient)
        self._clean = logits if self._keep_clean else None
        return {**kwargs, self._main_input: mixed}

    def leave(self, module: nn.Module, output: Any) -> Any:
        """Output of the mixed pass with the clean logits before its own, if they are wanted."""
        if self._clean is None:
            return output
        clean, self._clean = self._clean, None
        logits = logits_of(output, module)
        return map_tensors(output, lambda path, x: torch.cat([clean, x]) if x is logits else x)
