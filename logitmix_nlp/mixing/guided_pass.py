# SPDX-License-Identifier: Apache-2.0
"""Mixtures that depend on the model: clean pass, gradient by the input, mixture, mixed pass, all in one call."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from logitmix_nlp.mixing.mixers import Mixture
from logitmix_nlp.mixing.outputs import SetupError, logits_of
from logitmix_nlp.mixing.rows import map_tensors, take_rows

__all__ = ["GuidedPass", "check_embedding"]


class GuidedPass:
    """Hooks of one forward pass in which the mixed rows depend on the gradient of the clean loss (PuzzleMix, SSMix).

    [`enter`] runs the clean rows, takes the gradient of their loss by the pixels, or the embeddings of the token ids,
    alone, so that no parameter gets a gradient and no reducer of a distributed wrapper is touched, and hands the mixed
    rows on to the pass under way; [`leave`] puts the clean logits before the mixed ones. The clean pass is the one
    whose logits the loss uses, so the gradient costs no forward pass more; where the gradient is taken near the images
    instead (`start` of the mixture), the clean logits are those of that place. Batch normalisation sees clean and
    mixed rows apart, and updates its running statistics with the one and then with the other. If no clean logits are
    wanted, the clean pass is made in evaluation mode and leaves no trace in those statistics. All this is as in the
    code of PuzzleMix's authors.

    Args:
        mixture (`Mixture`): With a guide.
        main_input (`str`): Name of the pixels or ids among the keyword arguments of the model.
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
        rows = kwargs[self._main_input].detach()
        modes = {part: part.training for part in module.modules()}
        try:
            if not self._keep_clean:
                module.eval()
            with torch.enable_grad(), ExitStack() as stack:
                if rows.is_floating_point():
                    start = rows if self._mixture.start is None else self._mixture.start(rows)
                    clean = start.detach().requires_grad_()
                    sources = [clean]
                else:
                    clean = rows
                    sources = stack.enter_context(embeddings_of(module, rows, attached=self._keep_clean))
                logits = logits_of(module(**{**kwargs, self._main_input: clean}), module)
                loss = self._mixture.guide(logits)
            gradient = sum(torch.autograd.grad(loss, sources, retain_graph=self._keep_clean))
        finally:
            for part, mode in modes.items():
                part.training = mode
        with torch.no_grad():
            mixed, self.plan = self._mixture.blend(rows, self._mixture.plan, gradient)
        self._clean = logits if self._keep_clean else None
        own = self.plan.own
        return {**(kwargs if own is None else take_rows(kwargs, len(rows), own)), self._main_input: mixed}

    def leave(self, module: nn.Module, output: Any) -> Any:
        """Output of the mixed pass with the clean logits before its own, if they are wanted."""
        if self._clean is None:
            return output
        clean, self._clean = self._clean, None
        logits = logits_of(output, module)
        return map_tensors(output, lambda path, x: torch.cat([clean, x]) if x is logits else x)


@contextmanager
def embeddings_of(model: nn.Module, ids: torch.Tensor, *, attached: bool) -> Iterator[list[torch.Tensor]]:
    """Keep what embedding layers make of `ids` while the context is open, as tensors that can have a gradient.

    Args:
        model (`nn.Module`): The model that is called with `ids`.
        ids (`torch.LongTensor` of shape `(B, T)`): Token ids, which the layer must be handed as they are.
        attached (`bool`): Whether the parameters of the layer shall get their gradients through these tensors.

    Yields:
        `list[torch.Tensor]`: Of shape `(B, T, D)`, filled as the model runs.
    """
    embeddings: list[torch.Tensor] = []

    def keep(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
        if not args or args[0].shape != ids.shape or args[0].data_ptr() != ids.data_ptr():
            return None
        embeddings.append(output if attached and output.requires_grad else output.detach().requires_grad_())
        return embeddings[-1]

    with ExitStack() as handles:
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                handles.callback(module.register_forward_hook(keep).remove)
        yield embeddings


@torch.no_grad()
def check_embedding(model: nn.Module, inputs: dict[str, Any], main_input: str) -> None:
    """Refuse a model in which the gradient by the embeddings of its token ids cannot be taken.

    Args:
        model (`nn.Module`): In evaluation mode.
        inputs (`dict[str, Any]`): Keyword arguments for a batch, without labels.
        main_input (`str`): Name of the ids.

    Raises:
        SetupError: Saying what to choose instead.
    """
    with embeddings_of(model, inputs[main_input], attached=False) as embeddings:
        model(**inputs)
    if not embeddings:
        raise SetupError(
            f"{type(model).__name__} hands its token ids to no embedding layer as they are, so that their saliency "
            "cannot be taken: choose mixer='span', which needs none, or another model."
        )
