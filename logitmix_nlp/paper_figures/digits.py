# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels (UCI, Alpaydin and Kaynak, 1998)."""

from typing import NamedTuple

import torch

__all__ = ["CLASSES", "PIXELS", "Digits", "load_digits"]

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
