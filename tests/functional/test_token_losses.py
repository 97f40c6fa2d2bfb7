# SPDX-License-Identifier: Apache-2.0
"""Every loss of token classification equals one that is written out token by token, in value and in gradient."""

import math

import pytest
import torch

from logitmix_nlp.functional import MixPlan, PartialPlan, mixing_loss_parts, supervised_loss
from logitmix_nlp.functional.checks import check_label_values

ROWS, TOKENS, CLASSES = 3, 4, 3
LABELS = torch.tensor([[0, 2, -100, -100], [1, -100, 2, 0], [-100, 1, 1, -100]])
TAGGED = 7
ALL = MixPlan(torch.tensor([1, 2, 0]), torch.tensor([0.7, 0.2, 0.5]))
SOME = PartialPlan(torch.tensor([2, 0]), torch.tensor([0.7, 0.2]), torch.tensor([0, 1]))


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def tags(row, label, smoothing):
    """Target distribution of one token; nothing for one without a tag."""
    if label == -100:
        return torch.zeros(CLASSES, dtype=torch.float64)
    return (1 - smoothing) * torch.eye(CLASSES, dtype=torch.float64)[label] + smoothing / CLASSES


def by_hand(clean, mixed, plan, smoothing):
    """Sums of L_mix, L_cls and L_sim over tokens, and the number of tags that the mean of each is over."""
    own = range(ROWS) if plan.own is None else plan.own.tolist()
    l_mix = l_cls = l_sim = 0.0
    for row in range(ROWS):
        for place in range(TOKENS):
            target = tags(row, LABELS[row, place].item(), smoothing)
            l_cls = l_cls - (target * clean[row, place].log_softmax(-1)).sum()
    for number, (row, other, lam) in enumerate(zip(own, plan.index.tolist(), plan.lam.tolist(), strict=True)):
        for place in range(TOKENS):
            first, second = LABELS[row, place].item(), LABELS[other, place].item()
            target = lam * tags(row, first, smoothing) + (1 - lam) * tags(other, second, smoothing)
            l_mix = l_mix - (target * mixed[number, place].log_softmax(-1)).sum()
            if first != -100 and second != -100:
                between = lam * clean[row, place] + (1 - lam) * clean[other, place]
                l_sim = l_sim + (between - mixed[number, place]).square().mean()
    return (l_mix, l_cls, l_sim), sum((LABELS[row] != -100).sum().item() for row in own)


@pytest.mark.parametrize("plan", [ALL, SOME], ids=["all", "some"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_terms_equal_those_written_out_token_by_token(plan, smoothing):
    clean, mixed = drawn(ROWS, TOKENS, CLASSES), drawn(len(plan.index), TOKENS, CLASSES, seed=1)
    plan = plan._replace(lam=plan.lam.double())
    (l_mix, l_cls, l_sim), tagged = by_hand(clean, mixed, plan, smoothing)
    weights = {"mix_weight": 0.5, "cls_weight": 2.0, "sim_weight": 0.3}
    for reduction in ("sum", "mean"):
        count, clean_count = (tagged, TAGGED) if reduction == "mean" else (1, 1)
        parts = mixing_loss_parts(
            clean, mixed, LABELS, plan, label_smoothing=smoothing, reduction=reduction, **weights
        )
        expected = [0.5 * l_mix / count, 2.0 * l_cls / clean_count, 0.3 * l_sim / count]
        torch.testing.assert_close([*parts.values()], expected, atol=1e-6, rtol=1e-6)
        found = torch.autograd.grad(sum(parts.values()), (clean, mixed), retain_graph=True)
        wanted = torch.autograd.grad(sum(expected), (clean, mixed), retain_graph=True)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    rows = mixing_loss_parts(clean, mixed, LABELS, plan, label_smoothing=smoothing, reduction="none", **weights)
    assert rows["loss_cls"].shape == (ROWS, TOKENS)
    torch.testing.assert_close([row.sum() for row in rows.values()], [0.5 * l_mix, 2.0 * l_cls, 0.3 * l_sim])
    assert (rows["loss_cls"][LABELS == -100] == 0).all()


def test_soft_labels_penalty_and_passes_leave_untagged_tokens_out():
    """Tokens as rows of their own give the same, once those without a tag are taken out."""
    clean, soft, tagged = drawn(ROWS, TOKENS, CLASSES), drawn(ROWS, TOKENS, CLASSES, seed=2), LABELS != -100
    options = {"mix_weight": 0.0, "cls_weight": 1.0, "sim_weight": 0.0}
    found = mixing_loss_parts(clean, None, LABELS, None, penalty_weight=0.1, beta=0.8, clean_soft=soft, **options)
    rows, labels = (clean[tagged], soft[tagged]), LABELS[tagged]
    wanted = mixing_loss_parts(
        rows[0], None, labels, None, penalty_weight=0.1, beta=0.8, clean_soft=rows[1], **options
    )
    torch.testing.assert_close(found, wanted)
    passes = drawn(2 * ROWS, TOKENS, CLASSES, seed=3)
    stacked = passes.view(2, ROWS, TOKENS, CLASSES)[:, tagged].reshape(-1, CLASSES)
    torch.testing.assert_close(
        mixing_loss_parts(passes, None, LABELS, None, passes=2, **options),
        mixing_loss_parts(stacked, None, labels, None, passes=2, **options),
    )


def test_the_soft_label_of_a_mixed_token_has_the_share_of_its_tags():
    mixed, soft = drawn(ROWS, TOKENS, CLASSES), drawn(ROWS, TOKENS, CLASSES, seed=2)
    parts = mixing_loss_parts(
        None, mixed, LABELS, ALL, mix_weight=1.0, cls_weight=0.0, sim_weight=0.0, beta=0.75, mixed_soft=soft,
        reduction="sum",
    )  # fmt: skip
    has = (LABELS != -100).double()
    share = ALL.lam[:, None] * has + (1 - ALL.lam[:, None]) * has[ALL.index]
    cross = -(soft.sigmoid().softmax(-1) * mixed.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(parts["loss_soft"], 0.25 * (share * cross).sum())


def test_the_mean_is_over_tags_and_nothing_tagged_is_no_division_by_zero():
    logits = torch.zeros(1, 3, CLASSES)
    assert supervised_loss(logits, torch.tensor([[0, -100, 1]])).item() == pytest.approx(math.log(CLASSES))
    assert supervised_loss(logits, torch.full((1, 3), -100)).item() == 0.0


def test_labels_that_do_not_fit_the_tokens_are_refused():
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) do not fit logits of shape \(3, 4, 3\)"):
        supervised_loss(torch.zeros(3, 4, 3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"one label for each, got \(3, 4, 1\) for regression"):
        supervised_loss(torch.zeros(3, 4, 1), torch.zeros(3, 4))
    check_label_values(LABELS, CLASSES)
    with pytest.raises(ValueError, match=r"in \[0, 2\), or -100 for tokens without a tag, got 2 in row 0"):
        check_label_values(LABELS, 2)
