# SPDX-License-Identifier: Apache-2.0
"""Means of predictions, with SciPy and loops as references."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from scipy.stats import entropy

from logitmix_nlp.functional import ensemble_scores


def test_against_scipy():
    logits = np.random.default_rng(0).standard_normal((5, 30, 4)) * 4
    probs = softmax(logits, axis=-1)
    mean = probs.mean(0)
    scores = ensemble_scores(torch.from_numpy(logits))
    np.testing.assert_allclose(scores.log_probs.exp(), mean, rtol=1e-12)
    np.testing.assert_allclose(scores.entropy, entropy(mean, axis=-1), rtol=1e-12)
    divergence = rel_entr(probs, mean).sum(-1).mean(0)  # the mean KL divergence from the mean is the information
    np.testing.assert_allclose(scores.mutual_information, divergence, rtol=1e-9, atol=1e-14)
    assert (scores.mutual_information <= scores.entropy).all()


def test_written_out():
    sure = torch.tensor([[[100.0, -100.0]], [[-100.0, 100.0]]])  # two members that are sure of opposite classes
    scores = ensemble_scores(sure)
    assert scores.log_probs.exp().tolist() == [pytest.approx([0.5, 0.5])]
    assert scores.entropy.item() == pytest.approx(np.log(2))
    assert scores.mutual_information.item() == pytest.approx(np.log(2))
    unsure = ensemble_scores(torch.zeros(3, 1, 2))
    assert unsure.entropy.item() == pytest.approx(np.log(2))
    assert unsure.mutual_information.item() == pytest.approx(0, abs=1e-15)


def test_one_member_is_itself_and_far_logits_stay_finite():
    logits = torch.randn(1, 6, 3)
    scores = ensemble_scores(logits)
    torch.testing.assert_close(scores.log_probs, logits[0].double().log_softmax(-1))
    assert (scores.mutual_information < 1e-12).all()
    far = ensemble_scores(torch.tensor([[[1e4, -1e4]], [[1e4, -1e4]]]))
    assert far.log_probs.tolist() == [[0.0, -2e4]]
    assert far.entropy.item() == 0


def test_impossible_input_is_refused():
    for logits in (torch.ones(2, 3), torch.ones(2, 3, 1), torch.ones(0, 3, 2), torch.ones(2, 3, 4).long()):
        with pytest.raises(ValueError, match=r"shape \(S, N, C\)"):
            ensemble_scores(logits)
    with pytest.raises(ValueError, match="1 rows hold NaN"):
        ensemble_scores(torch.tensor([[[1.0, 2.0], [0.0, float("nan")]], [[1.0, 2.0], [0.0, 1.0]]]))
