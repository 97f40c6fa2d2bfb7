# SPDX-License-Identifier: Apache-2.0
"""The comparisons that a study fixed before its runs: paired over seeds, bootstrapped, corrected within families."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glue_runs.report.statistics import bootstrap_scores, holm, resampled, resampled_differences, two_sided_p
from glue_runs.study.plan import Rows, Study, chosen_rates
from glue_runs.study.rows import columns_of
from logitmix_nlp.functional.bootstrap import Resampled, resampled_aurc, resampled_auroc, resampled_mean, value_of
from logitmix_nlp.reports.tables import Estimate, estimate

__all__ = ["HIGHER_IS_BETTER", "RESAMPLED", "Comparison", "compare", "seeds_of"]

HIGHER_IS_BETTER = ("score", "accuracy", "misspelt_accuracy", "auroc_confidence", "auroc_energy")
TOLERANCE = 2e-3  # how far a metric of the kept columns, of three digits, may be off that of the row
Cell = tuple[str, str, str]  # task, regime, method


@dataclass(frozen=True)
class Comparison:
    """One method against another on one task and regime, by one metric.

    Args:
        task (`str`): Task.
        regime (`str`): Regime.
        method (`str`): Method.
        reference (`str`): What it is compared with.
        metric (`str`): Name of the metric.
        difference (`Estimate`, *optional*): Mean of `method - reference` over the seeds that both have, with standard
            deviation and, if the metric is resampled, its interval; `None` if they share no seed.
        relative (`float`, *optional*): The difference as a share of the mean of `reference` over these seeds.
        p (`float`, *optional*): Two-sided p-value; `None` for metrics that are not resampled, or too few seeds.
        corrected (`float`, *optional*): The same, corrected by Holm's method within its family.
        agree (`bool`): Whether the difference has one sign in all seeds.
    """

    task: str
    regime: str
    method: str
    reference: str
    metric: str
    difference: Estimate | None = None
    relative: float | None = None
    p: float | None = None
    corrected: float | None = None
    agree: bool = False

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not found`; `not judged` without a p-value, `not run` without a shared seed."""
        if self.difference is None:
            return "not run"
        if self.corrected is None:
            return "not judged"
        if self.corrected >= 0.05 or not self.agree:
            return "not found"
        return "better" if (self.difference.mean > 0) == (self.metric in HIGHER_IS_BETTER) else "worse"


def seeds_of(study: Study, rows: Rows) -> dict[Cell, dict[int, Mapping[str, Any]]]:
    """Rows by task, regime and method, then seed; of each task only those of the learning rate that was chosen."""
    rates = chosen_rates(study, rows)
    seeds: dict[Cell, dict[int, Mapping[str, Any]]] = {}
    for row in rows.values():
        if rates.get(row["task"]) == row["learning_rate"]:
            seeds.setdefault((row["task"], row["regime"], row["method"]), {})[row["seed"]] = row
    return seeds


def compare(study: Study, rows: Rows, results: Path) -> dict[str, list[Comparison]]:
    """All comparisons of the study, by family.

    Args:
        study (`Study`): The study; its `analysis` says which comparisons, how many resamples, and from how many seeds
            on a comparison is judged.
        rows (`Mapping`): Rows by the digest of their plan.
        results (`Path`): CSV file beside which the columns of the test rows are kept.

    Returns:
        `dict[str, list[Comparison]]`: In the order of the file; also those of which nothing is run yet.

    Raises:
        FileNotFoundError: If the kept columns of a run are missing.
        ValueError: If kept columns do not give the metric of their row.
    """
    options, seeds = study.values["analysis"], seeds_of(study, rows)
    planned = {name: _planned(family) for name, family in options["families"].items()}
    every = [one for family in planned.values() for one in family]
    scores_of = _resample(every, seeds, study, results)
    compared = {}
    for name, family in planned.items():
        family = [_filled(one, _pair(one, seeds), scores_of, options) for one in family]
        judged = [place for place, one in enumerate(family) if one.p is not None]
        for place, p in zip(judged, holm([family[place].p for place in judged]), strict=True):
            family[place] = replace(family[place], corrected=p)
        compared[name] = family
    return compared


def _planned(family: Mapping[str, Any]) -> list[Comparison]:
    """The comparisons of a family, without their values."""
    return [
        Comparison(task, regime, method, reference, metric)
        for task, regimes in family["regimes"].items()
        for regime in ([regimes] if isinstance(regimes, str) else regimes)
        for method, reference in family["pairs"]
        for metric in family["figures"]
    ]


def _pair(one: Comparison, seeds: Mapping[Cell, Mapping[int, Any]]) -> list[tuple[Mapping[str, Any], ...]]:
    """Rows of method and reference at each seed at which both have the metric."""
    first, second = (seeds.get((one.task, one.regime, method), {}) for method in (one.method, one.reference))
    pairs = [(first[seed], second[seed]) for seed in sorted(set(first) & set(second))]
    return [pair for pair in pairs if all(one.metric in row for row in pair)]


def _filled(
    one: Comparison, pairs: Sequence[tuple[Mapping[str, Any], ...]], scores_of: Mapping[Any, np.ndarray], options: Any
) -> Comparison:
    """The comparison with its values, but for the corrected p-value."""
    if not pairs:
        return one
    differences = [first[one.metric] - second[one.metric] for first, second in pairs]
    difference, base = estimate(differences), np.mean([second[one.metric] for _, second in pairs])
    agree = min(differences) > 0 or max(differences) < 0
    one = replace(one, difference=difference, relative=float(difference.mean / base) if base else None, agree=agree)
    if one.metric not in RESAMPLED:
        return one
    scores = [
        np.stack([scores_of[row["plan"], one.metric] for row in side], axis=1) for side in zip(*pairs, strict=True)
    ]
    draws, tail = resampled_differences(*scores), (1 - options["level"]) / 2
    low, high = (float(end) for end in np.quantile(draws, [tail, 1 - tail]))
    p = two_sided_p(draws) if len(pairs) >= options["min_seeds"] else None
    return replace(one, difference=difference._replace(low=low, high=high), p=p)


def _resample(
    comparisons: Sequence[Comparison], seeds: Mapping[Cell, Mapping[int, Any]], study: Study, results: Path
) -> dict[tuple[str, str], np.ndarray]:
    """Scores `(B,)` by plan and metric of all runs that are compared, on the same resamples for all runs of a task."""
    groups: dict[tuple, dict[tuple[str, str], Resampled]] = {}
    for one in comparisons:
        if one.metric not in RESAMPLED:
            continue
        for row in (row for pair in _pair(one, seeds) for row in pair):
            columns = columns_of(results, row["plan"])
            sizes = [len(columns["label"])]
            if one.metric.startswith("auroc"):
                sizes.append(len(columns["outside_energy"]))
            group = groups.setdefault((one.task, *sizes), {})
            if (row["plan"], one.metric) not in group:
                scorer = RESAMPLED[one.metric](columns, study.values["tasks"][one.task]["score"])
                _check(value_of(scorer, sum(sizes)), row, one.metric, results)
                group[row["plan"], one.metric] = scorer
    differences = {}
    for (_, *sizes), scorers in groups.items():
        scores = bootstrap_scores(list(scorers.values()), sizes, study.values["analysis"]["resamples"])
        differences |= dict(zip(scorers, scores.T, strict=True))
    return differences


def _check(value: float, row: Mapping[str, Any], metric: str, results: Path) -> None:
    """Refuse kept columns that do not give the metric of their row."""
    if abs(value - row[metric]) > TOLERANCE * max(1.0, abs(row[metric])):
        raise ValueError(
            f"{results}: {metric} of {row['task']}, {row['method']}, seed {row['seed']} is {row[metric]:.4f}, but its "
            f"kept test rows give {value:.4f}; collect or repeat the run."
        )


def _score(columns: Mapping[str, np.ndarray], score: str) -> Resampled:
    labels, predicted = columns["label"].astype(np.int64), columns["predicted"].astype(np.int64)
    classes = max(2, int(max(labels.max(), predicted.max())) + 1)
    return resampled(score, np.eye(classes, dtype=np.float32)[predicted], labels)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64))


def _aurc(columns: Mapping[str, np.ndarray], score: str) -> Resampled:
    return resampled_aurc(_tensor(columns["confidence"]), _tensor(columns["label"] == columns["predicted"]))


def _auroc(name: str, sign: int) -> Callable[[Mapping[str, np.ndarray], str], Resampled]:
    """Chance that a row inside has a higher score than one outside, ties counting half."""

    def maker(columns: Mapping[str, np.ndarray], score: str) -> Resampled:
        inside, outside = (sign * _tensor(columns[column]) for column in (name, f"outside_{name}"))
        return resampled_auroc(torch.cat([inside, outside]), torch.arange(len(inside) + len(outside)) < len(inside))

    return maker


# Metric -> maker of its values on resamples, from the kept columns of a run and the name of its task's score.
RESAMPLED: Mapping[str, Callable[[Mapping[str, np.ndarray], str], Resampled]] = {
    "score": _score,
    "after_nll": lambda columns, score: resampled_mean(_tensor(columns["after_nll"])),
    "aurc": _aurc,
    "auroc_confidence": _auroc("confidence", 1),
    "auroc_energy": _auroc("energy", -1),
}
