# SPDX-License-Identifier: Apache-2.0
"""Metrics of token classification: over tagged tokens, at once and batch by batch."""

import numpy as np
import pytest
import torch
from transformers import EvalPrediction

from logitmix_nlp.calibration.metrics import calibration_metrics, compute_metrics_for
from logitmix_nlp.calibration.token_metrics import TokenMetrics
from logitmix_nlp.functional.entities import count_entities, entity_intervals, entity_scores
from logitmix_nlp.publishing.card.results import score_metrics

NAMES = ("O", "B-x", "I-x")
RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(6, 5, 3))
LABELS = np.where(RANDOM.random((6, 5)) < 0.3, -100, RANDOM.integers(3, size=(6, 5)))


def test_each_tagged_token_is_a_row():
    found = TokenMetrics(NAMES, 7)(EvalPrediction(LOGITS, LABELS))
    tagged = LABELS != -100
    plain = calibration_metrics(LOGITS[tagged], LABELS[tagged], 7)
    assert {name: found[name] for name in plain} == plain
    assert found["accuracy"] == (LOGITS.argmax(-1) == LABELS)[tagged].mean()
    names = np.array(NAMES)
    rows = [[names[row[has]].tolist() for row, has in zip(c, tagged)] for c in (LOGITS.argmax(-1), LABELS)]  # noqa: B905
    assert {name: found[name] for name in ("precision", "recall", "f1")} == entity_scores(count_entities(*rows))
    assert "f1" not in TokenMetrics(("NOUN", "VERB", "X"))(EvalPrediction(LOGITS, LABELS))


@pytest.mark.parametrize("make", [lambda: TokenMetrics(NAMES, 7), lambda: compute_metrics_for(7)])
def test_batches_of_any_width_score_as_the_whole(make):
    whole = make()(EvalPrediction(LOGITS, LABELS))
    narrow = np.where(np.arange(5) < 3, LABELS, -100)
    assert make()(EvalPrediction([LOGITS[:2], LOGITS[2:]], [LABELS[:2], LABELS[2:]])) == whole
    expected = make()(EvalPrediction(LOGITS, np.concatenate([LABELS[:2], narrow[2:]])))
    lists = EvalPrediction([LOGITS[:2], LOGITS[2:, :3]], [LABELS[:2], LABELS[2:, :3]])
    assert make()(lists) == expected
    metrics = make()
    for rows in (slice(0, 2), slice(2, 6)):
        last = metrics(
            EvalPrediction(torch.tensor(LOGITS[rows]), torch.tensor(LABELS[rows])), compute_result=rows.stop == 6
        )
    assert last == pytest.approx(whole, abs=1e-12)


def test_a_card_draws_counts_of_sentences_again_and_not_the_words(monkeypatch):
    """A thousand calls would take minutes for a thousand sentences."""
    metrics, scores = TokenMetrics(NAMES), {"precision": 0.25, "f1": 0.2}
    monkeypatch.setattr(TokenMetrics, "__call__", None)
    found = {one.name: one for one in score_metrics(metrics, scores, LOGITS, LABELS, 50)}
    names, tagged = np.array(NAMES), LABELS != -100
    rows = [[names[row[has]].tolist() for row, has in zip(c, tagged)] for c in (LOGITS.argmax(-1), LABELS)]  # noqa: B905
    expected = entity_intervals(*rows, n_resamples=50, seed=0)
    assert {name: (one.low, one.high) for name, one in found.items()} == {name: expected[name][1:] for name in scores}


@pytest.mark.parametrize("make", [lambda: TokenMetrics(NAMES, 7), lambda: compute_metrics_for(7)])
@pytest.mark.parametrize("untagged", [0, 1, 2])
def test_a_batch_without_tags_adds_nothing(make, untagged):
    """First, between or last; all rows of it were cut, say."""
    rows = [EvalPrediction(LOGITS[k], LABELS[k]) for k in (slice(0, 2), slice(2, 6))]
    rows.insert(untagged, EvalPrediction(LOGITS[:2], np.full((2, 5), -100)))
    metrics = make()
    results = [metrics(batch, compute_result=place == 2) for place, batch in enumerate(rows)]
    assert results[:2] == [{}, {}]
    assert results[2] == pytest.approx(make()(EvalPrediction(LOGITS, LABELS)), abs=1e-12)
