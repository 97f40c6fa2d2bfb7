# SPDX-License-Identifier: Apache-2.0
"""What a subclass of the Trainer or a model has of its own: refused where the library would drop it."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import CodeType
from typing import Any

import torch
from torch import nn
from transformers import Trainer

from logitmix_nlp.functional.checks import IGNORED, MULTI_LABEL, REGRESSION, SINGLE_LABEL, SOFT_LABEL
from logitmix_nlp.functional.losses import supervised_loss
from logitmix_nlp.mixing.model_modes import evaluation_mode, stirred
from logitmix_nlp.mixing.outputs import SetupError, logits_of
from logitmix_nlp.mixing.rows import take_rows
from logitmix_nlp.mixing.sites import main_input

__all__ = ["check_model_loss", "check_overrides", "own_names", "refuse_names", "refuse_override"]

ROWS = 8
FOLLOWED = 2  # how deep helpers are looked into for a call of super().compute_loss
NEEDED = {  # what an override must call
    "compute_loss": "super().compute_loss(model, inputs, return_outputs) in it and add to the loss that it returns",
    "training_step": "super().training_step(model, inputs, num_items_in_batch) in it",
    "get_batch_samples": "super().get_batch_samples(epoch_iterator, num_batches, device) in it",
    "_inner_training_loop": "super()._inner_training_loop(...) in it",
}


def check_overrides(trainer_class: type, base: type) -> None:
    """Refuse a subclass that cannot be calling the methods of `base` that mixing needs, or uses its names.

    Code that cannot be read, or calls functions that might, passes; the first training step shows what it does. A
    `compute_loss` behind `base` passes where one before it says what the loss shall be.

    Raises:
        SetupError: Naming the class and the method, and which form to give it.
    """
    mro, own = trainer_class.__mro__, own_names(base)
    before = mro[: mro.index(base)]
    behind = [cls for cls in mro[len(before) :] if cls not in base.__mro__ and cls not in Trainer.__mro__]
    for cls in before:
        for name, method in vars(cls).items():
            needed = name in NEEDED or name in own
            if needed and inspect.isroutine(method) and not _may_name(method, name, cls, FOLLOWED):
                refuse_override(cls, name)
    for cls in behind:
        refuse_names(cls.__name__, own & vars(cls).keys(), base)
        step = vars(cls).get("training_step")
        if step and not any(_may_name(step, name, cls, FOLLOWED) for name in ("training_step", "compute_loss")):
            refuse_override(cls, "training_step")
    dropped = [cls for cls in behind if "compute_loss" in vars(cls)]
    if dropped and not any("compute_loss" in vars(cls) for cls in before):
        raise SetupError(
            f"compute_loss of {dropped[0].__name__} would never be called, as that of {base.__name__} takes its "
            f"place: write one in {trainer_class.__name__} that adds to what super().compute_loss(model, inputs, "
            f"return_outputs) returns, or use {dropped[0].__name__} alone."
        )


def own_names(base: type) -> set[str]:
    """Names of attributes that a mixin adds to those of `Trainer`, also on its instances."""
    classes = [cls for cls in base.__mro__ if cls is not object]
    names = {name for cls in classes for name in (*vars(cls), *inspect.get_annotations(cls))} - {*dir(Trainer)}
    return {name for name in names if not name.startswith("__")}  # what Python gives every class


def refuse_names(owner: str, names: Iterable[str], base: type) -> None:
    """Refuse attributes of other code under names that `base` uses for something else.

    Raises:
        SetupError: If there are any.
    """
    if names:
        raise SetupError(
            f"{', '.join(sorted(names))} of {owner} stands for something else in {base.__name__}: rename it."
        )


def refuse_override(trainer_class: type, name: str = "compute_loss") -> None:
    """Say that a subclass drops what the library does in a method.

    Raises:
        SetupError: Always.
    """
    call = NEEDED.get(name, f"super().{name}(...) in it")
    raise SetupError(
        f"{name} of {trainer_class.__name__} takes the place of LogitMixTrainer's, so nothing would be mixed: call "
        f"{call}, or use transformers.Trainer for a loss that is all your own."
    )


@torch.no_grad()
def check_model_loss(
    model: nn.Module,
    inputs: dict[str, Any],
    labels: torch.Tensor,
    problem_type: str,
    *,
    low_precision: bool = False,
    sharded: bool = False,
) -> None:
    """Refuse a model that computes another loss in its forward pass than the plain one, such as a weighted one.

    A few rows are given labels of all classes and the model in evaluation mode; no random number is drawn. A model
    without a loss, or whose loss does not take such labels, passes.

    Args:
        model (`nn.Module`): What to call; the model as wrapped for training where its parameters are sharded.
        inputs (`dict[str, Any]`): Keyword arguments for a batch, without labels.
        labels (`torch.Tensor`): Labels of the batch.
        problem_type (`str`): One of `config.problem_type`'s values.
        low_precision (`bool`): Whether losses may be in 16 bits.
        sharded (`bool`): Whether the parameters are sharded.

    Raises:
        SetupError: Naming the argument that says to go on.
    """
    if problem_type == SOFT_LABEL:  # no head of Transformers has a loss for them
        labels, problem_type = labels.argmax(-1), SINGLE_LABEL
    rows = len(labels)
    index = torch.arange(min(rows, ROWS))
    batch = take_rows(inputs, rows, index)
    with evaluation_mode(model), ExitStack() as stack:
        if not sharded:
            batch = stack.enter_context(stirred(model, batch, main_input(model)))
        logits = [logits_of(model(**batch), model) for _ in range(2)]
        of_tokens = problem_type == SINGLE_LABEL and labels.dim() == 2
        _check_head(model, logits[0], labels, of_tokens=of_tokens)
        for shift in range(2):  # one assignment of labels may have the plain loss by chance
            targets = _all_kinds(labels[index.to(labels.device)], problem_type, logits[0].shape[-1], shift)
            try:
                outputs = model(**batch, labels=targets)
            except torch.OutOfMemoryError:
                raise
            except Exception:  # of whatever kind: then this loss was not made for such labels
                return
            own = outputs.get("loss") if isinstance(outputs, dict) else outputs[0]
            if not isinstance(own, torch.Tensor) or (own.dim() and not isinstance(outputs, dict)):
                return
            seen = [logits_of(outputs, model), *logits[: int(torch.equal(*logits))]]  # margins change logits by labels
            plain = [supervised_loss(x, targets, problem_type=problem_type).item() for x in seen]
            own, low = own.float().mean().item(), low_precision or logits[0].dtype != torch.float32
            if any(abs(own - loss) > (2e-2 if low else 1e-3) * abs(loss) + 1e-6 for loss in plain):
                raise SetupError(
                    f"{type(model).__name__} computes a loss of its own in forward ({own:.4g} for rows whose plain "
                    f"loss is {plain[-1]:.4g}), which the loss of mix_method would replace: set "
                    "ignore_model_loss=True (--ignore_model_loss) if that is meant, or use transformers.Trainer."
                )


def _check_head(model: nn.Module, logits: torch.Tensor, labels: torch.Tensor, *, of_tokens: bool) -> None:
    """Refuse labels of rows for a model that labels tokens, and the other way round."""
    if of_tokens != (logits.dim() == 3):
        name, given = ("Token", "tokens") if of_tokens else ("Sequence", "rows")
        raise SetupError(
            f"{type(model).__name__} returned logits of shape {tuple(logits.shape)}, but the labels are those of "
            f"{given}, of shape {tuple(labels.shape)}: load the model with AutoModelFor{name}Classification."
        )


def _all_kinds(labels: torch.Tensor, problem_type: str, num_labels: int, shift: int) -> torch.Tensor:
    """Labels of many classes, or scores, of the dtype of those given; others for each shift."""
    if problem_type == SINGLE_LABEL and labels.dim() == 2:  # of tokens
        kinds = _all_kinds(labels.flatten(), problem_type, num_labels, shift).view_as(labels)
        return torch.where(labels == IGNORED, labels, kinds)
    rows = torch.arange(len(labels), device=labels.device) + shift
    if problem_type == REGRESSION:
        return labels + shift
    if problem_type == MULTI_LABEL:
        return ((rows[:, None] + torch.arange(num_labels, device=labels.device)) % 2).to(labels.dtype)
    return (rows % len(rows) * (num_labels - 1) / max(len(rows) - 1, 1)).round().to(labels.dtype)


def _may_name(function: Callable, name: str, cls: type, depth: int) -> bool:
    """Whether the code of a function, or of functions it names, has a name in it; `True` if it cannot be read."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    names = set() if code is None else set(_names(code))
    if code is None or name in names:
        return True
    known = [getattr(cls, n, None) or inspect.unwrap(function).__globals__.get(n) for n in names]
    return depth > 0 and any(_may_name(f, name, cls, depth - 1) for f in known if inspect.isfunction(f))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str):
            yield constant
