# SPDX-License-Identifier: Apache-2.0
"""Counter-based randomness: a draw depends on where training stands, never on what was drawn before.

So the sequence of plans is the same whether or not a run was interrupted, evaluated in between, or used other random
numbers, and nothing has to be saved in a checkpoint.
"""

import numpy as np
import torch

__all__ = ["step_generator"]


def step_generator(seed: int, step: int, micro_step: int, rank: int | None = None) -> torch.Generator:
    """Generator for one forward pass, a pure function of its four counters.

    Args:
        seed (`int`): Seed of the run, at least 0.
        step (`int`): Optimizer steps done so far, at least 0.
        micro_step (`int`): Position of the batch within the accumulation window, at least 0.
        rank (`int`, *optional*): Process, for draws that must differ between processes. `None` gives the stream that
            all processes share.

    Returns:
        `torch.Generator`: On the CPU. Streams of different counters are independent.
    """
    counters = (seed, step, micro_step, 0 if rank is None else rank + 1)
    state = np.random.SeedSequence(counters).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
