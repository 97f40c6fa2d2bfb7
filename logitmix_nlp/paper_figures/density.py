# SPDX-License-Identifier: Apache-2.0
"""Joint density of confidence and accuracy over the epochs (Thulasidasan et al., 2019, Figure 1)."""

import numpy as np
import torch
from scipy import ndimage

from logitmix_nlp.functional.selective import RowConfidences, row_confidences
from logitmix_nlp.paper_figures.digits import CLASSES, PIXELS, Digits
from logitmix_nlp.paper_figures.networks import FigureMethod, TrainingPlan, make_network, run_layers, train_network
from logitmix_nlp.reports.plots.density import DensityMap

__all__ = ["density_of_epoch", "group_means", "joint_density", "logits_by_epoch"]

STEPS = 100


def group_means(
    rows: RowConfidences, group_size: int, groups: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and accuracy of groups of rows, drawn with replacement.

    One row is right or wrong; a group has an accuracy, and by how much groups differ is what a test set of that size
    would show.

    Args:
        rows (`RowConfidences`): Confidence and correctness of `N` rows.
        group_size (`int`): Rows of a group, at least 1.
        groups (`int`): Number of groups, at least 1.
        generator (`torch.Generator`): Of the draws.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Mean confidence and accuracy, each of shape `(groups,)`, in `[0, 1]`.

    Raises:
        ValueError: If a number is smaller than 1.
    """
    if group_size < 1 or groups < 1:
        raise ValueError(f"group_size and groups must be at least 1, got {group_size} and {groups}.")
    index = torch.randint(len(rows.correct), (groups, group_size), generator=generator)
    return rows.confidence[index].mean(1).numpy(), rows.correct[index].double().mean(1).numpy()


def joint_density(confidence: np.ndarray, accuracy: np.ndarray, smoothing: float = 0.015) -> np.ndarray:
    """Smoothed share of points in each of 101 x 101 cells of the unit square, around 0, 0.01, ..., 1 both ways.

    Args:
        confidence (`np.ndarray` of shape `(G,)`): In `[0, 1]`.
        accuracy (`np.ndarray` of shape `(G,)`): In `[0, 1]`.
        smoothing (`float`): Standard deviation of the Gaussian, reflected at the edges, that the shares are smoothed
            with.

    Returns:
        `np.ndarray` of shape `(101, 101)`: First axis accuracy, second confidence; sums to 1.
    """
    cells = [np.rint(STEPS * values).astype(int) for values in (accuracy, confidence)]
    shares = np.zeros((STEPS + 1, STEPS + 1))
    np.add.at(shares, tuple(cells), 1 / len(confidence))
    return ndimage.gaussian_filter(shares, smoothing * STEPS, mode="reflect")


def density_of_epoch(
    logits: torch.Tensor, labels: torch.Tensor, title: str, *, group_size: int = 100, groups: int = 4000, seed: int = 0
) -> DensityMap:
    """The density of one epoch's predictions.

    Args:
        logits (`torch.Tensor` of shape `(N, C)`): Logits of the evaluated rows.
        labels (`torch.Tensor` of shape `(N,)`): Their classes.
        title (`str`): Heading.
        group_size (`int`): See [`group_means`].
        groups (`int`): See [`group_means`].
        seed (`int`): Of the groups.
    """
    rows = row_confidences(logits, labels, from_logits=True)
    confidence, accuracy = group_means(rows, group_size, groups, torch.Generator().manual_seed(seed))
    means = rows.confidence.mean().item(), rows.correct.double().mean().item()
    return DensityMap(joint_density(confidence, accuracy), *means, title)


def logits_by_epoch(digits: Digits, method: FigureMethod, plan: TrainingPlan, epochs: list[int]) -> torch.Tensor:
    """Train a perceptron on digits and keep the logits of the test rows after some epochs.

    Args:
        digits (`Digits`): Training and test rows.
        method (`FigureMethod`): How to train.
        plan (`TrainingPlan`): Batches, learning rate and seed; its steps are ignored.
        epochs (`list[int]`): Epochs to keep, rising; training ends with the last one.

    Returns:
        `torch.Tensor` of shape `(E, N, 10)`: Logits.
    """
    network = make_network((PIXELS, 128, 128, CLASSES), plan.seed)
    per_epoch = -(-len(digits.train_x) // (plan.batch_size or len(digits.train_x)))
    wanted, kept = {epoch * per_epoch for epoch in epochs}, []

    @torch.no_grad()
    def keep(step: int) -> None:
        if step in wanted:
            kept.append(run_layers(network, digits.test_x))

    plan = plan._replace(steps=epochs[-1] * per_epoch)
    train_network(network, digits.train_x, digits.train_labels, method, plan, keep)
    return torch.stack(kept)
