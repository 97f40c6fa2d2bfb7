# SPDX-License-Identifier: Apache-2.0
"""Where rows can be mixed: names of sites, found in a model's structure."""

import re
from typing import NamedTuple

from torch import nn
from transformers import PreTrainedModel

__all__ = ["INPUT", "Site", "find_blocks", "find_pooler", "find_sites", "list_sites", "main_input"]

INPUT = -1


class Site(NamedTuple):
    """A place in the forward pass.

    Args:
        name (`str`): As in [`list_sites`].
        depth (`int`): Calls of the model's blocks that come before rows are mixed; `INPUT` means none, and not even
            the embedding.
    """

    name: str
    depth: int


def list_sites(model: nn.Module) -> list[str]:
    """Names of the sites `model` offers, from the input to the output.

    Args:
        model (`PreTrainedModel` or `PeftModel`): A classifier, not wrapped for distributed training.

    Returns:
        `list[str]`: `input` for models of pixels or other real numbers, `embeddings` (what enters the first block),
        the outputs of the blocks `layer:0` … `layer:L-1`, and `pooler` where there is one.

    Raises:
        ValueError: If the model has no sequence of blocks to mix between and no real-valued input; it says why.
    """
    return [site.name for site in _sites(model)]


def find_sites(model: nn.Module, text: str) -> list[Site]:
    """Resolve a choice of sites; where it names several, one is drawn per step (Manifold Mixup).

    Args:
        model (`PreTrainedModel` or `PeftModel`): A classifier, not wrapped for distributed training.
        text (`str`): Comma-separated names as in [`list_sites`]. `stage:K` is `layer:K`; negative numbers count from
            the end; `layer:a-b` means layers `a` to `b`, both included; `layer:a/n` is layer `a` of `n`, counted from
            1, scaled to the depth of this model; `a|b` means the first of both that the model has (`input|embeddings`:
            pixels of images, embeddings of tokens).

    Returns:
        `list[Site]`: At least one, in the order given.

    Raises:
        ValueError: If `model` lacks one of them; the message lists those it has.
    """
    sites = {site.name: site for site in _sites(model)}
    layers = sum(name.startswith("layer:") for name in sites)
    chosen = []
    for part in text.split(","):
        choices = [_expand(choice.strip(), layers) for choice in part.split("|")]
        names = next((names for names in choices if names and all(name in sites for name in names)), choices[-1])
        missing = [name for name in names if name not in sites]
        if missing or not names:
            raise ValueError(
                f"{type(model).__name__} has no mix_site {part.strip()!r}. Available: {', '.join(sites)} (layers may "
                "be counted from the end, layer:-1; given as a range, layer:0-2; or listed, embeddings,layer:1: then "
                "one is drawn per step)."
            )
        chosen += [sites[name] for name in names]
    return chosen


def find_blocks(model: nn.Module) -> tuple[list[nn.Module], int]:
    """Blocks that data passes through one after the other, and how often blocks are called in a forward pass.

    The blocks are the largest list of modules in the encoder that is not part of another list (lists of lists are
    flattened). Where layers share blocks, in groups as in ALBERT or all of them one, there are more calls than blocks.

    Args:
        model (`PreTrainedModel` or `PeftModel`): A classifier, not wrapped for distributed training.

    Returns:
        `tuple[list[nn.Module], int]`: The blocks, none for a model without such a list, and the number of calls.
    """
    model = _transformers_model(model)
    lists = _outermost_lists(model.base_model)
    if not lists or model.config.is_encoder_decoder:
        return [], 0
    blocks = _flatten(max(lists, key=lambda modules: sum(p.numel() for p in modules.parameters())))
    layers = getattr(model.config, "num_hidden_layers", 0)
    groups = getattr(model.config, "num_hidden_groups", 1 if len(blocks) == 1 else layers)
    return blocks, layers * len(blocks) // groups if layers else len(blocks)


def find_pooler(model: nn.Module) -> nn.Module | None:
    """The module called `pooler` of the encoder or of the classifier, or `None`."""
    model = _transformers_model(model)
    children = {**dict(model.named_children()), **dict(model.base_model.named_children())}
    return children.get("pooler")


def main_input(model: nn.Module) -> str:
    """Name of the model's main input, such as `input_ids` or `pixel_values`."""
    return _transformers_model(model).main_input_name


def _sites(model: nn.Module) -> list[Site]:
    _, calls = find_blocks(model)
    config = _transformers_model(model).config
    sites = [Site("input", INPUT)] * (main_input(model) != "input_ids")
    if calls:
        sites += [Site("embeddings", 0)] + [Site(f"layer:{index}", index + 1) for index in range(calls)]
        if find_pooler(model) is not None:
            sites.append(Site("pooler", calls + 1))
    if not sites:
        why = "it is an encoder-decoder" if config.is_encoder_decoder else "it has no list of blocks"
        raise ValueError(
            f"{type(model).__name__} has no site to mix at: {why}, and token ids cannot be averaged. "
            "mix_method='vanilla' trains any classifier."
        )
    return sites


def _expand(part: str, layers: int) -> list[str]:
    kind, _, number = part.partition(":")
    if kind not in ("layer", "stage"):
        return [part]
    if re.fullmatch(r"[1-9]\d*/[1-9]\d*", number):
        place, depth = map(int, number.split("/"))
        return [f"layer:{max(int(layers * place / depth + 0.5) - 1, 0)}"] if place <= depth else []
    first, dash, last = number[1:].partition("-")  # a leading minus is a sign, a later one a range
    ends = [number[:1] + first, last] if dash else [number]
    try:
        ends = [int(end) + layers * (int(end) < 0) for end in ends]
    except ValueError:
        return []
    return [f"layer:{index}" for index in range(ends[0], ends[-1] + 1)]


def _transformers_model(model: nn.Module) -> PreTrainedModel:
    return model if isinstance(model, PreTrainedModel) else model.get_base_model()


def _outermost_lists(module: nn.Module) -> list[nn.ModuleList]:
    lists = []
    for child in module.children():
        lists += [child] if isinstance(child, nn.ModuleList) else _outermost_lists(child)
    return lists


def _flatten(modules: nn.ModuleList) -> list[nn.Module]:
    blocks = []
    for module in modules:
        blocks += _flatten(module) if isinstance(module, nn.ModuleList) else [module]
    return blocks
