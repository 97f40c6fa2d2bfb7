# SPDX-License-Identifier: Apache-2.0
"""Small image classifiers, data and runs for the tests: random weights, CPU, no files."""

import tiny
import torch
import zoo

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.mixing.mixers import MIXERS
from logitmix_nlp.training.methods import MIX_METHODS

METHODS = tuple(
    name
    for name, row in MIX_METHODS.items()
    if row.mix_site.startswith("input") and MIXERS[row.mixer].exchanges != "input_ids"
)


def model(name: str, **config) -> torch.nn.Module:
    """Image classifier of one architecture, in training mode."""
    return zoo.build(name, **config).train()


def rows(name: str, count: int) -> list[dict]:
    """Images of the size that `name` takes, with labels."""
    pixels = zoo.batch(name, count)["pixel_values"]
    return [{"pixel_values": x, "labels": row % 3} for row, x in enumerate(pixels)]


def batch(name: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same rows as two tensors."""
    return zoo.batch(name, count)["pixel_values"], (torch.arange(count) % 3).to(tiny.device())


def trainer(output_dir, name: str, count: int = 8, data: list[dict] | None = None, **options) -> LogitMixTrainer:
    """Trainer of one architecture that takes plain gradient steps; `callbacks` and `model` may be given too."""
    extras = {key: options.pop(key) for key in ("callbacks", "processing_class", "eval_dataset") if key in options}
    classifier = options.pop("model") if "model" in options else model(name)
    settings = {"optim": "sgd", "max_grad_norm": 0.0, "per_device_train_batch_size": 4, **options}
    args = tiny.arguments(output_dir, **settings)
    return LogitMixTrainer(classifier, args, train_dataset=rows(name, count) if data is None else data, **extras)
