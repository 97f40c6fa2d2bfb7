# SPDX-License-Identifier: Apache-2.0
"""Rows of a batch: in the keyword arguments of a model, and in whatever its blocks take and return."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from logitmix_nlp.functional.mixing import MixPlan, union_mask

__all__ = ["Path", "has_rows", "join_rows", "map_tensors", "mixed_inputs", "repeat_rows", "take_rows", "tensors"]


def has_rows(value: Any, rows: int) -> bool:
    """Whether `value` is a tensor with one row per example."""
    return isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == rows


def take_rows(inputs: dict[str, Any], rows: int, index: torch.Tensor) -> dict[str, Any]:
    """Inputs of the examples `index` out of `rows`; whatever is not by rows is passed on."""
    return {name: value[index] if has_rows(value, rows) else value for name, value in inputs.items()}


def repeat_rows(inputs: dict[str, Any], rows: int, times: int) -> dict[str, Any]:
    """Inputs of all examples, so many times one after the other; whatever is not by rows is passed on."""
    return take_rows(inputs, rows, torch.arange(rows).repeat(times)) if times > 1 else inputs


def join_rows(first: dict[str, Any], second: dict[str, Any], rows: int) -> dict[str, Any]:
    """Inputs of `rows` examples and those of `second`; whatever is not by rows is taken from `first`."""
    joined = dict(first)
    for name, value in first.items():
        if has_rows(value, rows):
            joined[name] = torch.cat([value, second[name]])
    return joined


def mixed_inputs(inputs: dict[str, Any], plan: MixPlan, main_input: str, mixed: torch.Tensor | None) -> dict[str, Any]:
    """Inputs of the model for mixed rows: the union of masks, and token ids wherever one of the two has a token.

    Heads that pool the last real token (GPT-2, Llama, Qwen, …) find it by the ids. All other inputs, such as token
    types and positions, are the row's own; where ids were mixed one by one, the mask is, too.

    Args:
        inputs (`dict[str, Any]`): Keyword arguments of the model for the unmixed rows; not written to.
        plan (`MixPlan`): Pairs of the rows.
        main_input (`str`): Name of the model's main input.
        mixed (`torch.Tensor`, *optional*): The mixed main input, if it is mixed there.

    Returns:
        `dict[str, Any]`: A new dict of the same names.
    """
    mask = inputs.get("attention_mask")
    second = dict(inputs)
    if plan.own is not None:
        second = take_rows(inputs, len(inputs[main_input]), plan.own)
    if mask is not None and (mixed is None or mixed.is_floating_point()):
        second["attention_mask"] = union_mask(mask, plan)
    if mixed is not None:
        second[main_input] = mixed
    elif mask is not None and "input_ids" in inputs and mask.shape == inputs["input_ids"].shape:
        ids = inputs["input_ids"]
        second["input_ids"] = torch.where(plan.first(mask).bool(), plan.first(ids), ids[plan.index])
    return second


Path = tuple[int | str, ...]


def tensors(tree: Any, path: Path = ()) -> Iterator[tuple[Path, torch.Tensor]]:
    """Yield every tensor in `tree` with its path, in order."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from tensors(value, (*path, name))
    elif isinstance(tree, tuple | list):
        for index, value in enumerate(tree):
            yield from tensors(value, (*path, index))


def map_tensors(tree: Any, function: Callable[[Path, torch.Tensor], torch.Tensor], path: Path = ()) -> Any:
    """Copy `tree` with `function(path, tensor)` in place of every tensor; other leaves and all types are kept."""
    if isinstance(tree, torch.Tensor):
        return function(path, tree)
    if isinstance(tree, Mapping):
        items = {name: map_tensors(value, function, (*path, name)) for name, value in tree.items()}
        return items if type(tree) is dict else type(tree)(**items)
    if isinstance(tree, tuple | list):
        values = [map_tensors(value, function, (*path, index)) for index, value in enumerate(tree)]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return tree
