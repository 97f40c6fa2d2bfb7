# SPDX-License-Identifier: Apache-2.0
"""Whose class names and whose order are used: the model's own or the dataset's."""

from collections.abc import Mapping, Sequence

from logitmix_nlp.evaluation.data.lines import shown

__all__ = ["align_labels"]


def align_labels(
    label2id: Mapping[str, int] | None, names: Sequence[str], *, complete: bool = True
) -> tuple[str, ...]:
    """Class names in the order that the model gives them, or in the dataset's order if the model names others.

    Names are compared without regard to case; a model's `LABEL_3` counts as the name `3`.

    Args:
        label2id (`Mapping[str, int]`, *optional*): From the pretrained model's configuration.
        names (`Sequence[str]`): Class names in the dataset's order.
        complete (`bool`): `False` if the data may lack some classes: then the model's classes are taken, spelt as in
            the data where it has them.

    Returns:
        `tuple[str, ...]`: Class names by id.

    Raises:
        ValueError: If the data is not complete and has a class that the model lacks.
    """
    spelt = {name.lower(): name for name in names}
    order = sorted(label2id or {}, key=lambda name: label2id[name])
    theirs = [name.lower().removeprefix("label_") for name in order]
    if len(spelt) < len(names) or len(set(theirs)) < len(theirs):
        spelt, theirs = {name: name for name in names}, order
    if set(theirs) == set(spelt) or (not complete and set(theirs) >= set(spelt)):
        return tuple(spelt.get(name, given) for name, given in zip(theirs, order, strict=True))
    if not complete:
        raise ValueError(
            f"the data has the labels {shown(names)}, the model knows {shown(order)}; "
            "give the training split too, or a model fine-tuned on these labels."
        )
    return tuple(names)
