# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from logitmix_nlp.functional.selective import RowConfidences
from logitmix_nlp.paper_figures.density import density_of_epoch, group_means, joint_density, logits_by_epoch
from logitmix_nlp.paper_figures.networks import TrainingPlan, load_digits, parse_figure_method


def test_density_sums_to_one_and_lies_where_the_points_are():
    density = joint_density(np.array([0.25, 0.25, 1.0, 0.6]), np.array([0.5, 0.5, 1.0, 0.0]))
    assert density.shape == (101, 101)
    assert density.sum() == pytest.approx(1)
    assert np.unravel_index(density.argmax(), density.shape)[0] in (50, 100)
    sharp = joint_density(np.array([0.25, 0.29]), np.array([0.5, 0.29]), smoothing=0.0)
    assert sharp[50, 25] == sharp[29, 29] == 0.5
    assert joint_density(np.array([0.25]), np.array([0.5]))[50, 25] == density[50, 25] * 2  # two of four points


def test_groups_have_the_mean_and_spread_of_drawn_rows():
    """Accuracy 0.8 in groups of 25: standard deviation sqrt(0.8 * 0.2 / 25) = 0.08."""
    rows = RowConfidences(torch.linspace(0, 1, 101, dtype=torch.float64)[:100], torch.arange(100) < 80)
    confidence, accuracy = group_means(rows, 25, 20_000, torch.Generator().manual_seed(0))
    assert accuracy.mean() == pytest.approx(0.8, abs=0.003)
    assert accuracy.std() == pytest.approx(0.08, rel=0.03)
    assert confidence.mean() == pytest.approx(0.495, abs=0.003)
    assert np.all(np.isclose(accuracy * 25, np.rint(accuracy * 25)))


def test_rows_of_one_confidence_and_all_right_are_one_point():
    logits = torch.zeros(30, 4)
    found = density_of_epoch(logits, torch.zeros(30, dtype=torch.long), "epoch 1", group_size=10, groups=50)
    assert (found.confidence, found.accuracy, found.title) == (0.25, 1.0, "epoch 1")
    assert np.unravel_index(found.density.argmax(), found.density.shape) == (100, 25)


def test_logits_of_the_epochs_asked_for():
    digits, method = load_digits(40, seed=1), parse_figure_method("mixup", 2)
    plan = TrainingPlan(1, 16, 3e-3, seed=1)
    logits = logits_by_epoch(digits, method, plan, [1, 3])
    assert logits.shape == (2, 1757, 10)
    assert not torch.equal(*logits)
    with pytest.raises(ValueError, match="group_size and groups must be at least 1"):
        group_means(RowConfidences(torch.ones(2), torch.ones(2, dtype=torch.bool)), 0, 1, torch.Generator())


def test_digits_are_split_without_overlap():
    digits = load_digits(100, seed=2)
    assert (digits.train_x.shape, digits.test_x.shape) == ((100, 64), (1697, 64))
    assert digits.train_x.aminmax() == (0, 1)
    both = torch.cat([digits.train_labels, digits.test_labels])
    assert torch.bincount(both).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    with pytest.raises(ValueError, match="train_rows must be from 1 to 1796, got 1797"):
        load_digits(1797, seed=2)
