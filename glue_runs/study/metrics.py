# SPDX-License-Identifier: Apache-2.0
"""Every metric of a run, from the logits that it kept."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import log_softmax, logsumexp

from glue_runs.tasks.scores import score_rows
from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.functional import metric_values, ood_metrics

__all__ = ["kept_columns", "run_metrics", "validation_metrics"]

PLAIN = ("accuracy", "nll", "brier", "ece", "oe", "aurc")
AFTER = ("nll", "brier", "ece", "oe", "aurc")
OUTSIDE = ("auroc_confidence", "fpr95_confidence", "auroc_energy", "fpr95_energy")
MISSPELT = ("accuracy", "nll", "ece", "aurc")


def run_metrics(
    logits: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], score: str, n_bins: int = 15
) -> dict[str, float]:
    """All metrics of a run.

    Args:
        logits (`Mapping[str, np.ndarray]`): Logits `(N, C)` of `validation`, `test`, `misspelt` and perhaps `outside`.
        labels (`Mapping[str, np.ndarray]`): Class ids `(N,)` of each of them but `outside`.
        score (`str`): The task's score, a name of `glue_runs.tasks.scores.SCORES`.
        n_bins (`int`): Confidence bins of ECE and OE.

    Returns:
        `dict[str, float]`: `score` and, of the test rows, `accuracy`, `nll`, `brier`, `ece`, `oe`, `aurc`; the
        `temperature` fitted on the validation rows, and the same metrics after it with the prefix `after_`; with
        the prefix `misspelt_` some of misspelt test rows, `misspelt_after_nll` after the same temperature;
        `auroc_S` and `fpr95_S` against the rows outside, `S` being `confidence` and `energy`, and
        `after_auroc_confidence`.
    """
    scaler = TemperatureScaler().fit(logits["validation"], labels["validation"])

    def of(name: str, names: Sequence[str], after: bool = False) -> dict[str, float]:
        return metric_values(scaler.transform(logits[name]) if after else logits[name], labels[name], n_bins, names)

    metrics = {"score": _score(logits["test"], labels["test"], score), **of("test", PLAIN)}
    metrics |= {"temperature": scaler.temperature}
    metrics |= {f"after_{name}": value for name, value in of("test", AFTER, after=True).items()}
    metrics |= {f"misspelt_{name}": value for name, value in of("misspelt", MISSPELT).items()}
    metrics["misspelt_after_nll"] = of("misspelt", ["nll"], after=True)["nll"]
    if "outside" in logits:
        outside = ood_metrics(logits["test"], logits["outside"])
        metrics |= {name: float(outside[name]) for name in OUTSIDE}
        scaled = ood_metrics(scaler.transform(logits["test"]), scaler.transform(logits["outside"]))
        metrics["after_auroc_confidence"] = float(scaled["auroc_confidence"])
    return metrics


def validation_metrics(logits: np.ndarray, labels: np.ndarray, score: str) -> dict[str, float]:
    """`score` and `nll` of the validation rows, by which a learning rate is chosen."""
    return {"score": _score(logits, labels, score), **metric_values(logits, labels, names=["nll"])}


def _score(logits: np.ndarray, labels: np.ndarray, score: str) -> float:
    return score_rows(logits.argmax(axis=1), labels, [score], logits.shape[1])[score]


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
    columns = {"label": labels.astype(kind), "predicted": test.argmax(axis=1).astype(kind)}
    scaled = log_softmax(test.astype(np.float64) / temperature, axis=1)
    columns["after_nll"] = -scaled[np.arange(len(labels)), labels]
    for prefix, rows in (("", test), ("outside_", logits.get("outside"))):
        if rows is not None:
            ordered = np.sort(rows.astype(np.float64), axis=1)
            columns[f"{prefix}confidence"] = ordered[:, -1] - logsumexp(ordered[:, :-1], axis=1)
            columns[f"{prefix}energy"] = -logsumexp(ordered, axis=1)
    return {
        name: values.astype(np.float16) if values.dtype == np.float64 else values for name, values in columns.items()
    }
