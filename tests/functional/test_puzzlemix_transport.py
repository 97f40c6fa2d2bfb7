# SPDX-License-Identifier: Apache-2.0
import sys

import pytest
import torch
from puzzlemix_oracles import best_assignment, example, one_to_one, visible_value

from logitmix_nlp.functional.puzzlemix import assign_blocks, solve_mask

T_EPS = 0.8


def both_sides(family, rows, grid):
    """Saliency and visibility of own images and partners, under solved masks."""
    energy, blocks, plan = example(family, rows, grid)
    mask = solve_mask(energy)
    return torch.cat([blocks, blocks[plan.index]]), torch.cat([mask > 0, mask < 1])


def hidden_at_random(rows, grid):
    salient = torch.empty(rows, grid, grid).log_normal_(0, 2)
    return salient / salient.sum((1, 2), keepdim=True), torch.rand(rows, grid, grid) < 0.5


def check_one_to_one(shown, visible):
    for row, seen in zip(shown, visible.flatten(1), strict=True):
        assert len(set(row[seen].tolist())) == seen.sum()
        assert torch.equal(row[~seen], torch.arange(len(row))[~seen])


@pytest.mark.parametrize(("grid", "rows"), [(2, 40), (4, 40), (8, 40), (16, 8)])
@pytest.mark.parametrize("family", ["random", "digits", "heavy"])
def test_visible_value_against_deferred_acceptance_and_the_best_assignment(family, grid, rows):
    salient, visible = both_sides(family, rows, grid)
    shown = assign_blocks(salient, visible, T_EPS)
    check_one_to_one(shown, visible)
    value = visible_value(shown, salient, visible, T_EPS)
    stay = visible_value(torch.arange(grid**2).repeat(2 * rows, 1), salient, visible, T_EPS)
    best = torch.tensor(best_assignment(salient, visible, T_EPS))
    assert (value <= torch.stack(one_to_one(salient, visible, T_EPS)) + 1e-6).all()
    assert (value <= stay + 1e-6).all()
    assert (value >= best - 1e-6).all()
    assert value.mean() <= best.mean() * 0.998


@pytest.mark.parametrize("grid", [2, 3, 7, 8])
def test_the_assignment_is_stable(grid):
    salient, visible = hidden_at_random(60, grid)
    shown = assign_blocks(salient, visible, T_EPS)
    place = torch.cartesian_prod(torch.arange(grid), torch.arange(grid)).float()
    cost = T_EPS * torch.cdist(place, place).square() / (grid - 1) ** 2 - salient.flatten(1)[:, :, None]
    has = torch.full_like(cost[:, 0], 0.0)  # what each block is shown at; hidden blocks gain nothing
    taken = cost.gather(1, shown[:, None]).squeeze(1)
    seen = visible.flatten(1)
    for row in range(60):
        has[row, shown[row][seen[row]]] = taken[row][seen[row]]
    better_for_both = (cost < has[:, :, None] - 1e-6) & (cost < taken[:, None] - 1e-6) & seen[:, None]
    assert not better_for_both.any()


def test_a_salient_hidden_block_moves_next_door_and_drives_on():
    # The first row of a 4x4 grid: hidden 0.9 | visible 0.5 | visible 0.0 | visible 0.2. All else is hidden.
    salient, visible = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    salient[0, 0] = torch.tensor([0.9, 0.5, 0.0, 0.2])
    visible[0, 0, 1:] = True
    shown = assign_blocks(salient, visible, 0.9)[0]  # one step costs 0.9 / 9 = 0.1, two 0.4
    # 0.9 next door costs 0.1 - 0.9 < -0.5, so 0.5 must go and takes the place of 0.0: 0.1 - 0.5 < 0.0. 0.2 stays.
    assert shown[:4].tolist() == [0, 0, 1, 3]


def test_places_without_saliency_keep_their_own_block():
    visible = torch.rand(5, 4, 4) < 0.5
    assert torch.equal(assign_blocks(torch.zeros(5, 4, 4), visible, T_EPS), torch.arange(16).repeat(5, 1))


def test_of_two_tied_movers_the_second_takes_the_next_best_place():
    # Hidden blocks 0 and 2 are equally far from place 1, which one of them takes, and from place 7 for the other.
    salient, visible = torch.zeros(1, 9), torch.zeros(1, 9, dtype=torch.bool)
    salient[0, [0, 2]], salient[0, 1] = 1.0, 0.3
    visible[0, [1, 7]] = True
    shown = assign_blocks(salient.view(1, 3, 3), visible.view(1, 3, 3), 0.4)
    check_one_to_one(shown, visible)
    assert set(shown[0, [1, 7]].tolist()) == {0, 2}


def test_memory_is_bounded_without_changing_the_result(monkeypatch):
    salient, visible = hidden_at_random(30, 8)
    shown = assign_blocks(salient, visible, T_EPS)
    monkeypatch.setattr(sys.modules[assign_blocks.__module__], "COSTS_AT_ONCE", 200)
    assert torch.equal(assign_blocks(salient, visible, T_EPS), shown)
