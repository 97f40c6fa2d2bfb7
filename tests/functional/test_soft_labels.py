# SPDX-License-Identifier: Apache-2.0
"""LaMix as arithmetic: targets, bounds of the global soft label, gradients by finite differences."""

import math

import pytest
import torch

from logitmix_nlp import functional
from logitmix_nlp.functional import (
    MixPlan,
    global_soft_label,
    lamix_shares,
    mixing_loss_parts,
    soft_label_loss,
)

PLAN = MixPlan(torch.tensor([1, 2, 0]), torch.tensor([0.5, 0.5, 0.5]))
LABELS = torch.tensor([2, 0, 1])
MIXED_ONLY = {"mix_weight": 1.0, "cls_weight": 0.0, "sim_weight": 0.0}


def logits(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_global_soft_label_is_a_softmax_of_sigmoids():
    """sigmoid(0) = 1/2, sigmoid(log 3) = 3/4."""
    first, second = math.exp(0.5), math.exp(0.75)
    found = global_soft_label(torch.tensor([[0.0, math.log(3.0)]]))
    expected = torch.tensor([[first / (first + second), second / (first + second)]])
    torch.testing.assert_close(found, expected)
    assert global_soft_label(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize(("classes", "low", "high"), [(10, 0.039, 0.232), (100, 0.0037, 0.0267)])
def test_the_global_soft_label_is_bounded(classes, low, high):
    extreme = torch.full((2, classes), 40.0)
    extreme[0, 1:] = extreme[1, 0] = -40.0  # one class at sigmoid 1 among zeros, one at 0 among ones
    found = global_soft_label(extreme)
    assert found.max().item() == pytest.approx(high, abs=5e-4)
    assert found.min().item() == pytest.approx(low, abs=5e-4)
    anything = global_soft_label(100 * torch.randn(500, classes))
    assert anything.max() <= math.e / (math.e + classes - 1) + 1e-6
    assert anything.min() >= 1 / (1 + (classes - 1) * math.e) - 1e-6


def target_of_equation_10(lam: list[float], beta: float, soft: torch.Tensor) -> torch.Tensor:
    rows = []
    for row, share in enumerate(lam):
        y = torch.zeros(4, dtype=torch.float64)
        y[LABELS[row]] += share
        y[LABELS[PLAN.index[row]]] += 1 - share
        sigmoid = 1 / (1 + (-soft[row]).exp())
        rows.append(beta * y + (1 - beta) * sigmoid.exp() / sigmoid.exp().sum())
    return torch.stack(rows)


def test_mixed_rows_learn_the_target_of_equation_10():
    lam, mixed, soft = [0.9, 0.2, 0.6], logits(0), logits(1)
    parts = mixing_loss_parts(
        None, mixed, LABELS, PLAN, **MIXED_ONLY, beta=0.3, mixed_soft=soft, label_lam=torch.tensor(lam).double()
    )
    logq = mixed - mixed.exp().sum(1, keepdim=True).log()
    expected = -(target_of_equation_10(lam, 0.3, soft) * logq).sum(1).mean()
    torch.testing.assert_close(sum(parts.values()), expected)
    assert {name for name, part in parts.items() if part} == {"loss_mix", "loss_soft"}


def test_clean_rows_learn_their_label_and_the_global_one():
    clean, soft = logits(2), logits(3)
    weights = {"mix_weight": 0.0, "cls_weight": 1.0, "sim_weight": 0.0}
    parts = mixing_loss_parts(clean, None, LABELS, None, **weights, beta=0.3, clean_soft=soft, reduction="none")
    logq = clean - clean.exp().sum(1, keepdim=True).log()
    own = -logq[torch.arange(3), LABELS]
    torch.testing.assert_close(parts["loss_cls"], 0.3 * own)
    torch.testing.assert_close(parts["loss_soft"], 0.7 * -(global_soft_label(soft) * logq).sum(1))


def test_each_cross_entropy_brings_its_soft_label_and_the_similarity_none():
    clean, mixed, soft = logits(4), logits(5), logits(6)
    weights = {"mix_weight": 0.7, "cls_weight": 1.3, "sim_weight": 0.4}
    plain = mixing_loss_parts(clean, mixed, LABELS, PLAN, **weights)
    parts = mixing_loss_parts(clean, mixed, LABELS, PLAN, **weights, beta=0.25, clean_soft=soft, mixed_soft=2 * soft)
    for name, share in {"loss_mix": 0.25, "loss_cls": 0.25, "loss_sim": 1.0}.items():
        torch.testing.assert_close(parts[name], share * plain[name])
    both = 0.7 * soft_label_loss(mixed, 2 * soft) + 1.3 * soft_label_loss(clean, soft)
    torch.testing.assert_close(parts["loss_soft"], 0.75 * both)
    assert torch.equal(torch.stack(list(plain.values())), torch.stack(list(mixing_loss_parts(
        clean, mixed, LABELS, PLAN, **weights, clean_soft=soft, mixed_soft=soft
    ).values())))  # fmt: skip


def test_gradients_by_both_heads_and_the_features_are_finite_differences():
    features = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    heads = [torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def loss(features, classifier, twin):
        parts = mixing_loss_parts(
            None, features @ classifier.T, LABELS, PLAN, **MIXED_ONLY, beta=0.4, mixed_soft=features @ twin.T
        )
        return sum(parts.values())

    assert torch.autograd.gradcheck(loss, (features, *heads))
    assert torch.autograd.grad(loss(features, *heads), heads[1])[0].abs().max() > 1e-3


def test_random_shares_of_labels_add_noise_and_nothing_else():
    """Cross-entropy is linear in its target: the mean over λ and 1 - λ is the loss at λ = 0.5."""

    def loss(lam):
        options = {"beta": 0.5, "mixed_soft": logits(7), "label_lam": torch.full((3,), lam, dtype=torch.float64)}
        return sum(mixing_loss_parts(None, logits(8), LABELS, PLAN, **MIXED_ONLY, **options).values())

    torch.testing.assert_close((loss(0.1) + loss(0.9)) / 2, loss(0.5))
    assert loss(0.1) != loss(0.5)


def test_shares_of_rows_and_labels():
    drawn = MixPlan(torch.tensor([1, 0]), torch.tensor([0.2, 0.7]))
    plan, lam = lamix_shares(drawn, mix_lam="half", label_lam="drawn")
    assert (plan.index.tolist(), plan.lam.tolist()) == ([1, 0], [0.5, 0.5])
    assert lam is drawn.lam
    plan, lam = lamix_shares(drawn, mix_lam="drawn", label_lam="mixed")
    assert (plan, lam) == (drawn, None)
    assert lamix_shares(drawn, mix_lam="drawn", label_lam="half")[1].tolist() == [0.5, 0.5]
    plan, lam = lamix_shares(drawn, mix_lam="dominant", label_lam="mixed")
    assert torch.equal(plan.lam, torch.tensor([0.8, 0.7]))
    assert lam is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, r"must lie in \(0, 1\], got 0.0"),
        ({"beta": 1.1}, r"must lie in \(0, 1\], got 1.1"),
        ({"beta": 0.5}, "mixed_soft must be given for beta=0.5"),
        ({"beta": 0.5, "mixed_soft": torch.zeros(3, 5)}, r"one shape, got \(3, 4\) and \(3, 5\)"),
    ],
)
def test_impossible_soft_labels(options, message):
    with pytest.raises(ValueError, match=message):
        mixing_loss_parts(None, logits(0), LABELS, PLAN, **MIXED_ONLY, **options)


def test_soft_labels_need_classes():
    with pytest.raises(ValueError, match="beta=0.5 .* has no meaning for regression: set it to 1"):
        mixing_loss_parts(
            None, torch.zeros(3, 1), torch.rand(3), PLAN, **MIXED_ONLY, beta=0.5, mixed_soft=torch.zeros(3, 1)
        )
    with pytest.raises(ValueError, match="mix_lam must be one of drawn, half, dominant"):
        lamix_shares(PLAN, mix_lam="0.5", label_lam="mixed")
    with pytest.raises(ValueError, match="label_lam must be one of mixed, drawn, half"):
        lamix_shares(PLAN, mix_lam="half", label_lam="mask")


@pytest.mark.parametrize("name", ["logitmix_parts", "lamix_parts"])
def test_the_old_names_of_the_loss_work_and_warn(name):
    with pytest.warns(DeprecationWarning, match=f"{name} is now logitmix_nlp.functional.mixing_loss_parts"):
        assert getattr(functional, name) is mixing_loss_parts
