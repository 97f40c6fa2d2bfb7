# SPDX-License-Identifier: Apache-2.0
"""Where rows are mixed: sites by name, and the hooks that mix there inside one ordinary forward pass."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from logitmix_nlp.functional.mixing import MixPlan, mix, union_mask

__all__ = ["SiteMixer", "duplicate_rows", "find_site", "list_sites"]

# Encoders whose layers take hidden states and per-row masks and nothing else that depends on the batch.
SUPPORTED_MODEL_TYPES = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")


def list_sites(model: nn.Module) -> list[str]:
    """Names of the sites `model` offers, from the input to the output.

    Args:
        model (`PreTrainedModel`): A sequence classifier, not wrapped for distributed training.

    Returns:
        `list[str]`: `embeddings`, `layer:0` … `layer:L-1` and, where the encoder has one, `pooler`.

    Raises:
        ValueError: If the architecture is not supported.
    """
    encoder = _encoder(model)
    sites = ["embeddings"] + [f"layer:{index}" for index in range(len(_layers(encoder)))]
    return sites + ["pooler"] * (_pooler(encoder) is not None)


def find_site(model: nn.Module, name: str) -> tuple[list[nn.Module], int]:
    """Resolve a site to the modules data passes through and the number of them that come before the site.

    Args:
        model (`PreTrainedModel`): A sequence classifier, not wrapped for distributed training.
        name (`str`): `embeddings` (output of the embedding module), `layer:K` (output of encoder layer `K`, from 0;
            negative counts from the end) or `pooler` (output of the pooler).

    Returns:
        `tuple[list[nn.Module], int]`: Encoder layers, followed by the pooler if there is one, and how many of them
        run before rows are mixed.

    Raises:
        ValueError: If `model` has no such site; the message lists those it has.
    """
    sites = list_sites(model)
    encoder = _encoder(model)
    layers = _layers(encoder)
    kind, _, number = name.partition(":")
    if kind == "layer" and number.lstrip("-").isdigit() and -len(layers) <= int(number) < 0:
        name = f"layer:{int(number) + len(layers)}"
    if name not in sites:
        raise ValueError(
            f"{type(model).__name__} has no mix_site {name!r}. Available: {', '.join(sites)} "
            f"(layers may also be counted from the end, layer:-1 is layer:{len(layers) - 1})."
        )
    pooler = _pooler(encoder)
    return [*layers, *([pooler] if pooler is not None else [])], sites.index(name)


def duplicate_rows(inputs: dict[str, Any], batch_size: int, plan: MixPlan) -> dict[str, Any]:
    """Model inputs of `2B` rows: the `B` clean ones, then `B` places for the mixed ones with the union of the masks.

    Args:
        inputs (`dict[str, Any]`): Keyword arguments of the model's forward. Tensors of `batch_size` rows are doubled,
            everything else is passed on.
        batch_size (`int`): `B`.
        plan (`MixPlan`): Pairs for the `B` rows.

    Returns:
        `dict[str, Any]`: A new dict; the tensors of `inputs` are not written to.
    """
    doubled = dict(inputs)
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor) and value.dim() and len(value) == batch_size:
            second = union_mask(value, plan) if name == "attention_mask" else value
            doubled[name] = torch.cat([value, second])
    return doubled


class SiteMixer:
    """Mix rows inside a model's forward pass at one site.

    The model is called once with the `2B` rows of [`duplicate_rows`]. Modules before the site run on the `B` clean
    rows only. At the site the batch becomes clean and mixed rows, or mixed rows alone; modules behind it run on those,
    mixed rows under the union of their attention masks. Hooks stay on the model between `installed` and its end, and
    do nothing unless a plan is active: evaluation, and the saved model, are untouched.

    Args:
        model (`PreTrainedModel`): The model, not wrapped for distributed training.
        site (`str`): See [`find_site`].
    """

    def __init__(self, model: nn.Module, site: str):
        self._stages, self._depth = find_site(model, site)
        self._plan: MixPlan | None = None
        self._keep_clean = True

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Keep the hooks on the model while the context is open."""
        with ExitStack() as handles:
            for position, module in enumerate(self._stages):
                before = partial(self._before, position)
                after = partial(self._after, position)
                handles.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
                handles.callback(module.register_forward_hook(after).remove)
            try:
                yield
            finally:
                self.deactivate()

    def activate(self, plan: MixPlan, *, keep_clean: bool) -> None:
        """Mix by `plan` in every forward pass from now on; rows before mixing are passed on if `keep_clean`.

        A plan stays active through the backward pass, since activation checkpointing may run modules again there.
        """
        self._plan, self._keep_clean = plan, keep_clean

    def deactivate(self) -> None:
        """Stop mixing."""
        self._plan = None

    def _before(self, position: int, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self._plan is None:
            return None
        rows = len(self._plan.index)
        if position < self._depth:
            return _take_rows(slice(rows), 2 * rows, args, kwargs)
        if position == 0:
            hidden, *rest = args
            args = (self._mixed(hidden[:rows]), *rest)
        return (args, kwargs) if self._keep_clean else _take_rows(slice(rows, None), 2 * rows, args, kwargs)

    def _after(self, position: int, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._plan is None or position != self._depth - 1:
            return None
        if isinstance(output, tuple):
            return (self._mixed(output[0]), *output[1:])
        return self._mixed(output)

    def _mixed(self, hidden: torch.Tensor) -> torch.Tensor:
        mixed = mix(hidden, self._plan)
        return torch.cat([hidden, mixed]) if self._keep_clean else mixed


def _take_rows(rows: slice, total: int, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    def take(value: Any) -> Any:
        return value[rows] if isinstance(value, torch.Tensor) and value.dim() and len(value) == total else value

    return tuple(take(value) for value in args), {name: take(value) for name, value in kwargs.items()}


def _encoder(model: nn.Module) -> nn.Module:
    model_type = model.config.model_type
    if model_type not in SUPPORTED_MODEL_TYPES:
        raise ValueError(
            f"Mixing inside {type(model).__name__} (model type {model_type!r}) is not supported; supported model "
            f"types: {', '.join(SUPPORTED_MODEL_TYPES)}. mix_method='vanilla' trains any classifier."
        )
    return model.base_model


def _layers(encoder: nn.Module) -> nn.ModuleList:
    depth = encoder.config.num_hidden_layers
    return next(module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == depth)


def _pooler(encoder: nn.Module) -> nn.Module | None:
    return dict(encoder.named_children()).get("pooler")
