# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from logitmix_nlp.functional import MixPlan, mix, sample_plan


@pytest.mark.parametrize("pairing", ["permutation", "roll"])
@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (7, 3, 5, 6), (8, 11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_buffer_gets_what_a_fresh_tensor_gets(pairing, shape, dtype):
    x = torch.randn(shape).to(dtype)
    before, out = x.clone(), torch.full_like(x, float("nan"))
    for _ in range(5):
        plan = sample_plan(len(x), 1.0, per_sample=True, pairing=pairing)
        assert mix(x, plan, out=out) is out
        torch.testing.assert_close(out, mix(x, plan))
    assert torch.equal(x, before)


def test_clean_and_mixed_rows_may_be_halves_of_one_buffer():
    buffer, images = torch.empty(8, 3, 5, 5), torch.randn(4, 3, 5, 5)
    buffer[:4] = images
    plan = sample_plan(4, 1.0)
    mix(buffer[:4], plan, out=buffer[4:])
    torch.testing.assert_close(buffer, torch.cat([images, mix(images, plan)]))


def test_a_buffer_of_channels_last_images_keeps_their_layout():
    x = torch.randn(4, 3, 5, 6).to(memory_format=torch.channels_last)
    plan, out = sample_plan(4, 1.0), torch.empty_like(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mix(x, plan, out=out), mix(x.contiguous(), plan))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.empty(4, 2), "shape"),
        (torch.empty(4, 3).double(), "float64"),
        (None, "shares memory"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(out, message):
    x = torch.randn(5, 3)[:4]
    with pytest.raises(ValueError, match=message):
        mix(x, sample_plan(4, 1.0), out=x if out is None else out)


def test_rolled_pairs_are_never_with_themselves_and_use_every_distance():
    plans = [sample_plan(5, 1.0, pairing="roll") for _ in range(200)]
    shifts = {tuple(((plan.index - torch.arange(5)) % 5).tolist()) for plan in plans}
    assert shifts == {(k,) * 5 for k in (1, 2, 3, 4)}
    assert sample_plan(1, 1.0, pairing="roll").index.tolist() == [0]
    first, second = (sample_plan(9, 1.0, pairing="roll", generator=torch.Generator().manual_seed(5)) for _ in "ab")
    assert torch.equal(first.index, second.index)
    assert torch.equal(first.lam, second.lam)
    with pytest.raises(ValueError, match="permutation, roll"):
        sample_plan(4, 1.0, pairing="flip")


def test_each_row_has_its_own_share_and_identity_pairs_stay():
    x, out = torch.tensor([[1.0], [2.0], [4.0]]), torch.empty(3, 1)
    plan = MixPlan(torch.tensor([1, 2, 0]), torch.tensor([0.25, 0.5, 1.0]))
    assert mix(x, plan, out=out).flatten().tolist() == [1.75, 3.0, 4.0]
    assert torch.equal(mix(x, MixPlan(torch.arange(3), plan.lam), out=out), x)
