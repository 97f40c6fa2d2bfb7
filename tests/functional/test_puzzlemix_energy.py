# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from logitmix_nlp.functional import saliency
from logitmix_nlp.functional.puzzlemix.energy import block_saliency, mask_energy, pool

SETTINGS = {"beta": 1.2, "gamma": 0.5, "eta": 0.2}


def written_out(first, second, gain, partner_gain, lam, mask, steps, cell, beta, gamma, eta):
    """Energy of one mask, with loops over blocks and borders; `cell` is the side of pooled pixels."""
    grid, total = len(mask), 0.0
    channels, block = len(first), first.shape[-1] // grid
    first, second = (torch.nn.functional.avg_pool2d(image, cell) for image in (first, second))
    per_block, smooth = block // cell, beta / (16 * grid)

    def jump(a, b, i, j, down):
        total = 0.0
        for step in range(per_block):
            if down:
                here = a[:, (i + 1) * per_block - 1, j * per_block + step]
                there = b[:, (i + 1) * per_block, j * per_block + step]
            else:
                here = a[:, i * per_block + step, (j + 1) * per_block - 1]
                there = b[:, i * per_block + step, (j + 1) * per_block]
            total += (here - there).abs().sum().item() / channels / per_block
        return total

    def both(i, j, k, m, down):
        d11, d00 = jump(first, first, i, j, down), jump(second, second, i, j, down)
        d10, d01 = jump(first, second, i, j, down), jump(second, first, i, j, down)
        z, y = mask[i][j], mask[k][m]
        half = smooth * gamma / 2
        unary = z * half * (d10 + d11) + (1 - z) * half * (d01 + d00)
        unary += y * half * (d01 + d11) + (1 - y) * half * (d10 + d00)
        return unary + (smooth + half * (d10 + d01 - d11 - d00)) * (z - y) ** 2

    for i in range(grid):
        for j in range(grid):
            z = mask[i][j]
            total += z * partner_gain[i][j] + (1 - z) * gain[i][j]
            k = round(z * steps)
            total -= eta / grid**2 * math.log(math.comb(steps, k) * lam**k * (1 - lam) ** (steps - k))
            total += both(i, j, i, j + 1, False) if j + 1 < grid else 0.0
            total += both(i, j, i + 1, j, True) if i + 1 < grid else 0.0
    return total


@pytest.mark.parametrize(("grid", "neigh_size", "cell"), [(2, 4, 4), (4, 4, 4), (4, 2, 2), (2, 1, 1), (8, 4, 2)])
@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_energy_is_the_sum_over_blocks_and_borders(grid, neigh_size, cell, n_labels):
    steps = n_labels - 1
    images, salient, index = torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16), torch.tensor([2, 0, 1, 3])
    lam, blocks = torch.tensor([0.1, 0.5, 0.7, 0.9]), block_saliency(salient, grid)
    mask = torch.randint(n_labels, (4, grid, grid)) / steps
    energy = mask_energy(images, index, lam, blocks, n_labels=n_labels, neigh_size=neigh_size, **SETTINGS)
    expected = [
        written_out(
            images[row],
            images[index[row]],
            blocks[row].tolist(),
            blocks[index[row]].tolist(),
            lam[row].item(),
            mask[row].tolist(),
            steps,
            cell,
            **SETTINGS,
        )
        for row in range(4)
    ]
    torch.testing.assert_close(energy.total(mask), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_normalised_images_have_the_energy_of_their_pixels():
    images, index, lam = torch.rand(4, 3, 16, 16), torch.tensor([2, 0, 1, 3]), torch.full((4,), 0.4)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    blocks = block_saliency(torch.rand(4, 16, 16), 4)
    expected = mask_energy(images, index, lam, blocks)
    normalised = (images - mean[:, None, None]) / std[:, None, None]
    for field, other in zip(expected, mask_energy(normalised, index, lam, blocks, std=std), strict=True):
        torch.testing.assert_close(field, other)


def test_weights_of_borders_stay_positive_for_any_pixels():
    images, index = torch.randn(8, 1, 16, 16) * 50, torch.randperm(8)
    energy = mask_energy(images, index, torch.full((8,), 0.5), torch.full((8, 4, 4), 1 / 16), gamma=0.5)
    assert min(energy.right.min(), energy.down.min()) >= 1.2 * 0.5 / (16 * 4) - 1e-8
    energy = mask_energy(images[:1].round().clamp(0, 1), index[:1] * 0, torch.ones(1), torch.full((1, 4, 4), 1 / 16))
    torch.testing.assert_close(energy.right, torch.full((1, 4, 3), 1.2 / 64))


def test_wanted_shares_of_zero_and_one_have_finite_energy():
    images, blocks = torch.rand(2, 3, 8, 8), torch.full((2, 2, 2), 0.25)
    energy = mask_energy(images, torch.tensor([1, 0]), torch.tensor([0.0, 1.0]), blocks)
    assert all(torch.isfinite(field).all() for field in energy)
    assert energy.prior.argmin(1).tolist() == [0, 2]


@pytest.mark.parametrize(("size", "parts"), [(12, 4), (7, 7), (10, 4), (9, 2), (32, 5)])
def test_pool_takes_means_of_runs_that_differ_by_at_most_one(size, parts):
    x = torch.rand(2, 3, size, 6)
    runs = [[p for p in range(size) if p * parts // size == run] for run in range(parts)]
    assert max(map(len, runs)) - min(map(len, runs)) <= 1
    expected = torch.stack([x[:, :, run].mean(2) for run in runs], 2)
    torch.testing.assert_close(pool(x, -2, parts), expected)
    torch.testing.assert_close(pool(x.mT, -1, parts), expected.mT)


def test_saliency_is_the_root_mean_square_over_channels_up_to_scale():
    gradient = torch.randn(3, 2, 4, 5)
    expected = ((gradient[:, 0] ** 2 + gradient[:, 1] ** 2) / 2).sqrt()
    for scale in (1.0, 1e-25, 1e15):
        found = saliency(gradient * scale)
        torch.testing.assert_close(found / found.sum((1, 2), True), expected / expected.sum((1, 2), True))
    assert saliency(gradient.bfloat16()).dtype == torch.float32


def test_blocks_hold_their_share_of_the_saliency():
    salient = torch.zeros(1, 4, 4)
    salient[0, :2, :2], salient[0, 3, 3] = 1.0, 4.0
    assert block_saliency(salient, 2).tolist() == [[[0.5, 0.0], [0.0, 0.5]]]


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_images_without_usable_saliency_count_as_uniform(bad):
    gradient = torch.randn(3, 1, 8, 8)
    gradient[1] = 0.0
    gradient[1, 0, 2, 3] = bad
    blocks = block_saliency(saliency(gradient), 4)
    assert blocks[1].tolist() == [[1 / 16] * 4] * 4
    assert blocks[0].std() > 0
    torch.testing.assert_close(blocks.sum((1, 2)), torch.ones(3))
