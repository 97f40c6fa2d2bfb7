# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from puzzlemix_oracles import FAMILIES, brute_force, exact_masks, example

from logitmix_nlp.functional.puzzlemix import solve_mask
from logitmix_nlp.functional.puzzlemix.chains import sweep_chains
from logitmix_nlp.functional.puzzlemix.energy import MaskEnergy


def mean_gap(energy, mask, exact):
    best = energy.total(exact)
    assert (energy.total(mask) >= best - 1e-5).all()
    return (energy.total(mask).mean() / best.mean() - 1).item()


def random_energy(rows, grid, n_labels, smooth=0.02):
    own, partner = torch.rand(2, rows, grid, grid) / grid**2
    right, down = smooth * torch.rand(rows, grid, grid - 1), smooth * torch.rand(rows, grid - 1, grid)
    prior = torch.linspace(0, 1, n_labels).sub(torch.rand(rows, 1)).square() / grid**2
    return MaskEnergy(own, partner, prior, right, down)


@pytest.mark.parametrize("n_labels", [2, 3])
def test_the_minimum_cut_of_the_tests_is_the_minimum_over_all_masks(n_labels):
    energy = random_energy(6, 3, n_labels)
    torch.testing.assert_close(energy.total(exact_masks(energy)), brute_force(energy), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("grid", "n_labels"), [(2, 2), (2, 3), (2, 4), (2, 5), (3, 2), (3, 3)])
def test_small_masks_are_nearly_always_exact(grid, n_labels):
    energy = random_energy(60, grid, n_labels)
    found, least = energy.total(solve_mask(energy, "high")), brute_force(energy)
    assert ((found - least).abs() < 1e-6).float().mean() >= 0.9
    assert (found / least - 1).max() < 0.03


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("grid", "rows"), [(4, 100), (8, 100), (16, 60)])
def test_energy_is_close_to_the_exact_minimum(family, grid, rows):
    energy, _, _ = example(family, rows, grid)
    exact = exact_masks(energy)
    fast, high = solve_mask(energy), solve_mask(energy, "high")
    limit = 0.005 if family == "digits" else 0.007
    assert mean_gap(energy, fast, exact) <= limit
    assert mean_gap(energy, high, exact) <= limit / 2
    assert (energy.total(high) <= energy.total(fast) + 1e-6).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("grid", [4, 8, 16])
def test_shares_are_not_biased(family, grid):
    energy, _, _ = example(family, 300, grid)
    assert abs(solve_mask(energy).mean() - exact_masks(energy).mean()) <= 0.005


@pytest.mark.parametrize("wanted", [0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize("grid", [4, 8, 16])
@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("family", ["flat", "heavy", "flat digits"])
def test_no_wanted_share_biases_the_mask(family, n_labels, grid, wanted):
    """At each share for itself: pooled over all of them, masks pulled towards the wanted share would pass."""
    torch.manual_seed(0)
    energy, _, _ = example(family, 24, grid, share=wanted, n_labels=n_labels)
    exact, mask = exact_masks(energy), solve_mask(energy)
    assert mean_gap(energy, mask, exact) <= 0.006
    assert abs(mask.mean() - exact.mean()) <= 0.03


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_labels", [2, 3, 4])
@pytest.mark.parametrize("grid", [2, 4, 8, 16])
def test_energy_and_share_over_many_images(family, n_labels, grid):
    energy, _, _ = example(family, 2000, grid, n_labels=n_labels)
    exact = exact_masks(energy)
    for quality in ("fast", "high"):
        mask = solve_mask(energy, quality)
        assert mean_gap(energy, mask, exact) <= (0.01 if n_labels == 2 else 0.005)
        assert abs(mask.mean() - exact.mean()) <= (0.01 if n_labels == 2 else 0.003)


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_sweeps_over_chains_never_raise_the_energy_and_keep_their_input(n_labels):
    energy = random_energy(40, 7, n_labels, smooth=0.05)
    mask = torch.randint(n_labels, (40, 7, 7)) / (n_labels - 1)
    before, totals = mask.clone(), [energy.total(mask)]
    for sweeps in range(4):
        totals.append(energy.total(sweep_chains(mask, energy, sweeps)))
    assert torch.equal(mask, before)
    torch.testing.assert_close(totals[0], totals[1])
    for worse, better in zip(totals[1:], totals[2:], strict=False):
        assert (better <= worse + 1e-6).all()
    assert (totals[2] < totals[1] - 1e-3).all()


def test_a_single_row_of_blocks_is_solved_exactly_by_one_sweep():
    energy = random_energy(30, 3, 3, smooth=0.05)
    energy = energy._replace(down=torch.zeros_like(energy.down))
    mask = sweep_chains(torch.zeros(30, 3, 3), energy, 1)
    torch.testing.assert_close(energy.total(mask), brute_force(energy))


@pytest.mark.parametrize("n_labels", [2, 3, 4])
@pytest.mark.parametrize("grid", [2, 3, 8])
def test_without_smoothness_each_block_takes_its_cheapest_label(n_labels, grid):
    energy = random_energy(20, grid, n_labels, smooth=0.0)
    levels = torch.arange(n_labels).view(1, -1, 1, 1) / (n_labels - 1)
    costs = levels * energy.own[:, None] + (1 - levels) * energy.partner[:, None] + energy.prior[..., None, None]
    torch.testing.assert_close(solve_mask(energy), costs.argmin(1) / (n_labels - 1))


@pytest.mark.parametrize("n_labels", [2, 3])
def test_swapping_the_images_swaps_the_mask(n_labels):
    energy = random_energy(20, 6, n_labels)
    swapped = energy._replace(own=energy.partner, partner=energy.own, prior=energy.prior.flip(1))
    torch.testing.assert_close(energy.total(solve_mask(energy)), swapped.total(solve_mask(swapped)), rtol=0.02, atol=0)
    torch.testing.assert_close(swapped.total(1 - solve_mask(energy)), energy.total(solve_mask(energy)))


@pytest.mark.parametrize("n_labels", [2, 3, 4, 5])
def test_neither_image_of_a_pair_is_preferred(n_labels):
    energy, _, _ = example("flat", 300, 8, n_labels=n_labels)
    swapped = energy._replace(own=energy.partner, partner=energy.own, prior=energy.prior.flip(1))
    assert solve_mask(energy).mean() + solve_mask(swapped).mean() == pytest.approx(1.0, abs=0.005)


def test_images_do_not_influence_each_other():
    energy = random_energy(12, 8, 3)
    alone = [solve_mask(MaskEnergy(*(field[row : row + 1] for field in energy))) for row in range(12)]
    assert torch.equal(solve_mask(energy), torch.cat(alone))


def test_unknown_quality_is_refused():
    with pytest.raises(ValueError, match="fast, high"):
        solve_mask(random_energy(1, 2, 3), "best")
