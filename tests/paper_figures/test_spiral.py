# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch import nn

from logitmix_nlp.paper_figures.networks import (
    TrainingPlan,
    make_network,
    parse_figure_method,
    run_layers,
    train_network,
)
from logitmix_nlp.paper_figures.spiral import REACH, make_spiral, map_probability, measure, zone_share


def linear(scale: float) -> nn.ModuleList:
    """Probability of class 1 is sigmoid(scale * x_1), the width coordinate."""
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], [scale, 0.0]]))
    return nn.ModuleList([layer])


def test_points_lie_on_two_arms_half_a_turn_apart():
    points, labels = make_spiral(50, 1.5, 0.0, torch.Generator())
    torch.testing.assert_close(points[labels == 1], -points[labels == 0], atol=1e-6, rtol=0)
    radius = points[labels == 0].norm(dim=1)
    angle = torch.atan2(points[:50, 1], points[:50, 0])
    turned = (2 * math.pi * 1.5 * radius - angle) / (2 * math.pi)
    torch.testing.assert_close(turned, turned.round(), atol=1e-4, rtol=0)
    assert radius[[0, -1]].tolist() == pytest.approx([0.1, 1.0])


def test_noise_has_the_given_spread():
    clean, _ = make_spiral(20_000, 1.0, 0.0, torch.Generator())
    noisy, _ = make_spiral(20_000, 1.0, 0.05, torch.Generator().manual_seed(0))
    assert (noisy - clean).std().item() == pytest.approx(0.05, rel=0.02)


def test_the_zone_of_a_known_classifier():
    """sigmoid(s x) lies in [0.3, 0.7] for |x| <= log(7/3) / s: that share of the square's width."""
    probability = map_probability(linear(4.0), 400)
    assert zone_share(probability) == pytest.approx(math.log(7 / 3) / 4 / REACH, abs=1 / 400)
    assert zone_share(torch.tensor([0.3, 0.5, 0.7, 0.71, 0.29], dtype=torch.float64)) == pytest.approx(3 / 5)


def test_the_map_runs_upwards_and_to_the_right():
    probability = map_probability(linear(4.0), 3)
    expected = torch.tensor([-REACH, 0.0, REACH]).mul(4).sigmoid().expand(3, 3)
    torch.testing.assert_close(probability, expected)


def test_figures_of_a_known_classifier():
    """Probabilities 0.9, 0.9, 0.6, 0.2 of class 1, true classes 1, 0, 1, 0: three right, mean confidence 0.8."""
    x = torch.tensor([0.9, 0.9, 0.6, 0.2]).logit()
    points, labels = torch.stack([x, torch.zeros(4)], 1), torch.tensor([1, 0, 1, 0])
    numbers = measure(linear(1.0), (points, labels), (points[:1], labels[:1]), torch.full((2, 2), 0.5))
    assert numbers.train_accuracy == 0.75
    assert numbers.train_confidence == pytest.approx(0.8, abs=1e-6)
    assert (numbers.zone_share, numbers.train_zone_share, numbers.test_accuracy) == (1.0, 0.25, 1.0)
    assert numbers.test_ece == pytest.approx(0.1, abs=1e-6)


def test_methods_and_layers():
    assert parse_figure_method("manifold_mixup", 3).layers == (0, 1, 2)
    assert parse_figure_method("logitmix", 3).layers == (0,)
    assert parse_figure_method("logitmix@1-3", 3).layers == (1, 2, 3)
    assert [parse_figure_method(name, 3).label for name in ("vanilla", "mixup@2", "mixup", "mixup@0-1")] == [
        "vanilla", "mixup, layer 2", "mixup, input", "mixup, layers 0 to 1"
    ]  # fmt: skip
    for text in ("mixup@4", "mixup@x", "mixup@2-1", "vanilla@1", "mixup@"):
        with pytest.raises(ValueError, match="expected METHOD, METHOD@LAYER"):
            parse_figure_method(text, 3)
    with pytest.raises(ValueError, match="mixes regions of images"):
        parse_figure_method("cutmix", 3)
    with pytest.raises(ValueError, match="Unknown mix_method 'fog'"):
        parse_figure_method("fog@1", 3)


def test_layers_pass_on_and_weights_leave_the_global_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    network = make_network((2, 5, 4, 3), seed=1)
    assert torch.equal(torch.rand(2), expected)
    x = torch.randn(6, 2)
    torch.testing.assert_close(run_layers(network, run_layers(network, x, 0, 2), 2), run_layers(network, x))
    assert (run_layers(network, x, 0, 2) >= 0).all()  # ReLU, but not behind the last layer:
    assert (run_layers(network, x) < 0).any()


@pytest.mark.parametrize("name", ["vanilla", "mixup@1", "logitmix", "label_smoothing", "confidence_penalty"])
def test_training_is_repeatable_and_learns(name):
    points, labels = make_spiral(20, 0.5, 0.02, torch.Generator().manual_seed(0))
    method, plan = parse_figure_method(name, 2), TrainingPlan(120, 16, 2e-2, seed=4)
    results = []
    for _ in range(2):
        network, steps = make_network((2, 16, 16, 2), 4), []
        train_network(network, points, labels, method, plan, steps.append)
        results.append(run_layers(network, points))
    assert steps == list(range(1, 121))
    assert torch.equal(*results)
    assert (results[0].argmax(-1) == labels).double().mean() > 0.9


def test_vanilla_takes_the_steps_of_a_plain_loop():
    points, labels = make_spiral(8, 0.5, 0.02, torch.Generator().manual_seed(0))
    ours, plain = make_network((2, 6, 2), 2), make_network((2, 6, 2), 2)
    train_network(ours, points, labels, parse_figure_method("vanilla", 1), TrainingPlan(3, None, 1e-2))
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 + math.cos(math.pi * step / 3)) / 2
        optimizer.zero_grad()
        nn.functional.cross_entropy(run_layers(plain, points), labels).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_claims_of_the_figure():
    """Behind the first layer LogitMix keeps its confidence where mixup of the input loses it, with a wider transition
    than plain training; mixing the input of this spiral, it does not keep it."""
    generator = torch.Generator().manual_seed(1)
    train, test = (make_spiral(rows, 1.0, 0.02, generator) for rows in (200, 1000))
    found = {}
    for name in ("vanilla", "mixup", "logitmix", "logitmix@1"):
        network = make_network((2, 64, 64, 64, 2), 1)
        train_network(network, *train, parse_figure_method(name, 3), TrainingPlan(1500))
        found[name] = measure(network, train, test, map_probability(network))
    assert found["logitmix@1"].train_confidence > 0.97 > 0.9 > found["mixup"].train_confidence
    assert found["logitmix@1"].zone_share > 2 * found["vanilla"].zone_share
    assert found["logitmix"].train_confidence < 0.9


def test_bad_arguments():
    for rows, turns, noise in ((0, 1.0, 0.0), (2, 0.0, 0.0), (2, 1.0, -0.1), (2, math.nan, 0.0)):
        with pytest.raises(ValueError, match="A spiral needs"):
            make_spiral(rows, turns, noise, torch.Generator())
    with pytest.raises(ValueError, match="steps and batch_size must be at least 1, got 0"):
        train_network(linear(1.0), torch.ones(1, 2), torch.ones(1), parse_figure_method("vanilla", 0), TrainingPlan(0))
