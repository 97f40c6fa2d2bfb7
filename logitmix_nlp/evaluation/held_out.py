# SPDX-License-Identifier: Apache-2.0
"""Rows to fit a temperature on, none of which is among those that it is judged on, and the fit."""

import logging

import numpy as np
import torch

from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.data.lines import counted

__all__ = ["fit_temperature", "halves", "without_shared"]

FEW_ROWS = 100
logger = logging.getLogger(__name__)


def halves(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Two halves of the rows, drawn at random: one to fit on, one to evaluate on.

    Args:
        rows (`Rows`): At least 4 different ones.
        seed (`int`): Of the draw.

    Returns:
        `tuple[Rows, Rows]`: Rows of the same content are on the same side. The second holds half of the rows or more.

    Raises:
        ValueError: If there are too few rows.
    """
    groups: dict[object, list[int]] = {}
    for place, content in enumerate(rows.contents()):
        groups.setdefault(content, []).append(place)
    if len(groups) < 4:
        raise ValueError(
            f"{rows.origin} holds {counted(len(groups), 'different row')}, too few to fit a temperature on one half "
            "and to evaluate on the other: give --calibration_data."
        )
    members, fit = list(groups.values()), np.zeros(len(rows), dtype=bool)
    for group in np.random.default_rng(seed).permutation(len(members)):
        if fit.sum() + len(members[group]) <= len(rows) // 2:
            fit[members[group]] = True
    return rows.pick(np.flatnonzero(fit)), rows.pick(np.flatnonzero(~fit))


def without_shared(fitted: Rows, rows: Rows) -> tuple[Rows, int]:
    """Rows to fit on, without those whose content is also among the rows to evaluate on.

    Args:
        fitted (`Rows`): To fit on.
        rows (`Rows`): To evaluate on.

    Returns:
        `tuple[Rows, int]`: The others, and how many were left out, which is warned about.

    Raises:
        ValueError: If none is left.
    """
    taken = set(rows.contents())
    own = np.array([content not in taken for content in fitted.contents()])
    shared = int((~own).sum())
    if shared == len(fitted):
        raise ValueError(
            f"All {counted(shared, 'row')} of {fitted.origin} are also in {rows.origin}: a temperature is judged on "
            "other rows than it is fitted to; leave --calibration_data out to fit on one half of --data."
        )
    if shared:
        logger.warning(
            "%s of %s also in %s and left out of the fit.",
            counted(shared, "row"),
            f"{fitted.origin} {'is' if shared == 1 else 'are'}",
            rows.origin,
        )
    return fitted.pick(np.flatnonzero(own)), shared


def fit_temperature(logits: torch.Tensor, rows: Rows) -> TemperatureScaler:
    """Fit a temperature to the logits of labelled rows; fewer than 100 are warned about.

    Raises:
        ValueError: See [`TemperatureScaler.fit`]; names where the rows are from.
    """
    seen = ~logits.isnan().any(1)  # all but words without a token
    if seen.sum() < FEW_ROWS:
        logger.warning(
            "The temperature is fitted to %s of %s, and may be far off with fewer than %d: give more.",
            counted(int(seen.sum()), rows.unit),
            rows.origin,
            FEW_ROWS,
        )
    try:
        return TemperatureScaler().fit(logits[seen], rows.targets[seen.numpy()])
    except ValueError as error:
        raise ValueError(f"{rows.origin}: {error}") from error
