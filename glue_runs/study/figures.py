# SPDX-License-Identifier: Apache-2.0
"""Every figure of a run, from the logits that it kept."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp

from glue_runs.tasks.scores import score_rows
from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.evaluation.figures import calibration_figures
from logitmix_nlp.functional import ood_metrics

__all__ = ["kept_columns", "run_figures", "validation_figures"]

PLAIN = ("accuracy", "nll", "brier", "ece", "oe", "aurc")
AFTER = ("nll", "brier", "ece", "oe", "aurc")
OUTSIDE = ("auroc_confidence", "fpr95_confidence", "auroc_energy", "fpr95_energy")
MISSPELT = ("accuracy", "nll", "ece", "aurc")


def run_figures(
    logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], score: str, n_bins: int = 15
) -> dict[str, float]:
    """All figures of a run.

    Args:
        logits (`Mapping[str, np.ndarray]`): Logits `(N, C)` of `validation`, `test`, `misspelt` and perhaps `outside`.
        labels (`Mapping[str, np.ndarray]`): Class ids `(N,)` of each of them but `outside`.
        score (`str`): The task's score, a name of `glue_runs.tasks.scores.SCORES`.
        n_bins (`int`): Confidence bins of ECE and OE.

    Returns:
        `dict[str, float]`: `score` and, of the test rows, `accuracy`, `nll`, `brier`, `ece`, `oe`, `aurc`; the
        `temperature` fitted on the validation rows, and the same figures after it with the prefix `after_`; with
        the prefix `misspelt_` some of misspelt test rows, `misspelt_after_nll` after the same temperature;
        `auroc_S` and `fpr95_S` against the rows outside, `S` being `confidence` and `energy`, and
        `after_auroc_confidence`.
    """
    scaler = TemperatureScaler().fit(logits["validation"], labels["validation"])
    test = _figures(logits["test"], labels["test"], n_bins)
    after = _figures(scaler.transform(logits["test"]), labels["test"], n_bins)
    misspelt = _figures(logits["misspelt"], labels["misspelt"], n_bins)
    misspelt_after = _figures(scaler.transform(logits["misspelt"]), labels["misspelt"], n_bins)
    found = {"score": _score(logits["test"], labels["test"], score)}
    found |= {name: test[name] for name in PLAIN}
    found |= {"temperature": scaler.temperature} | {f"after_{name}": after[name] for name in AFTER}
    found |= {f"misspelt_{name}": misspelt[name] for name in MISSPELT}
    found["misspelt_after_nll"] = misspelt_after["nll"]
    if "outside" in logits:
        outside = ood_metrics(logits["test"], logits["outside"])
        found |= {name: float(outside[name]) for name in OUTSIDE}
        scaled = ood_metrics(scaler.transform(logits["test"]), scaler.transform(logits["outside"]))
        found["after_auroc_confidence"] = float(scaled["auroc_confidence"])
    return found


def validation_figures(logits: np.ndarray, labels: np.ndarray, score: str) -> dict[str, float]:
    """`score` and `nll` of the validation rows, by which a learning rate is chosen."""
    return {"score": _score(logits, labels, score), "nll": _figures(logits, labels, 15)["nll"]}


def _score(logits: np.ndarray, labels: np.ndarray, score: str) -> float:
    return score_rows(logits.argmax(axis=1), labels, [score], logits.shape[1])[score]


def _figures(logits: np.ndarray, labels: np.ndarray, n_bins: int) -> dict[str, float]:
    found = calibration_figures(torch.from_numpy(logits), torch.from_numpy(labels), n_bins)
    return {name: float(value) for name, value in found.items()}


def kept_columns(logits: Mapping[str, np.ndarray], temperature: float) -> dict[str, np.ndarray]:
    """What an analysis needs of the test rows of a run, in about 8 bytes a row.

    Args:
        logits (`Mapping[str, np.ndarray]`): Logits of `test` and perhaps `outside`, and `test_labels`.
        temperature (`float`): Fitted on the validation rows.

    Returns:
        `dict[str, np.ndarray]`: `label` and `predicted` class, `after_nll` (nats, after the temperature),
        `confidence` as `log p / (1 - p)` of the largest probability and `energy`, all `(N,)`; of the rows outside
        `outside_confidence` and `outside_energy`. Class ids are integers, the others float16: three digits.
    """
    test, labels = logits["test"], logits["test_labels"]
    kind = np.min_scalar_type(test.shape[1])
    found = {"label": labels.astype(kind), "predicted": test.argmax(axis=1).astype(kind)}
    scaled = log_softmax(test.astype(np.float64) / temperature, axis=1)
    found["after_nll"] = -scaled[np.arange(len(labels)), labels]
    for prefix, rows in (("", test), ("outside_", logits.get("outside"))):
        if rows is not None:
            ordered = np.sort(rows.astype(np.float64), axis=1)
            found[f"{prefix}confidence"] = ordered[:, -1] - logsumexp(ordered[:, :-1], axis=1)
            found[f"{prefix}energy"] = -logsumexp(ordered, axis=1)
    return {
        name: values.astype(np.float16) if values.dtype == np.float64 else values for name, values in found.items()
    }
