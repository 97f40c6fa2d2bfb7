# SPDX-License-Identifier: Apache-2.0
"""The loss of VWCI against its formulas written out in float64."""

import pytest
import torch

from logitmix_nlp.functional.losses import supervised_loss
from logitmix_nlp.functional.vwci import normalized_variance, vwci_parts


def reference(logits, labels):
    """Value per row and variance, with probabilities and loops."""
    losses, alphas = [], []
    for row in range(logits.shape[1]):
        probs = [torch.exp(z) / torch.exp(z).sum() for z in logits[:, row].double()]
        mean = sum(probs) / len(probs)
        alpha = 1 - sum((p * mean).sqrt().sum() for p in probs) / len(probs)
        total = 0.0
        for p in probs:
            divergence = sum((1 / len(p)) * torch.log(1 / len(p) / q) for q in p)
            total = total + (1 - alpha) * -torch.log(p[labels[row]]) + alpha * divergence
        losses.append(total / len(probs))
        alphas.append(alpha)
    return torch.stack(losses), torch.stack(alphas)


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_value_and_gradient_equal_the_formula(passes):
    generator = torch.Generator().manual_seed(passes)
    logits = 3 * torch.randn(passes, 7, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 4, (7,), generator=generator)
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    rows = sum(vwci_parts(ours, labels, reduction="none").values())
    expected, alphas = reference(theirs, labels)
    torch.testing.assert_close(rows, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(normalized_variance(logits), alphas.detach(), rtol=1e-9, atol=1e-12)
    rows.mean().backward()
    expected.mean().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("copies", [1, 3])
def test_passes_that_agree_leave_plain_cross_entropy(copies):
    logits, labels = torch.randn(1, 6, 5).repeat(copies, 1, 1), torch.arange(6) % 5
    parts = vwci_parts(logits, labels)
    torch.testing.assert_close(parts["loss_cls"], supervised_loss(logits[0], labels), rtol=1e-5, atol=1e-6)
    assert parts["loss_uniform"].abs() < 1e-6


def test_passes_that_contradict_each_other_are_drawn_to_the_uniform():
    sure = torch.tensor([[[20.0, 0.0]], [[0.0, 20.0]]])
    assert normalized_variance(sure).item() == pytest.approx(1 - 0.5**0.5, abs=1e-4)
    assert vwci_parts(sure, torch.tensor([0]))["loss_uniform"] > 1.0


def test_vanishing_probabilities_keep_the_gradient_finite():
    logits = torch.tensor([[[0.0, -200.0, 5.0]], [[3.0, -300.0, 0.0]]], requires_grad=True)
    sum(vwci_parts(logits, torch.tensor([0])).values()).backward()
    assert logits.grad.isfinite().all()


def test_logits_of_one_pass_without_its_dimension_are_refused():
    with pytest.raises(ValueError, match=r"shape \(T, 6, num_labels\), got \(6, 5\)"):
        vwci_parts(torch.randn(6, 5), torch.zeros(6, dtype=torch.long))
