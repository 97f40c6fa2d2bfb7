# SPDX-License-Identifier: Apache-2.0
"""Telling rows of the training distribution from others, with scikit-learn and brute force as references."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score, roc_curve

from logitmix_nlp.functional import auroc, false_positive_rate, ood_metrics, ood_scores


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_auroc_against_scikit_learn_and_all_pairs(decimals):
    rng = np.random.default_rng(0)
    positive, negative = rng.standard_normal(700) + 1, rng.standard_normal(400)
    if decimals is not None:
        positive, negative = positive.round(decimals), negative.round(decimals)
    value = auroc(torch.from_numpy(positive), torch.from_numpy(negative)).item()
    pairs = positive[:, None] - negative[None]
    assert value == ((pairs > 0).sum() + 0.5 * (pairs == 0).sum()) / pairs.size
    truth = np.concatenate([np.ones(700), np.zeros(400)])
    assert value == pytest.approx(roc_auc_score(truth, np.concatenate([positive, negative])), abs=1e-12)


@pytest.mark.parametrize("size", [1, 19, 20, 100, 333])
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.55, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("decimals", [None, 1])
def test_false_positive_rate_against_scikit_learn(size, rate, decimals):
    rng = np.random.default_rng(size)
    positive, negative = rng.standard_normal(size) + 1, rng.standard_normal(250)
    if decimals is not None:
        positive, negative = positive.round(decimals), negative.round(decimals)
    truth = np.concatenate([np.ones(size), np.zeros(250)])
    fpr, tpr, _ = roc_curve(truth, np.concatenate([positive, negative]), drop_intermediate=False)
    expected = fpr[tpr >= rate].min()
    value = false_positive_rate(torch.from_numpy(positive), torch.from_numpy(negative), rate)
    assert value.item() == pytest.approx(expected, abs=1e-12)


def test_written_out():
    positive, negative = torch.arange(1.0, 21.0), torch.tensor([0.0, 1.0, 2.0, 30.0])
    assert auroc(positive, negative).item() == (20 + 19.5 + 18.5 + 0) / 80
    assert false_positive_rate(positive, negative).item() == 2 / 4  # 19 of 20 pass at threshold 2
    assert false_positive_rate(positive, negative, 1.0).item() == 3 / 4


def test_scores_against_scipy():
    logits = np.random.default_rng(3).standard_normal((200, 5)) * 5
    probs, scores = softmax(logits, axis=1), ood_scores(logits)
    np.testing.assert_allclose(scores.confidence, probs.max(1), rtol=1e-12)
    np.testing.assert_allclose(scores.entropy, entropy(probs, axis=1), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(scores.energy, -logsumexp(logits, axis=1), rtol=1e-12)


def test_scores_at_their_ends():
    scores = ood_scores(torch.tensor([[0.0] * 8, [1e4] + [-1e4] * 7]))
    assert scores.confidence.tolist() == [0.125, 1.0]
    assert scores.entropy.tolist() == pytest.approx([math.log(8), 0.0])
    assert scores.energy.tolist() == pytest.approx([-math.log(8), -1e4])


def test_every_score_points_inside():
    """Rows the model is sure of are inside: all AUROCs are high, and the means are on the right side."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.randn(400, 4, generator=generator) + 6 * torch.eye(4)[torch.arange(400) % 4]
    outside = torch.randn(300, 4, generator=generator)
    metrics = {name: value.item() for name, value in ood_metrics(inside, outside).items()}
    truth = np.concatenate([np.ones(400), np.zeros(300)])
    both = ood_scores(torch.cat([inside, outside]))
    for name, score in (("confidence", both.confidence), ("entropy", -both.entropy), ("energy", -both.energy)):
        assert metrics[f"auroc_{name}"] == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
        assert metrics[f"auroc_{name}"] > 0.9 > 0.5 > metrics[f"fpr95_{name}"]
    assert metrics["in_confidence"] == pytest.approx(both.confidence[:400].mean().item())
    assert metrics["out_entropy"] == pytest.approx(both.entropy[400:].mean().item())
    assert metrics["in_confidence"] > metrics["out_confidence"]
    assert metrics["in_entropy"] < metrics["out_entropy"]


def test_impossible_input_is_refused():
    scores = torch.tensor([0.5, 0.6])
    with pytest.raises(ValueError, match="No negative rows"):
        auroc(scores, scores[:0])
    with pytest.raises(ValueError, match="1 scores of the positive rows are NaN"):
        auroc(torch.tensor([float("nan"), 1.0]), scores)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        false_positive_rate(scores, scores, 95)
    for logits in (torch.randn(3), torch.randn(3, 1), torch.empty(0, 2), torch.ones(3, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"shape \(N, C\)"):
            ood_scores(logits)
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 5\) are not of one model"):
        ood_metrics(torch.randn(4, 3), torch.randn(4, 5))
    with pytest.raises(ValueError, match="1 rows hold NaN or infinite"):
        ood_scores(torch.tensor([[1.0, float("inf")], [0.0, 1.0]]))
