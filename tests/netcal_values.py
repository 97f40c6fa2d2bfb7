# SPDX-License-Identifier: Apache-2.0
r"""What netcal says of rows that the tests make; netcal itself is too heavy for the tests (gpytorch, pyro).

pip install netcal==1.4.0 && PYTHONPATH=tests:. python tests/netcal_values.py > tests/netcal_values.json
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import torch

BINS = (10, 15)
EDGES = (((0.5, 0.55), (1, 1)), ((1.0, 1.0, 0.95, 0.95), (1, 0, 1, 1)), ((0.6, 0.65), (0, 1)))
VALUES = Path(__file__).with_suffix(".json")


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Float64 probabilities on no edge of a bin, and labels; 5000 rows fill 10 bins of equal mass."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5000, 6, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(6, (5000,), generator=generator)
    right = torch.rand(5000, generator=generator) < 0.6
    return logits.softmax(-1), torch.where(right, logits.argmax(1), labels)


def edge_rows(confidences: tuple[float, ...], classes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Two-class probabilities of given confidences, and labels."""
    confidence = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([1 - confidence, confidence], 1), torch.tensor(classes)


def fingerprint() -> float:
    """A number that is another one if the rows are."""
    probs, labels = rows()
    return float((probs[:, 0] * (1 + labels)).sum())


def measure() -> dict:
    """All values, with netcal."""
    from netcal.metrics import ECE, MCE

    probs, labels = (values.numpy() for values in rows())
    values: dict = {"netcal": importlib.metadata.version("netcal"), "fingerprint": fingerprint()}
    for bins in BINS:
        per_class = [ECE(bins).measure(probs[:, label], (labels == label).astype(int)) for label in range(6)]
        values[f"ece_{bins}"] = float(ECE(bins).measure(probs, labels))
        values[f"mce_{bins}"] = float(MCE(bins).measure(probs, labels))
        values[f"classwise_ece_{bins}"] = float(np.mean(per_class))
    values["adaptive_ece_10"] = float(ECE(10, equal_intervals=False).measure(probs, labels))
    values["edges"] = [float(ECE(10).measure(*(found.numpy() for found in edge_rows(*edge)))) for edge in EDGES]
    return values


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
