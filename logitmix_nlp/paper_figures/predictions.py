# SPDX-License-Identifier: Apache-2.0
"""Predictions in files: of one model, or of each epoch of a run."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import EvalPrediction

__all__ = ["EpochLogits", "EpochPredictions", "named_paths", "read_epochs", "read_predictions"]


class EpochPredictions(NamedTuple):
    """Predictions of the same rows after several epochs.

    Args:
        logits (`torch.Tensor` of shape `(E, N, C)`): Logits.
        labels (`torch.Tensor` of shape `(N,)`): True classes.
        epochs (`tuple[float, ...]`): Epochs done, of length `E`.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    epochs: tuple[float, ...]


class EpochLogits:
    """Keeps the logits of every evaluation of a Trainer, for the joint density of confidence and accuracy.

    Pass it as `compute_metrics`, with `eval_strategy="epoch"`, and call [`save`] after training.

    Args:
        compute_metrics (`Callable`, *optional*): What computes the metrics; `None` computes none.
    """

    def __init__(self, compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None):
        self.compute_metrics = compute_metrics
        self.logits: list[np.ndarray] = []
        self.labels: np.ndarray | None = None

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Keep the logits and compute the metrics."""
        self.logits.append(np.array(prediction.predictions))
        self.labels = np.array(prediction.label_ids)
        return {} if self.compute_metrics is None else self.compute_metrics(prediction)

    def save(self, path: str | Path, epochs: Sequence[float] | None = None) -> None:
        """Write what [`read_epochs`] reads.

        Args:
            path (`str` or `Path`): File to write, `.npz`.
            epochs (`Sequence[float]`, *optional*): Epoch of each evaluation; `None` counts 1, 2, ...

        Raises:
            ValueError: If nothing was evaluated, evaluations were of different rows, or `epochs` does not fit.
        """
        shapes = {logits.shape for logits in self.logits}
        if len(shapes) != 1:
            raise ValueError(f"Expected evaluations of the same rows, got logits of shapes {sorted(shapes)}.")
        epochs = range(1, len(self.logits) + 1) if epochs is None else epochs
        if len(epochs) != len(self.logits):
            raise ValueError(f"epochs must hold {len(self.logits)} numbers, one per evaluation, got {len(epochs)}.")
        np.savez(path, logits=np.stack(self.logits), labels=self.labels, epochs=np.array(epochs, dtype=np.float64))


def named_paths(texts: Sequence[str]) -> dict[str, Path]:
    """Read `NAME=PATH`, or `PATH`, which is named after its file, or its folder if the file is called as all are.

    Raises:
        ValueError: If two have the same name.
    """
    paths: dict[str, Path] = {}
    for text in texts:
        name, separator, place = text.partition("=")
        path = Path(place if separator else text)
        if not separator:
            full = path.resolve()
            name = full.parent.name if full.stem.endswith(("predictions", "trainer_state")) else full.stem
        if name in paths:
            raise ValueError(f"Two inputs are named {name!r}: name them yourself, as NAME=PATH.")
        paths[name] = path
    return paths


def read_predictions(path: str | Path) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Logits (or probabilities) `(N, C)` and labels `(N,)` of one model, and whether they are logits.

    Args:
        path (`str` or `Path`): `.npz` with arrays `logits` or `probs`, and `labels`; or `.parquet` with columns
            `logits` and `label`, as `run_glue.py --save_predictions` writes it.

    Returns:
        `tuple`: Scores, labels, and `True` for logits, by the name of the array; logits win if there are both.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, or lacks one of them.
    """
    if Path(path).suffix.lower() == ".parquet":
        return (*_from_parquet(path), True)
    arrays = _npz(path)
    name = next((name for name in ("logits", "probs") if name in arrays), None)
    if name is None or "labels" not in arrays:
        raise ValueError(f"{path}: expected arrays 'logits' (or 'probs') and 'labels', found {_listed(arrays)}.")
    return torch.from_numpy(arrays[name]), torch.from_numpy(arrays["labels"]), name == "logits"


def read_epochs(path: str | Path) -> EpochPredictions:
    """Predictions of each epoch from an `.npz` with `logits (E, N, C)`, `labels (N,)` and, if given, `epochs (E,)`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the arrays are missing or do not fit.
    """
    arrays = _npz(path)
    missing = [name for name in ("logits", "labels") if name not in arrays]
    if missing or arrays["logits"].ndim != 3 or not len(arrays["logits"]):
        raise ValueError(
            f"{path}: expected arrays 'logits' of shape (epochs, rows, classes) and 'labels' of shape (rows,), found "
            f"{_listed(arrays)}."
        )
    logits, labels = arrays["logits"], arrays["labels"]
    epochs = arrays.get("epochs", np.arange(1.0, len(logits) + 1))
    if len(epochs) != len(logits):
        raise ValueError(f"{path}: {len(epochs)} epochs for logits of {len(logits)}.")
    return EpochPredictions(torch.from_numpy(logits), torch.from_numpy(labels), tuple(map(float, epochs)))


def _npz(path: str | Path) -> dict[str, np.ndarray]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: neither an .npz file, as numpy.savez writes it, nor .parquet.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no .npz file of arrays of numbers ({error}).") from error


def _from_parquet(path: str | Path) -> tuple[torch.Tensor, torch.Tensor]:
    import pyarrow
    from pyarrow import parquet

    try:
        rows: Any = parquet.read_table(path, columns=["label", "logits"])
        logits, labels = np.stack(rows["logits"].to_numpy()), rows["label"].to_numpy()
    except (pyarrow.ArrowException, KeyError) as error:
        raise ValueError(f"{path}: no Parquet file with columns 'label' and 'logits' ({error}).") from error
    return torch.from_numpy(logits), torch.from_numpy(labels.copy())


def _listed(arrays: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
