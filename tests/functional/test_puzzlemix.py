# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from puzzlemix_oracles import digits

from logitmix_nlp.functional import (
    MixPlan,
    adversarial_noise,
    mixing_loss_parts,
    perturb,
    puzzlemix,
    saliency,
    sample_adversarial,
    sample_grid,
    sample_plan,
    start_noise,
)
from logitmix_nlp.functional.puzzlemix import assign_blocks, block_saliency, mask_energy, solve_mask


def batch(*shape):
    return torch.rand(shape), sample_plan(shape[0], 1.0, per_sample=True), saliency(torch.randn(shape))


def constant_batch(rows, *size):
    """Image `i` has the value `i` everywhere, so that a mixed pixel tells its share."""
    images = torch.arange(rows, dtype=torch.float32).view(-1, 1, 1, 1).expand(rows, *size).contiguous()
    return images, MixPlan(torch.arange(rows).roll(1), torch.rand(rows))


@pytest.mark.parametrize("t_size", [None, 4])
@pytest.mark.parametrize("grid", [2, 4, 8])
def test_pixels_are_moved_and_blended_block_by_block(grid, t_size):
    images, salient = (part[:12] for part in digits())
    plan = sample_plan(12, 1.0, per_sample=True)
    mixed, _ = puzzlemix(images, plan, salient, grid=grid, t_size=t_size)
    mask = solve_mask(mask_energy(images, plan.index, plan.lam, block_saliency(salient, grid)))
    side = 32 // grid if t_size is None else t_size
    fine = mask.repeat_interleave(32 // grid // side, 1).repeat_interleave(32 // grid // side, 2)
    blocks = block_saliency(salient, 32 // side)
    moves = 0
    for row, partner in enumerate(plan.index):
        expected = torch.zeros_like(images[row])
        for image, share in ((row, fine[row]), (partner, 1 - fine[row])):
            shown = assign_blocks(blocks[image : image + 1], share[None] > 0, 0.8)[0]
            for place, source in enumerate(shown.tolist()):
                (i, j), (k, m) = divmod(place, 32 // side), divmod(source, 32 // side)
                pixels = images[image, :, k * side : (k + 1) * side, m * side : (m + 1) * side]
                expected[:, i * side : (i + 1) * side, j * side : (j + 1) * side] += share[i, j] * pixels
                moves += place != source
        torch.testing.assert_close(mixed[row], expected)
    assert grid == 2 or moves > 0


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (17, 40), (9, 8)])
@pytest.mark.parametrize("grid", [2, 3, 8])
def test_share_is_the_mean_of_the_mask_over_pixels(size, grid):
    images, plan = constant_batch(6, 2, *size)
    salient = torch.rand(6, *size)
    mixed, mixed_plan = puzzlemix(images, plan, salient, grid=grid, t_eps=0.01)
    partner = images[plan.index]
    mask = (mixed - partner) / (images - partner)
    torch.testing.assert_close(mixed_plan.lam, mask.mean((1, 2, 3)))
    torch.testing.assert_close((mask * 2).round(), mask * 2, atol=1e-4, rtol=0)
    assert torch.equal(mixed_plan.index, plan.index)


def test_moved_blocks_of_uneven_sizes_hold_pixels_of_one_block_each():
    rows, cols = torch.arange(19)[:, None] * 4 // 19, torch.arange(23) * 4 // 23
    images = (4 * rows + cols).float().expand(8, 1, 19, 23).contiguous()  # each pixel holds the number of its block
    salient = torch.empty(8, 4, 4).log_normal_(0, 2)[:, rows, cols]
    plan = MixPlan(torch.arange(8).roll(1), torch.rand(8))
    mixed, _ = puzzlemix(images, plan, salient, grid=4, n_labels=2, t_eps=0.001)
    assert (mixed != images).any()
    for row in mixed[:, 0]:
        for place in range(16):
            assert len(set(row[(4 * rows + cols) == place].tolist())) == 1


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (5, 1, 28, 28), (2, 7, 17, 40), (3, 3, 2, 2), (4, 3, 16, 1000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_any_shape_and_dtype_within_the_range_of_both_images(shape, dtype, n_labels):
    images, plan, salient = batch(*shape)
    images = images.to(dtype)
    before = [tensor.clone() for tensor in (images, *plan, salient)]
    grid = min(4, *shape[2:])
    mixed, mixed_plan = puzzlemix(images, plan, salient, grid=grid, n_labels=n_labels, t_size=2)
    assert (mixed.shape, mixed.dtype) == (shape, dtype)
    assert (mixed_plan.lam.shape, mixed_plan.lam.dtype) == ((shape[0],), torch.float32)
    assert mixed_plan.lam.min() >= 0
    assert mixed_plan.lam.max() <= 1
    assert images.min() <= mixed.min()
    assert mixed.max() <= images.max()
    assert all(torch.equal(now, then) for now, then in zip((images, *plan, salient), before, strict=True))


def test_a_wanted_share_of_one_or_zero_keeps_or_replaces_the_image():
    images, plan, _ = batch(6, 3, 16, 16)
    flat = torch.ones(6, 16, 16)
    for lam, expected in ((1.0, images), (0.0, images[plan.index])):
        mixed, mixed_plan = puzzlemix(images, MixPlan(plan.index, torch.full((6,), lam)), flat, grid=4, eta=10.0)
        assert torch.equal(mixed, expected)
        assert mixed_plan.lam.tolist() == [lam] * 6


def test_saturated_images_mix_like_uniformly_salient_ones():
    images, plan, _ = batch(6, 3, 16, 16)
    gradient = torch.randn(6, 3, 16, 16)
    gradient[[0, 3]] = 0.0
    salient = saliency(gradient)
    filled = torch.where(torch.isfinite(salient), salient, 1.0)
    for kind in (gradient, 0.0 * gradient):
        mixed, mixed_plan = puzzlemix(images, plan, saliency(kind), grid=4)
        assert torch.isfinite(mixed).all()
        assert torch.isfinite(mixed_plan.lam).all()
    torch.testing.assert_close(puzzlemix(images, plan, salient, grid=4)[0], puzzlemix(images, plan, filled, grid=4)[0])


def test_a_buffer_gets_the_same_result_and_is_returned():
    images, plan, salient = batch(6, 3, 16, 16)
    out = torch.full_like(images, float("nan"))
    mixed, _ = puzzlemix(images, plan, salient, grid=8, out=out, t_eps=0.1)
    assert mixed is out
    torch.testing.assert_close(mixed, puzzlemix(images, plan, salient, grid=8, t_eps=0.1)[0])
    with pytest.raises(ValueError, match="shares memory"):
        puzzlemix(images, plan, salient, grid=8, out=images)


def test_gradients_reach_both_images_with_their_shares():
    images, plan = constant_batch(4, 1, 8, 8)
    images.requires_grad_()
    mixed, mixed_plan = puzzlemix(images, plan, torch.rand(4, 8, 8), grid=4, t_eps=None)
    mixed.sum().backward()
    shares = mixed_plan.lam + (1 - mixed_plan.lam)[plan.index.argsort()]
    torch.testing.assert_close(images.grad.mean((1, 2, 3)), shares)


def test_the_loss_core_takes_the_plan_of_the_mixed_images():
    images, plan, salient = batch(6, 3, 16, 16)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
    mixed, mixed_plan = puzzlemix(images, plan, salient, grid=4)
    labels, clean_logits, mixed_logits = torch.randint(10, (6,)), model(images), model(mixed)
    parts = mixing_loss_parts(clean_logits, mixed_logits, labels, mixed_plan, mix_weight=1, cls_weight=1, sim_weight=1)
    own, other = (
        torch.nn.functional.cross_entropy(mixed_logits, target, reduction="none")
        for target in (labels, labels[plan.index])
    )
    torch.testing.assert_close(parts["loss_mix"], (mixed_plan.lam * own + (1 - mixed_plan.lam) * other).mean())


def test_perturbed_images_are_blended_but_do_not_change_mask_or_moves():
    images, plan, salient = batch(6, 3, 16, 16)
    noise = 0.01 * torch.randn_like(images)
    clean, clean_plan = puzzlemix(images, plan, salient, grid=4)
    first, plan_of_first = puzzlemix(images, plan, salient, grid=4, first=images + noise)
    second, _ = puzzlemix(images, plan, salient, grid=4, second=images + noise)
    both, _ = puzzlemix(images, plan, salient, grid=4, first=images + noise, second=images + noise)
    assert torch.equal(plan_of_first.lam, clean_plan.lam)
    torch.testing.assert_close(first - clean + (second - clean), both - clean, atol=1e-6, rtol=0)
    assert 0 < (first - clean).abs().max() <= noise.abs().max() + 1e-6


def test_adversarial_noise_is_a_bounded_step_uphill():
    images = torch.rand(4, 3, 8, 8)
    start = start_noise(images, 10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(start, start_noise(images, 10, generator=torch.Generator().manual_seed(1)))
    assert 9.5 / 255 < start.abs().max() <= 10 / 255
    assert abs(start.mean()) < 1e-2
    images[0] = 0.0
    images[1] = 1.0
    uncut = start_noise(torch.full_like(images, 0.5), 10, generator=torch.Generator().manual_seed(1))
    cut = start_noise(images, 10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(cut[2:], uncut[2:].clamp(-images[2:], 1 - images[2:]))
    assert torch.equal(cut[:2], torch.stack([uncut[0].clamp(min=0), uncut[1].clamp(max=0)]))
    gradient = torch.randn_like(images)
    gradient[3, 0] = float("nan")
    noise = adversarial_noise(start, gradient, 10, 0.5)
    torch.testing.assert_close(noise[3, 0], 0.5 * start[3, 0])
    gradient[3, 0] = 0.0
    torch.testing.assert_close(noise, 0.5 * (start + 12 / 255 * gradient.sign()).clamp(-10 / 255, 10 / 255))
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    normalised = (images - mean[:, None, None]) / std[:, None, None]
    found = perturb(normalised, 10 * noise, mean, std) * std[:, None, None] + mean[:, None, None]
    torch.testing.assert_close(found, (images + 10 * noise).clamp(0, 1))
    scaled = start_noise(normalised, 10, mean, std, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(scaled, cut, atol=1e-6, rtol=0)
    torch.testing.assert_close(perturb(images, 10 * noise), (images + 10 * noise).clamp(0, 1))


def test_adversarial_draws_and_grids_follow_their_generator():
    draws = [sample_adversarial(0.3, generator=torch.Generator().manual_seed(seed)) for seed in range(2000)]
    assert draws[7] == sample_adversarial(0.3, generator=torch.Generator().manual_seed(7))
    for values, mean in zip(zip(*draws, strict=True), (0.3, 0.3, 0.5), strict=True):
        assert abs(sum(values) / 2000 - mean) < 0.05
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        sample_adversarial(1.5)
    with pytest.raises(ValueError, match="adv_eps must be a finite number above 0"):
        start_noise(torch.rand(1, 1, 2, 2), -1.0)
    grids = [sample_grid() for _ in range(400)]
    assert [abs(grids.count(grid) - 100) < 40 for grid in (2, 4, 8, 16)] == [True] * 4


def test_all_tensors_are_made_on_the_device_of_the_images():
    images, index, lam = torch.rand(6, 3, 9, 8), torch.arange(6), torch.rand(6)
    images, index, lam = (tensor.to("meta") for tensor in (images, index, lam))
    for n_labels in (2, 3):
        settings = {"n_labels": n_labels, "grid": 3, "std": torch.rand(3), "quality": "high", "t_eps": None}
        mixed, plan = puzzlemix(images, MixPlan(index, lam), saliency(images), **settings)
        assert {mixed.device.type, plan.lam.device.type} == {"meta"}
    noise = adversarial_noise(start_noise(images, 10), images, 10, 0.5)
    assert perturb(images, noise, torch.rand(3), torch.rand(3)).device.type == "meta"


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ({"grid": 1}, "from 2 to the shorter side of the images, 8"),
        ({"grid": 9}, "from 2 to the shorter side"),
        ({"n_labels": 1}, "at least 2"),
        ({"beta": -1.0}, "at least 0"),
        ({"gamma": 1.5}, r"in \[0, 1\]"),
        ({"eta": float("nan")}, "finite"),
        ({"neigh_size": 0}, "at least 1"),
        ({"t_eps": 0.0}, "None to move no blocks"),
        ({"t_size": 0}, "whole blocks"),
        ({"quality": "best"}, "fast, high"),
        ({"std": torch.ones(4)}, "1 or 3 numbers for 3 channels, got 4"),
        ({"first": torch.rand(3, 3, 8, 12)}, "first must be like the images"),
        ({"second": torch.rand(4, 3, 8, 12).double()}, "second must be like the images"),
        ({"out": torch.rand(4, 3, 8, 8)}, "out must be"),
    ],
)
def test_settings_out_of_range_are_refused(setting, allowed):
    images, plan, salient = batch(4, 3, 8, 12)
    with pytest.raises(ValueError, match=allowed):
        puzzlemix(images, plan, salient, **{"grid": 4, **setting})


def test_tensors_that_do_not_fit_are_refused():
    images, plan, salient = batch(4, 3, 8, 12)
    with pytest.raises(TypeError, match="scale bytes"):
        puzzlemix((images * 255).byte(), plan, salient, grid=4)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        puzzlemix(images[0], plan, salient, grid=4)
    with pytest.raises(ValueError, match="4 rows"):
        puzzlemix(images[:3], plan, salient, grid=4)
    with pytest.raises(ValueError, match="salient must be"):
        puzzlemix(images, plan, salient.mT, grid=4)
