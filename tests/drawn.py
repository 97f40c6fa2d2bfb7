# SPDX-License-Identifier: Apache-2.0
"""Watch what real trainers draw, or give them the same plan whatever their batches are."""

import torch

import logitmix_nlp.images.trainer as image_trainer_module
import logitmix_nlp.mixing.mixers as mixers_module
import logitmix_nlp.training.mixin as trainer_module
from logitmix_nlp.functional import MixPlan, PartialPlan
from logitmix_nlp.mixing import mixers

PLACES = {
    "plans": (mixers, "sample_plan"),
    "boxes": (mixers_module, "sample_boxes"),
    "grids": (mixers_module, "sample_grid"),
    "crops": (image_trainer_module, "sample_crop_flip"),
    "weights": (trainer_module, "step_weights"),
    "terms": (trainer_module, "mixing_loss_parts"),
}


def neighbours(rows, *args, share=1.0, **kwargs):
    """Pair rows 0-1, 2-3, … with λ .3, however rows are dealt to processes and batches, if each has an even number."""
    if share == 1:
        return MixPlan(torch.arange(rows) ^ 1, torch.full((rows,), 0.3))
    own = torch.arange(0, rows, 2)
    return PartialPlan(own ^ 1, torch.full(own.shape, 0.3), own)


def watch(patch) -> dict[str, list[tuple[tuple, dict, object]]]:
    """Positional arguments, keyword arguments and result of every call; `patch(module, name, function)`."""
    calls = {name: [] for name in PLACES}

    def spy(name, function):
        def watched(*args, **kwargs):
            result = function(*args, **kwargs)
            calls[name].append((args, kwargs, result))
            return result

        return watched

    for name, (module, attribute) in PLACES.items():
        patch(module, attribute, spy(name, getattr(module, attribute)))
    return calls


def results(calls: list[tuple]) -> list:
    """What was drawn, without what it was drawn from."""
    return [result for _, _, result in calls]
