# SPDX-License-Identifier: Apache-2.0
"""Tensors inside nested tuples, lists and dicts, such as the arguments and outputs of a module."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

__all__ = ["Path", "map_tensors", "tensors"]

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
