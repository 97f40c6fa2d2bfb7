# SPDX-License-Identifier: Apache-2.0
"""Named entities: spans that tags such as B-person and I-person mark, and how many of them a model finds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from logitmix_nlp.functional.bootstrap import Interval, interval_of, row_counts

__all__ = [
    "ENTITIES", "Entity", "are_entity_tags", "count_entities", "entities", "entity_intervals", "entity_scores",
    "entity_type_scores",
]  # fmt: skip

ENTITIES = {"precision": "entity precision", "recall": "entity recall", "f1": "entity F1"}

OUTSIDE, INSIDE = "O", "BIES"


class Entity(NamedTuple):
    """A span of words, `first` and `last` included, of one type."""

    kind: str
    first: int
    last: int


def are_entity_tags(names: Iterable[str]) -> bool:
    """Whether class names mark entities: each is `O`, or a `B`, `I`, `E` or `S` before a hyphen and a type."""
    names = set(names) - {OUTSIDE}
    return bool(names) and all(name[:1] in INSIDE and name[1:2] == "-" and name[2:] for name in names)


def entities(tags: Sequence[str]) -> list[Entity]:
    """Spans that the tags of one sentence mark, by the rule of CoNLL's `conlleval` and of seqeval's default mode.

    An entity begins at `B-` and `S-`, at any other tag behind `O`, `E-` or `S-`, and where the type changes; so `I-`
    behind `O` begins one, too. It goes on to the next beginning, to `O`, or to `E-`, which is its last word.

    Args:
        tags (`Sequence[str]`): Of the words in their order: `O`, or `B-TYPE`, `I-TYPE`, `E-TYPE`, `S-TYPE`.

    Returns:
        `list[Entity]`: In their order.
    """
    spans: list[Entity] = []
    before, kind, first = OUTSIDE, "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        mark, new = tag[:1], tag[2:]
        inside = mark != OUTSIDE
        changes = before in "ES" or mark in "BS" or new != kind
        if before != OUTSIDE and (changes or not inside):
            spans.append(Entity(kind, first, place - 1))
        if inside and (changes or before == OUTSIDE):
            first = place
        before, kind = mark, new
    return spans


class EntityCounts(NamedTuple):
    """How many entities of each type were right, predicted and there."""

    right: Counter[str]
    predicted: Counter[str]
    true: Counter[str]


def count_entities(predictions: Iterable[Sequence[str]], references: Iterable[Sequence[str]]) -> EntityCounts:
    """Count entities over sentences; a predicted one is right if both its ends and its type are.

    Args:
        predictions (`Iterable` of `Sequence[str]`): Predicted tags of each sentence.
        references (`Iterable` of `Sequence[str]`): True tags, as many.

    Raises:
        ValueError: If a sentence has not as many predicted as true tags.
    """
    right, predicted, true = Counter(), Counter(), Counter()
    for number, (predicted_tags, true_tags) in enumerate(zip(predictions, references, strict=True), start=1):
        if len(predicted_tags) != len(true_tags):
            raise ValueError(
                f"Sentence {number} has {len(predicted_tags)} predicted and {len(true_tags)} true tags; need one each."
            )
        ours, theirs = set(entities(predicted_tags)), set(entities(true_tags))
        for counts, spans in ((right, ours & theirs), (predicted, ours), (true, theirs)):
            counts.update(one.kind for one in spans)
    return EntityCounts(right, predicted, true)


def entity_scores(counts: EntityCounts) -> dict[str, float]:
    """Precision, recall and F1 over all entities, whatever their type (micro); 0.0 where there are none to divide by.

    Args:
        counts (`EntityCounts`): Of [`count_entities`].

    Returns:
        `dict[str, float]`: `precision`, `recall` and `f1`, in `[0, 1]`.
    """
    return _scores(*(counter.total() for counter in counts))


def entity_type_scores(counts: EntityCounts) -> dict[str, dict[str, float]]:
    """The scores of [`entity_scores`] and `number`, how many there are, for each type that is predicted or there."""
    kinds = sorted({*counts.predicted, *counts.true})
    return {kind: {**_scores(*(counter[kind] for counter in counts)), "number": counts.true[kind]} for kind in kinds}


def entity_intervals(
    predictions: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """The scores of [`entity_scores`] with 95% percentile bootstrap intervals over sentences.

    Args:
        predictions (`Sequence` of `Sequence[str]`): Predicted tags of each sentence.
        references (`Sequence` of `Sequence[str]`): True tags, as many.
        n_resamples (`int`): Resamples of the sentences, at least 40; 0 gives no intervals, both ends are NaN.
        seed (`int`): Of the resamples, which are those of [`metric_intervals`] for as many groups.

    Returns:
        `dict[str, Interval]`: `precision`, `recall` and `f1`.
    """
    values = entity_scores(count_entities(predictions, references))
    if not n_resamples:
        return {name: Interval(value, float("nan"), float("nan")) for name, value in values.items()}
    pairs = zip(predictions, references, strict=True)
    rows = [[counter.total() for counter in count_entities([tags], [truth])] for tags, truth in pairs]
    counts_of = row_counts(len(rows), n_resamples, torch.Generator().manual_seed(seed))
    table = torch.tensor(rows, dtype=torch.float64).T
    sums = torch.cat([table @ counts for counts in counts_of], dim=1).int().T.tolist()
    drawn = [_scores(*one) for one in sums]
    return {
        name: interval_of(value, torch.tensor([one[name] for one in drawn], dtype=torch.float64))
        for name, value in values.items()
    }


def _scores(right: int, predicted: int, true: int) -> dict[str, float]:
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / true if true else 0.0,
        "f1": 2 * right / (predicted + true) if right else 0.0,
    }
