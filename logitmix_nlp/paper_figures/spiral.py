# SPDX-License-Identifier: Apache-2.0
"""The two-class spiral and what training methods make of it (LogitMix, Sec. 4.1 and Figure 1)."""

import math
from typing import NamedTuple

import torch
from torch import nn

from logitmix_nlp.functional.calibration import expected_calibration_error
from logitmix_nlp.paper_figures.networks import FigureMethod, TrainingPlan, make_network, run_layers, train_network

__all__ = ["REACH", "SpiralNumbers", "make_spiral", "map_probability", "measure", "train_on_spiral", "zone_share"]

REACH = 1.2  # the map is the square [-1.2, 1.2]^2; the arms end at radius 1
WIDTHS = (2, 64, 64, 64, 2)
TEST_ROWS = 1000


class SpiralNumbers(NamedTuple):
    """Figures of one trained network, all between 0 and 1.

    Args:
        train_accuracy (`float`): Share of training points on the right side.
        train_confidence (`float`): Mean probability of the predicted class on the training points.
        zone_share (`float`): Share of the map with a probability of 0.3 to 0.7, the transition between the classes.
        train_zone_share (`float`): Share of the training points in that zone.
        test_accuracy (`float`): Accuracy on fresh points of the same spiral.
        test_ece (`float`): Their ECE, 15 bins.
    """

    train_accuracy: float
    train_confidence: float
    zone_share: float
    train_zone_share: float
    test_accuracy: float
    test_ece: float


def make_spiral(
    rows_per_class: int, turns: float, noise: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two arms wound around the origin, half a turn apart.

    Args:
        rows_per_class (`int`): Points on each arm, at least 1; evenly spread over its area rather than its angle.
        turns (`float`): How often an arm winds around the origin on its way from the centre to radius 1.
        noise (`float`): Standard deviation of the Gaussian noise on both coordinates.
        generator (`torch.Generator`): Of the noise.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Points of shape `(2 * rows_per_class, 2)` and classes 0 and 1.

    Raises:
        ValueError: If there are no points, no turns, or the noise is negative.
    """
    if rows_per_class < 1 or not turns > 0 or not noise >= 0:
        raise ValueError(
            f"A spiral needs rows_per_class >= 1, turns > 0 and noise >= 0, got {rows_per_class}, {turns}, {noise}."
        )
    radius = (0.1 + 0.9 * torch.linspace(0, 1, rows_per_class).sqrt()).repeat(2)
    labels = torch.arange(2).repeat_interleave(rows_per_class)
    angle = 2 * math.pi * turns * radius + math.pi * labels
    points = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return points + noise * torch.randn(points.shape, generator=generator), labels


def train_on_spiral(
    points: torch.Tensor, labels: torch.Tensor, method: FigureMethod, plan: TrainingPlan
) -> nn.ModuleList:
    """Train a perceptron with three hidden layers of 64 units; see [`train_network`] for the arguments."""
    network = make_network(WIDTHS, plan.seed)
    train_network(network, points, labels, method, plan)
    return network


@torch.no_grad()
def map_probability(network: nn.ModuleList, resolution: int = 200) -> torch.Tensor:
    """Probability of class 1 at the points of a grid over the map.

    Returns:
        `torch.Tensor` of shape `(resolution, resolution)`: Rows run upwards, columns to the right.
    """
    ticks = torch.linspace(-REACH, REACH, resolution)
    height, width = torch.meshgrid(ticks, ticks, indexing="ij")
    grid = torch.stack([width, height], dim=-1).reshape(-1, 2)
    return run_layers(network, grid).softmax(-1)[:, 1].reshape(resolution, resolution)


def zone_share(probability: torch.Tensor, low: float = 0.3, high: float = 0.7) -> float:
    """Share of the probabilities in `[low, high]`; of a map, the area of the transition between the classes."""
    return ((probability >= low) & (probability <= high)).double().mean().item()


@torch.no_grad()
def measure(
    network: nn.ModuleList,
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    probability: torch.Tensor,
) -> SpiralNumbers:
    """Figures of a trained network.

    Args:
        network (`nn.ModuleList`): The network.
        train (`tuple`): Training points and classes.
        test (`tuple`): Other points of the same spiral and their classes.
        probability (`torch.Tensor`): From [`map_probability`].
    """
    probs = run_layers(network, train[0]).softmax(-1)
    logits = run_layers(network, test[0])
    return SpiralNumbers(
        (probs.argmax(-1) == train[1]).double().mean().item(),
        probs.amax(-1).double().mean().item(),
        zone_share(probability),
        zone_share(probs[:, 1]),
        (logits.argmax(-1) == test[1]).double().mean().item(),
        expected_calibration_error(logits, test[1], 15, from_logits=True).item(),
    )
