# SPDX-License-Identifier: Apache-2.0
"""Counter-based randomness: a draw depends on where training stands, never on what was drawn before.

So the sequence of plans is the same whether or not a run was interrupted, evaluated in between, or used other random
numbers, and nothing has to be saved in a checkpoint.
"""

import numpy as np
import torch

__all__ = ["AUGMENTATION", "MIXING", "START_VALUES", "step_generator"]

MIXING, AUGMENTATION, START_VALUES = 0, 1, 2  # purposes with streams of their own


def step_generator(
    seed: int, step: int, micro_step: int, rank: int | None = None, purpose: int = MIXING
) -> torch.Generator:
    """Generator for one forward pass, a pure function of its counters.

    Args:
        seed (`int`): Seed of the run, at least 0.
        step (`int`): Optimizer steps done so far, at least 0.
        micro_step (`int`): Position of the batch within the accumulation window, at least 0.
        rank (`int`, *optional*): Process, for draws that must differ between processes. `None` gives the stream that
            all processes share.
        purpose (`int`): What is drawn: `MIXING`, `AUGMENTATION` or `START_VALUES`.

    Returns:
        `torch.Generator`: On the CPU. Streams of different counters are independent.
    """
    counters = (seed, step, micro_step, 0 if rank is None else rank + 1, *([purpose] if purpose else []))
    state = np.random.SeedSequence(counters).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
