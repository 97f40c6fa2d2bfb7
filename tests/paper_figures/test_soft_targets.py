# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
import torch

from logitmix_nlp.functional import global_soft_label
from logitmix_nlp.paper_figures.networks import TrainingPlan, load_digits
from logitmix_nlp.paper_figures.soft_targets import average_top, train_lamix, value_shares


def test_global_soft_labels_and_their_ends():
    """Classes 10: sigmoids 1 and nine times 0 give e / (e + 9) and 1 / (e + 9)."""
    extreme = global_soft_label(torch.tensor([[200.0] + [-200.0] * 9], dtype=torch.float64))
    assert extreme[0, 0].item() == pytest.approx(math.e / (math.e + 9))
    assert extreme[0, 1].item() == pytest.approx(1 / (math.e + 9))
    logits = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    powers = [math.exp(1 / (1 + math.exp(-z))) for z in (0.0, 2.0)]
    assert global_soft_label(logits)[0].tolist() == pytest.approx([power / sum(powers) for power in powers])


def test_average_of_the_largest():
    targets = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4]])
    assert average_top(targets, 2) == pytest.approx([0.55, 0.35])
    with pytest.raises(ValueError, match="count must be from 1 to the 3 classes, got 4"):
        average_top(targets, 4)


def test_shares_by_epoch():
    epochs = [torch.tensor([[0.6, 0.4], [0.9, 0.1]]), torch.tensor([[0.5, 0.5], [0.45, 0.55]])]
    assert value_shares(epochs, np.array([0.5, 0.7, 1.0])).tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_targets_of_lamix():
    """Without mixing the target of the true class is beta + (1 - beta) p; with beta = 1 it is the label."""
    digits, plan = load_digits(60, seed=1), TrainingPlan(1, 20, 2e-3, seed=1)
    found = train_lamix(digits, plan, epochs=2, beta=0.25)
    for targets, labels, mixed in zip(found.targets, found.global_labels, found.mixed, strict=True):
        assert targets.shape == labels.shape == (120, 10)
        assert mixed.sum() == 60
        torch.testing.assert_close(targets.sum(-1), torch.ones(120))
        local = (targets - 0.75 * labels) / 0.25
        torch.testing.assert_close(local[~mixed].amax(-1), torch.ones(60))
        assert (local[mixed].amax(-1) < 0.999).float().mean() > 0.5
        torch.testing.assert_close(local.sum(-1), torch.ones(120))
    first, last = (values.amax(-1).mean() for values in found.global_labels)
    assert last > first  # W_t learns
    plain = train_lamix(digits, plan, epochs=1, beta=1.0)
    assert ((plain.targets[0][~plain.mixed[0]] == 1).sum(-1) == 1).all()
    for arguments in ({"epochs": 0}, {"epochs": 1, "beta": 0.0}):
        with pytest.raises(ValueError, match="epochs must be at least 1 and beta in"):
            train_lamix(digits, plan, **arguments)
