# SPDX-License-Identifier: Apache-2.0
"""Figures that the LogitMix paper prints for GLUE, to stand beside our own."""

from dataclasses import dataclass

__all__ = ["CITATION", "COLUMNS", "TABLE_3", "PublishedScores"]

CITATION = (
    "D. Bang, K. Baek, J. Kim, Y. Jeon, J.-H. Kim, J. Kim, J. Lee, H. Shim: Logit Mixing Training for More Reliable "
    "and Accurate Prediction, IJCAI 2022, Table 3"
)
# Columns of Table 3 in its own order, and the GLUE task of each.
COLUMNS = ("MNLI-mm", "QQP", "QNLI", "SST-2", "CoLA", "STS-B", "MRPC", "RTE")


@dataclass(frozen=True)
class PublishedScores:
    """One row of Table 3: Matthews for CoLA, Spearman for STS-B, accuracy for the others, in percent.

    Args:
        model (`str`): `BERT-base` or `BERT-large`.
        method (`str`): Name of the method here: `vanilla`, `mixup` or `logitmix`.
        label (`str`): Name of the row in the paper.
        scores (`tuple` of `float`): One score per entry of `COLUMNS`.
        average (`float`): Average as printed.
        gains (`tuple` of `float`, *optional*): Printed gains over the better competitor, the average's last.
    """

    model: str
    method: str
    label: str
    scores: tuple[float, ...]
    average: float
    gains: tuple[float, ...] | None = None


TABLE_3 = (
    PublishedScores(
        model="BERT-base",
        method="vanilla",
        label="BERT-base (Devlin et al., 2018)",
        scores=(84.73, 91.25, 91.43, 93.12, 57.82, 89.43, 87.75, 68.95),
        average=83.06,
    ),
    PublishedScores(
        model="BERT-base",
        method="mixup",
        label="Mixup on BERT-base (Sun et al., 2020)",
        scores=(84.29, 91.15, 91.36, 93.12, 58.82, 89.44, 87.50, 67.87),
        average=82.94,
    ),
    PublishedScores(
        model="BERT-base",
        method="logitmix",
        label="LogitMix on BERT-base",
        scores=(84.73, 91.25, 91.58, 93.12, 58.85, 89.45, 87.50, 70.04),
        average=83.32,
        gains=(0.00, 0.00, 0.15, 0.00, 0.03, 0.01, -0.25, 1.09, 0.26),
    ),
    PublishedScores(
        model="BERT-large",
        method="vanilla",
        label="BERT-large (Devlin et al., 2018)",
        scores=(85.99, 90.20, 92.20, 92.89, 60.88, 89.9, 87.75, 73.29),
        average=84.14,
    ),
    PublishedScores(
        model="BERT-large",
        method="mixup",
        label="Mixup on BERT-large (Sun et al., 2020)",
        scores=(86.02, 90.09, 92.42, 92.66, 61.86, 90.02, 88.24, 73.29),
        average=84.33,
    ),
    PublishedScores(
        model="BERT-large",
        method="logitmix",
        label="LogitMix on BERT-large",
        scores=(86.10, 90.95, 92.60, 93.58, 63.89, 89.98, 89.22, 74.37),
        average=85.09,
        gains=(0.08, 0.75, 0.18, 0.69, 2.03, -0.04, 0.98, 1.08, 0.76),
    ),
)
