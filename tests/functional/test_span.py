# SPDX-License-Identifier: Apache-2.0
"""Mixing by spans against a plain loop over rows."""

import math

import pytest
import torch
from span_oracles import CLS, PAD, SEP, runs, ssmix_loop

from logitmix_nlp.functional import MixPlan, sample_plan
from logitmix_nlp.functional.span import paste_spans, salient_spans, sample_spans, text_segments, token_saliency

SPECIAL = torch.tensor([CLS, SEP, PAD])


def batch(generator, *, pairs: bool, left: bool, rows: int = 6):
    """Rows of random lengths, some of one token; ids tell row and position apart."""
    texts = []
    for row in range(rows):
        lengths = torch.randint(1, 30, (1 + pairs,), generator=generator).tolist()
        ids = [CLS]
        for part, length in enumerate(lengths):
            ids += [1000 * (row + 1) + 100 * part + place for place in range(length)] + [SEP]
        texts.append(ids)
    longest = max(map(len, texts))
    gaps = [longest - len(ids) for ids in texts]
    mask = [[0] * gap + [1] * (longest - gap) if left else [1] * (longest - gap) + [0] * gap for gap in gaps]
    texts = [[PAD] * gap + ids if left else ids + [PAD] * gap for gap, ids in zip(gaps, texts, strict=True)]
    return torch.tensor(texts), torch.tensor(mask)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pairs"])
def test_ssmix_equals_the_rule_row_by_row(pairs, left):
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        ids, mask = batch(generator, pairs=pairs, left=left)
        saliency = torch.rand(ids.shape, generator=generator)
        plan = sample_plan(len(ids), 1.0, generator=generator)
        segments = text_segments(ids, mask, SPECIAL)
        mixed, true = paste_spans(ids, segments, plan, salient_spans(segments, plan, saliency))
        expected, lam = ssmix_loop(ids, plan.index, saliency)
        assert torch.equal(mixed, expected)
        torch.testing.assert_close(true.lam, lam)
        assert torch.equal(true.index, plan.index)


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pairs"])
def test_spans_are_contiguous_and_their_share_is_what_is_counted(pairs, left):
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        ids, mask = batch(generator, pairs=pairs, left=left)
        plan = sample_plan(len(ids), 1.0, per_sample=True, generator=generator)
        segments = text_segments(ids, mask, SPECIAL)
        mixed, true = paste_spans(ids, segments, plan, sample_spans(segments, plan, generator=generator))
        special = torch.isin(ids, SPECIAL)
        assert torch.equal(torch.isin(mixed, SPECIAL), special)  # neither moved nor overwritten
        assert torch.equal(mixed[special], ids[special])
        for row, other in enumerate(plan.index.tolist()):
            kept, content = 0, 0
            for own, theirs in zip(runs(ids[row]), runs(ids[other]), strict=True):
                wanted = min(round((1 - plan.lam[row].double().item()) * len(own)), len(theirs))
                source = set(ids[other, theirs].tolist())
                taken = [p for p in own if mixed[row, p].item() in source] if row != other else None
                content += len(own)
                if taken is None:
                    kept += len(own) - wanted
                    continue
                assert len(taken) == wanted
                kept += len(own) - wanted
                if taken:
                    assert taken == list(range(taken[0], taken[0] + len(taken)))
                    values = mixed[row, taken].tolist()
                    assert values == list(range(values[0], values[0] + len(values)))
                untouched = [p for p in own if p not in taken]
                assert torch.equal(mixed[row, untouched], ids[row, untouched])
            assert math.isclose(true.lam[row].item(), kept / content, abs_tol=1e-6)


def test_starts_are_uniform():
    ids = torch.tensor([[CLS, 1, 2, 3, 4, SEP], [CLS, 5, 6, 7, 8, SEP]])
    segments, plan = text_segments(ids, None, SPECIAL), MixPlan(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_spans(segments, plan, generator=generator) for _ in range(3000)]
    for name in ("own", "partner"):
        starts = torch.stack([getattr(spans, name)[0, 0] for spans in drawn])
        counts = torch.bincount(starts, minlength=6)
        assert counts[[0, 4, 5]].sum() == 0  # two of four tokens fit at 1, 2 and 3
        assert all(abs(counts[k].item() / 3000 - 1 / 3) < 0.05 for k in (1, 2, 3))


def test_rows_without_a_partner_text_stay_as_they_are():
    ids = torch.tensor([[CLS, 1, 2, 3, SEP], [CLS, SEP, PAD, PAD, PAD]])
    segments = text_segments(ids, ids != PAD, SPECIAL)
    plan = MixPlan(torch.tensor([1, 0]), torch.tensor([0.2, 0.2]))
    for spans in (sample_spans(segments, plan), salient_spans(segments, plan, torch.rand(2, 5))):
        mixed, true = paste_spans(ids, segments, plan, spans)
        assert torch.equal(mixed, ids)
        assert true.lam.tolist() == [1.0, 1.0]


def test_unknown_words_are_content_and_segments_number_the_texts():
    ids = torch.tensor([[CLS, 7, 100, SEP, 8, SEP]])
    assert text_segments(ids, None, SPECIAL).tolist() == [[0, 1, 1, 0, 2, 0]]


def test_saliency_is_the_norm_of_the_gradient():
    gradient = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    assert token_saliency(gradient).tolist() == [[5.0, 0.0]]


def test_what_does_not_fit_is_refused():
    ids = torch.ones(2, 3, dtype=torch.long)
    segments, plan = torch.ones_like(ids), MixPlan(torch.tensor([1, 0]), torch.ones(2))
    with pytest.raises(ValueError, match=r"window must lie in \(0, 1\], got 0"):
        salient_spans(segments, plan, torch.rand(2, 3), window=0)
    with pytest.raises(ValueError, match="saliency must have shape"):
        salient_spans(segments, plan, torch.rand(2, 4))
    with pytest.raises(ValueError, match=r"shape \(B, T\)"):
        text_segments(ids, torch.ones(2, 4), SPECIAL)
    with pytest.raises(ValueError, match="rows"):
        paste_spans(
            ids, segments, MixPlan(torch.tensor([0]), torch.ones(1)), salient_spans(segments, plan, torch.rand(2, 3))
        )


def test_places_for_more_texts_than_there_are_change_nothing(monkeypatch):
    """As on a GPU, which is not asked how many texts there are."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(103, 900, (5, 12), generator=generator)
    ids[:, 0], ids[:, 6], ids[2, 8:] = CLS, SEP, PAD
    segments, plan = (
        text_segments(ids, ids != PAD, torch.tensor([CLS, SEP, PAD])),
        sample_plan(5, 1.0, per_sample=True),
    )
    saliency, results = torch.rand(5, 12), []
    for more in (False, True):
        if more:
            monkeypatch.setattr(torch.Tensor, "max", lambda self: torch.tensor(6))
        chosen = salient_spans(segments, plan, saliency)
        drawn = sample_spans(segments, plan, generator=torch.Generator().manual_seed(2))
        assert chosen.own.shape == drawn.own.shape == (5, 6 if more else 2)
        results.append([paste_spans(ids, segments, plan, spans) for spans in (chosen, drawn)])
    for (one, first), (other, second) in zip(*results, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(first.lam, second.lam)
