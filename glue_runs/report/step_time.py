# SPDX-License-Identifier: Apache-2.0
"""How long a training step takes, beside those of other methods, on a machine that may do other things as well."""

import statistics
import time
from collections.abc import Mapping

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

__all__ = ["StepClock", "seconds_per_step"]


class StepClock(TrainerCallback):
    """Notes how long each optimizer step takes: forward, backward and update, without the loading of the batch."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs):
        """Start the clock."""
        self.start = _now()

    def on_step_end(self, args, state, control, **kwargs):
        """Stop it."""
        self.seconds.append(_now() - self.start)


def seconds_per_step(trainers: Mapping[str, Trainer], steps: int = 4, rounds: int = 9) -> dict[str, float]:
    """Time a training step of each trainer; all take turns, so that what slows the machine down slows them alike.

    A turn is a short training from where the model stands: one step to warm up, then `steps` that are timed, of which
    the mean is taken, as a method may do other things at other steps. Trainers are compared within a round, and the
    median of that over the rounds counts, which no burst of other work moves. The models are trained on by this:
    measure what else is wanted before.

    Args:
        trainers (`Mapping[str, Trainer]`): By name; the first one is what the others are compared with.
        steps (`int`): Timed steps of a turn; an even number is fair to methods that mix every other step.
        rounds (`int`): Turns of each trainer, at least 1.

    Returns:
        `dict[str, float]`: Seconds, by name.
    """
    turns: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        trainer.args.max_steps = steps + 1
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
    for _ in range(rounds):
        for name, trainer in trainers.items():
            clock = StepClock()
            trainer.add_callback(clock)
            trainer.train()
            trainer.remove_callback(clock)
            turns[name].append(statistics.fmean(clock.seconds[1:]))
    first = next(iter(turns.values()))
    unit = statistics.median(first)
    ratios = {name: [one / base for one, base in zip(found, first, strict=True)] for name, found in turns.items()}
    return {name: unit * statistics.median(found) for name, found in ratios.items()}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
