# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from scipy import stats

from logitmix_nlp.functional import (
    MixPlan,
    PartialPlan,
    mix,
    mixing_loss_parts,
    mixture_count,
    sample_plan,
    union_mask,
)


def plan(lam, index=(1, 2, 0)):
    return MixPlan(torch.tensor(index), torch.tensor(lam))


def test_mix_is_the_convex_combination_with_the_partner():
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    expected = torch.tensor([[0.25 * 1 + 0.75 * 2, 0.25 * 10 + 0.75 * 20], [2.5, 25.0], [1.0, 10.0]])
    torch.testing.assert_close(mix(x, plan([0.25, 0.5, 0.0])), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 4, 5), (3, 2, 4, 5)])
def test_mix_keeps_shape_and_dtype_and_is_exact_at_both_ends(dtype, shape):
    x = torch.randn(shape).to(dtype)
    before = x.clone()
    assert torch.equal(mix(x, plan([1.0, 1.0, 1.0])), x)
    assert torch.equal(mix(x, plan([0.0, 0.0, 0.0])), x[[1, 2, 0]])
    mixed = mix(x, plan([0.3, 0.6, 0.9]))
    assert (mixed.shape, mixed.dtype) == (x.shape, dtype)
    assert torch.equal(x, before)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("index", [(1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("buffer", [True, False])
@pytest.mark.parametrize("compiling", [True, False])
def test_a_share_of_one_or_zero_takes_nothing_from_the_other_row(broken, dtype, index, buffer, compiling, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    for row in range(3):
        x = torch.randn(3, 5).to(dtype)
        x[row, 2] = broken
        for lam in ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.3, 0.0]):
            out = torch.empty_like(x) if buffer else None
            mixed = mix(x, plan(lam, index=index), out=out)
            for i, share in enumerate(lam):
                if share in (0.0, 1.0):
                    torch.testing.assert_close(mixed[i], x[i if share else index[i]], rtol=0, atol=0, equal_nan=True)


def test_shares_of_one_and_zero_have_the_gradients_of_their_row_alone():
    x = torch.randn(3, 5, requires_grad=True)
    weights = torch.randn(3, 5)
    (mix(x, plan([1.0, 0.25, 0.0])) * weights).sum().backward()
    expected = torch.stack([weights[0] + weights[2], 0.25 * weights[1], 0.75 * weights[1]])
    torch.testing.assert_close(x.grad, expected)


def test_a_row_that_is_its_own_partner_stays_what_it_is():
    x = torch.randn(3, 4)
    assert torch.equal(mix(x, plan([0.3, 0.6, 0.9], index=(0, 1, 2))), x)


def test_mix_refuses_ids_and_other_batch_sizes():
    with pytest.raises(TypeError, match="floating point"):
        mix(torch.tensor([1, 2, 3]), plan([0.5] * 3))
    with pytest.raises(ValueError, match="3 rows"):
        mix(torch.randn(4, 2), plan([0.5] * 3))
    with pytest.raises(ValueError, match=r"lam of shape \(1,\)"):
        mix(torch.randn(3, 2), plan([0.5]))


def test_sample_plan_draws_a_permutation_and_one_share_per_batch():
    drawn = sample_plan(64, 3.0)
    assert sorted(drawn.index.tolist()) == list(range(64))
    assert drawn.index.dtype == torch.long
    assert drawn.lam.dtype == torch.float32
    assert len(set(drawn.lam.tolist())) == 1
    assert len(set(sample_plan(64, 3.0, per_sample=True).lam.tolist())) > 60


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0, 100.0])
def test_shares_follow_the_beta_distribution(alpha):
    lam = sample_plan(20_000, alpha, per_sample=True, generator=torch.Generator().manual_seed(1)).lam
    assert stats.kstest(lam.double().numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_tiny_alpha_gives_shares_of_zero_and_one_not_nan():
    lam = sample_plan(10_000, 1e-4, per_sample=True).lam
    assert ((lam < 1e-3) | (lam > 1 - 1e-3)).float().mean() > 0.99
    assert 0.45 < (lam > 0.5).float().mean() < 0.55


def test_the_generator_alone_decides_the_plan():
    first, second = (sample_plan(9, 3.0, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    state = torch.get_rng_state()
    sample_plan(9, 3.0, generator=torch.Generator().manual_seed(7))
    assert torch.equal(first.index, second.index)
    assert torch.equal(first.lam, second.lam)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_of_one_pairs_with_itself():
    assert sample_plan(1, 3.0).index.tolist() == [0]


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_sample_plan_refuses_impossible_alpha(alpha):
    with pytest.raises(ValueError, match="above 0"):
        sample_plan(4, alpha)


def test_sample_plan_refuses_an_empty_batch():
    with pytest.raises(ValueError, match="at least 1"):
        sample_plan(0, 3.0)


def test_union_mask_sees_what_either_row_sees():
    mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    union = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    halves = plan([0.5] * 3)
    assert torch.equal(union_mask(mask, halves), union)
    assert torch.equal(union_mask(mask.bool(), halves), union.bool())
    additive = torch.where(mask.bool(), 0.0, float("-inf"))
    assert torch.equal(union_mask(additive, halves), torch.where(union.bool(), 0.0, float("-inf")))


@pytest.mark.parametrize("pairing", ["permutation", "roll"])
@pytest.mark.parametrize(
    ("rows", "share", "mixtures"), [(8, 0.5, 4), (7, 0.5, 4), (10, 0.1, 1), (10, 0.7, 7), (2, 0.9, 2)]
)
def test_a_share_of_the_rows_gets_a_mixture(pairing, rows, share, mixtures):
    """With half of them each row is in one pair; none is its own partner, and each comes first as often as others."""
    generator, firsts = torch.Generator().manual_seed(rows), torch.zeros(rows)
    assert mixture_count(rows, share) == mixtures
    for _ in range(200):
        plan = sample_plan(rows, 1.0, share=share, pairing=pairing, generator=generator, per_sample=True)
        assert plan.index.shape == plan.lam.shape == (mixtures,)
        if mixtures == rows:
            assert plan.own is None
            continue
        assert len(set(plan.own.tolist())) == len(set(plan.index.tolist())) == mixtures
        assert not (plan.own == plan.index).any()
        assert len({*plan.own.tolist(), *plan.index.tolist()}) == min(rows, 2 * mixtures)
        firsts[plan.own] += 1
    assert mixtures == rows or (firsts / 200 - mixtures / rows).abs().max() < 0.15


def test_mixtures_of_some_rows_are_those_of_all():
    plan = MixPlan(torch.tensor([2, 0, 1]), torch.tensor([0.3, 1.0, 0.0]))
    own = torch.tensor([2, 0])
    some = PartialPlan(plan.index[own], plan.lam[own], own)
    x, mask = torch.rand(3, 2, 4), torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    assert torch.equal(mix(x, some), mix(x, plan)[own])
    assert torch.equal(mix(x, some, out=torch.empty(2, 2, 4)), mix(x, plan)[own])
    assert torch.equal(union_mask(mask, some), union_mask(mask, plan)[own])
    clean, mixed, labels = torch.randn(3, 5), torch.randn(3, 5), torch.tensor([0, 4, 2])
    weights = {"mix_weight": 1.0, "cls_weight": 1.0, "sim_weight": 1.0, "reduction": "none"}
    whole = mixing_loss_parts(clean, mixed, labels, plan, **weights)
    parts = mixing_loss_parts(clean, mixed[own], labels, some, **weights)
    assert torch.equal(parts["loss_cls"], whole["loss_cls"])
    for name in ("loss_mix", "loss_sim"):
        assert torch.equal(parts[name], whole[name][own])
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], got 0"):
        sample_plan(4, 1.0, share=0)
