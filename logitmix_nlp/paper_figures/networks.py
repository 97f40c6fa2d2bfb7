# SPDX-License-Identifier: Apache-2.0
"""Small networks and the digits they learn, for the figures: trained with the functional core, mixed at any layer."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from logitmix_nlp.functional.mixing import mix, sample_plan
from logitmix_nlp.functional.mixing_loss import mixing_loss_parts
from logitmix_nlp.mixing.mixers import MIXERS
from logitmix_nlp.mixing.rng import step_generator
from logitmix_nlp.training.methods import LossWeights, MixMethod, get_method

__all__ = [
    "CLASSES",
    "PIXELS",
    "Digits",
    "FigureMethod",
    "TrainingPlan",
    "load_digits",
    "make_network",
    "parse_figure_method",
    "run_layers",
    "train_network",
]

METHOD_HELP = "METHOD or METHOD@LAYERS: where it mixes; 0 is the input, `@0-2` draws one of three per step."


class FigureMethod(NamedTuple):
    """A training method and the layers at which it mixes.

    Args:
        name (`str`): As the user typed it.
        method (`MixMethod`): Its settings.
        layers (`tuple[int, ...]`): Layers behind which rows are mixed, one of them drawn per step; 0 is the input.
    """

    name: str
    method: MixMethod
    layers: tuple[int, ...]

    @property
    def label(self) -> str:
        """Name of the method and where it mixes, for readers."""
        if not self.method.mixes:
            return self.name
        place = f"layers {self.layers[0]} to {self.layers[-1]}" if len(self.layers) > 1 else f"layer {self.layers[0]}"
        return f"{self.name.partition('@')[0]}, {'input' if self.layers == (0,) else place}"


class TrainingPlan(NamedTuple):
    """How a network is trained.

    Args:
        steps (`int`): Optimizer steps, at least 1.
        batch_size (`int`, *optional*): Rows per step, reshuffled every epoch; `None` takes all rows in every step.
        learning_rate (`float`): Highest rate of Adam; falls to 0 along a cosine.
        seed (`int`): Of the weights, the order, the pairs and λ.
        mix_alpha (`float`, *optional*): α of λ ~ Beta(α, α); `None` takes the method's own.
    """

    steps: int
    batch_size: int | None = None
    learning_rate: float = 5e-3
    seed: int = 1
    mix_alpha: float | None = None


def parse_figure_method(text: str, depth: int) -> FigureMethod:
    """Read `METHOD` or `METHOD@LAYERS`, such as `logitmix@1` or `manifold_mixup@0-2`.

    Without layers, `manifold_mixup` draws one of the first three (Verma et al., 2019), and the others mix the input.

    Args:
        text (`str`): What to read.
        depth (`int`): Hidden layers of the network.

    Raises:
        ValueError: If the method is unknown, needs images or a second head, or the layers are none of this network.
    """
    name, separator, place = text.partition("@")
    method = get_method(name)
    if MIXERS[method.mixer].exchanges:
        raise ValueError(f"{name} mixes regions of images or texts, and points have none: choose another method.")
    if method.lamix_beta < 1:
        raise ValueError(f"{name} trains a second head, which these small networks lack: choose another method.")
    if not separator:
        return FigureMethod(text, method, tuple(range(min(3, depth + 1))) if name == "manifold_mixup" else (0,))
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", place)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not method.mixes or not first <= last <= depth:
        raise ValueError(
            f"{text!r}: expected METHOD, METHOD@LAYER or METHOD@FIRST-LAST with layers 0 (the input) to {depth} and a "
            "method that mixes."
        )
    return FigureMethod(text, method, tuple(range(first, last + 1)))


def make_network(sizes: Sequence[int], seed: int) -> nn.ModuleList:
    """A multilayer perceptron: linear layers, with ReLU behind all but the last.

    Args:
        sizes (`Sequence[int]`): Width of the input, of each hidden layer, and of the output.
        seed (`int`): Of the weights; the global random numbers stay as they are.

    Returns:
        `nn.ModuleList`: One module per layer, for [`run_layers`].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:], strict=True)]
    return nn.ModuleList([nn.Sequential(layer, nn.ReLU()) for layer in layers[:-1]] + layers[-1:])


def run_layers(network: nn.ModuleList, x: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Pass rows of shape `(B, ...)` through the layers `start` to `stop`, which is not among them."""
    for layer in network[start:stop]:
        x = layer(x)
    return x


def train_network(
    network: nn.ModuleList,
    x: torch.Tensor,
    labels: torch.Tensor,
    method: FigureMethod,
    plan: TrainingPlan,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Train in place with `L = w_mix L_mix + w_cls L_cls + w_sim L_sim` (LogitMix, Eq. 3), rows mixed at a layer.

    Args:
        network (`nn.ModuleList`): From [`make_network`].
        x (`torch.Tensor` of shape `(N, D)`): Training rows.
        labels (`torch.Tensor` of shape `(N,)`): Their classes.
        method (`FigureMethod`): Weights, α and layers.
        plan (`TrainingPlan`): Steps, batches, learning rate, seed.
        after_step (`Callable`, *optional*): Called with the number of steps done, after each.

    Raises:
        ValueError: If there are no steps or no rows in a batch.
    """
    if plan.steps < 1 or (plan.batch_size is not None and plan.batch_size < 1):
        raise ValueError(f"steps and batch_size must be at least 1, got {plan.steps} and {plan.batch_size}.")
    optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.steps)
    batches: list[torch.Tensor] = []
    for step in range(plan.steps):
        generator = step_generator(plan.seed, step, 0)
        if not batches:
            order = torch.randperm(len(x), generator=generator)
            batches = list(order.split(plan.batch_size or len(x)))
        rows = batches.pop()
        loss = _loss(network, x[rows], labels[rows], method, plan.mix_alpha, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if after_step is not None:
            after_step(step + 1)


def _loss(
    network: nn.ModuleList,
    x: torch.Tensor,
    labels: torch.Tensor,
    method: FigureMethod,
    alpha: float | None,
    generator: torch.Generator,
) -> torch.Tensor:
    row = method.method
    weights = LossWeights(row.mix_weight, row.cls_weight, row.sim_weight, row.penalty_weight)
    clean, mixed, plan = run_layers(network, x) if weights.needs_clean else None, None, None
    if weights.needs_mixed:
        plan = sample_plan(len(x), row.mix_alpha if alpha is None else alpha, generator=generator)
        layer = method.layers[int(torch.randint(len(method.layers), (), generator=generator))]
        mixed = run_layers(network, mix(run_layers(network, x, 0, layer), plan), layer)
    parts = mixing_loss_parts(
        clean, mixed, labels, plan, **weights.as_dict(), label_smoothing=row.label_smoothing_factor
    )
    return sum(parts.values())


PIXELS, CLASSES, ROWS = 64, 10, 1797


class Digits(NamedTuple):
    """A split of the digits.

    Args:
        train_x (`torch.Tensor` of shape `(N, 64)`): Pixels of the training rows, in `[0, 1]`.
        train_labels (`torch.Tensor` of shape `(N,)`): Their digits.
        test_x (`torch.Tensor` of shape `(1797 - N, 64)`): Pixels of all others.
        test_labels (`torch.Tensor` of shape `(1797 - N,)`): Their digits.
    """

    train_x: torch.Tensor
    train_labels: torch.Tensor
    test_x: torch.Tensor
    test_labels: torch.Tensor


def load_digits(train_rows: int, seed: int) -> Digits:
    """Split the digits at random.

    Args:
        train_rows (`int`): Rows to train on, from 1 to 1796.
        seed (`int`): Of the split.

    Raises:
        ValueError: If there are not that many rows.
    """
    if not 1 <= train_rows < ROWS:
        raise ValueError(f"train_rows must be from 1 to {ROWS - 1}, got {train_rows}.")
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed))
    x, y = torch.from_numpy(pixels).float()[order] / 16, torch.from_numpy(labels).long()[order]
    return Digits(x[:train_rows], y[:train_rows], x[train_rows:], y[train_rows:])
