# SPDX-License-Identifier: Apache-2.0
"""The page of a study: what the rows answer, forest plots, a table per task and regime; and a summary for programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glue_runs.study.analysis import HIGHER_IS_BETTER, Comparison, compare, seeds_of
from glue_runs.study.plan import CHOICE, Rows, Study, chosen_rates
from glue_runs.study.rows import read_ensembles, read_rows
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.reports.plots.forest import ForestPanel, forest_plot
from logitmix_nlp.reports.tables import Column, Estimate, Table, estimate, to_markdown
from logitmix_nlp.whole_files import write_json, write_whole

__all__ = ["answer_lines", "forest_of", "summary", "task_tables", "write_page"]

NAMES = {
    "score": "score", "nll": "NLL", "after_nll": "NLL after T", "ece": "ECE", "after_ece": "ECE after T",
    "brier": "Brier", "oe": "OE", "aurc": "AURC", "auroc_confidence": "AUROC out-of-scope, confidence",
    "auroc_energy": "AUROC out-of-scope, energy", "fpr95_confidence": "FPR95 out-of-scope",
    "misspelt_accuracy": "accuracy, misspelt", "misspelt_after_nll": "NLL after T, misspelt",
}  # fmt: skip
COLUMNS = {
    "score": Column("score, %", "max", 100.0, 1),
    "nll": Column("NLL", "min", decimals=3),
    "after_nll": Column("NLL after T", "min", decimals=3),
    "ece": Column("ECE", "min", decimals=3),
    "after_ece": Column("ECE after T", "min", decimals=3),
    "aurc": Column("AURC", "min", decimals=4),
    "auroc_confidence": Column("AUROC out, confidence", "max", decimals=3),
    "auroc_energy": Column("AUROC out, energy", "max", decimals=3),
    "fpr95_confidence": Column("FPR95 out", "min", decimals=3),
    "misspelt_accuracy": Column("accuracy, misspelt, %", "max", 100.0, 1),
    "train_seconds": Column("training, processor s", decimals=0),
}
READING = "reading.md"


def write_page(study: Study, results: Path) -> None:
    """Write `README.md`, `summary.json` and a forest plot per question, light and dark, beside the rows in `results`.

    What a person made of the rows stands in `reading.md` there, and is put on top of the page.

    Raises:
        FileNotFoundError: If there are no rows, or the kept test rows of one are missing.
    """
    rows, folder = read_rows(results), results.parent
    if not rows:
        raise FileNotFoundError(f"{results} holds no rows yet: execute the study and collect them.")
    families = compare(study, rows, results)
    for name, comparisons in families.items():
        lines, panels = forest_of(comparisons)
        for style, suffix in (("light", ""), ("dark", "-dark")):
            target = folder / f"forest-{name}{suffix}.svg"
            if lines:
                forest_plot(lines, panels, target, study.values["analysis"]["families"][name]["question"], style=style)
            else:
                target.unlink(missing_ok=True)
    write_json(folder / "summary.json", summary(study, rows, families))
    reading = folder / READING
    text = reading.read_text(encoding="utf-8") if reading.is_file() else ""
    tables = task_tables(study, rows, read_ensembles(results))
    write_whole(folder / "README.md", _page(study, rows, families, tables, text))


def summary(study: Study, rows: Rows, families: Mapping[str, Sequence[Comparison]]) -> dict[str, Any]:
    """What a program may want to know: runs, learning rates, means over seeds, every comparison with its verdict."""
    summaries = {}
    for name, comparisons in families.items():
        about = study.values["analysis"]["families"][name]
        run = [one for one in comparisons if one.difference is not None]
        entries = [_entry(one) for one in run]
        summaries[name] = {
            "question": about["question"],
            "comparisons": entries,
            "not_run": len(comparisons) - len(run),
        }
    means = [
        {"task": task, "regime": regime, "method": method, "seeds": sorted(runs)}
        | {name: float(np.mean(values)) for name, values in _columns(runs).items()}
        for (task, regime, method), runs in sorted(seeds_of(study, rows).items())
    ]
    rates = chosen_rates(study, rows)
    return {"runs": len(rows), "learning_rates": rates, "means": means, "families": summaries}


def _columns(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each metric of the tables in all seeds of a method."""
    rows = runs.values()
    return {name: [row[name] for row in rows] for name in COLUMNS if all(name in row for row in rows)}


def _entry(one: Comparison) -> dict[str, Any]:
    """A comparison as `summary.json` holds it, where a metric is called `figure`."""
    values = {**vars(one), "difference": one.difference._asdict(), "verdict": one.verdict}
    return {"figure" if name == "metric" else name: value for name, value in values.items()}


def answer_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """One line per pair of methods and metric: where a difference was found, where not, and what is not run."""
    lines, waiting = [], []
    for method, reference in dict.fromkeys((one.method, one.reference) for one in comparisons):
        pair = [one for one in comparisons if (one.method, one.reference) == (method, reference)]
        run = [one for one in pair if one.difference is not None]
        missing = list(dict.fromkeys(_place(one) for one in pair if one.difference is None))
        if not run:
            waiting.append(f"{method} against {reference}")
            continue
        lines.append(f"- **{method}** against {reference}")
        for metric in dict.fromkeys(one.metric for one in run):
            told = "; ".join(_told(one) for one in run if one.metric == metric)
            lines.append(f"    - {NAMES[metric]}: {told}")
        lines += [f"    - not yet run: {'; '.join(missing)}"] if missing else []
    return lines + [f"- not yet run anywhere: {'; '.join(waiting)}"] * bool(waiting)


def forest_of(comparisons: Sequence[Comparison]) -> tuple[list[str], list[ForestPanel]]:
    """Lines and panels of the forest plot of one family; no lines if nothing of it is run."""
    known = {(one.task, one.regime, one.method, one.reference, one.metric): one for one in comparisons}
    shown = [one for one in comparisons if one.difference is not None and one.difference.low is not None]
    keys = list(dict.fromkeys((one.task, one.regime, one.method, one.reference) for one in shown))
    panels = []
    for metric in dict.fromkeys(one.metric for one in shown):
        drawn = [known[(*key, metric)] for key in keys]
        points = [None if one.difference is None else _point(one.difference) for one in drawn]
        side = "right" if metric in HIGHER_IS_BETTER else "left"
        marks = [one.verdict in ("better", "worse") for one in drawn]
        panels.append(ForestPanel(NAMES[metric], f"difference, {side} is better", points, marks))
    return [f"{task} ({regime}): {method} − {reference}" for task, regime, method, reference in keys], panels


def task_tables(study: Study, rows: Rows, ensembles: Mapping[tuple, Mapping[str, Any]]) -> list[Table]:
    """One table per task and regime: mean and deviation of each method over seeds, and below them `ensembles`."""
    seeds, tables = seeds_of(study, rows), []
    places = dict.fromkeys((task, regime) for task in study.values["tasks"] for regime in study.values["regimes"])
    for task, regime in places:
        methods = [name for name in study.values["methods"] if (task, regime, name) in seeds]
        if not methods:
            continue
        made = {name: seeds[task, regime, name] for name in methods}
        first = next(iter(made[methods[0]].values()))
        metrics = [metric for metric in COLUMNS if metric in first]
        body = [
            (name, tuple(estimate([row[metric] for row in found.values()]) for metric in metrics))
            for name, found in made.items()
        ]
        for name in methods:
            averaged = ensembles.get((task, regime, name, first["learning_rate"]))
            if averaged is not None:
                cells = tuple(Estimate(averaged[one], n=None) if one in averaged else None for one in metrics)
                body.append((f"{name}, {averaged['members']:.0f} seeds averaged", cells))
        title = (
            f"{task}, {int(first['classes'])} classes, {regime} labels per class: "
            f"{counted(int(first['train_rows']), 'training row')}, learning rate {first['learning_rate']:g}"
        )
        tables.append(
            Table(f"{task}_{regime}", title, "method", tuple(COLUMNS[name] for name in metrics), tuple(body))
        )
    return tables


def _page(
    study: Study, rows: Rows, families: Mapping[str, Sequence[Comparison]], tables: Sequence[Table], reading: str
) -> str:
    analysis, done = study.values["analysis"], len(rows)
    planned = len(_planned(study, rows))
    command = f"python -m glue_runs study {study.path.name}"
    parts = [
        f"# {study.values['title']}\n",
        f"[{study.path.name}]({study.path.name}) fixed data, splits, methods, seeds, budgets, comparisons and rules "
        f"before the first run. [results.csv](results.csv) holds every run, {done} of {planned} planned; "
        f"[summary.json](summary.json) every comparison. This page is made of them: `{command} --report true`; "
        f"`{command} --repeat 3` repeats three runs drawn by chance and compares their logits bit for bit.\n",
        *([reading] if reading else []),
        "## What was asked before the runs, and what the rows say\n",
        f"Differences are means over paired seeds, with 95% intervals of {analysis['resamples']} resamples of seeds "
        "and test rows together, and as a share of the reference. *Better* and *worse* are those whose p-value, "
        "corrected by Holm's method among the comparisons of the question that are judged so far, is below 0.05 and "
        f"whose sign is the same in all seeds; with fewer than {analysis['min_seeds']} seeds nothing is judged. From "
        "n seeds the bootstrap sees (n − 1)/n of the variance between seeds.\n",
    ]
    for name, comparisons in families.items():
        about = analysis["families"][name]
        parts.append(f"### ({name}) {about['question']}\n\nRule: {about['rule']}\n")
        if all(one.difference is None for one in comparisons):
            parts.append("Not yet run.\n")
            continue
        parts.append("\n".join(answer_lines(comparisons)) + "\n")
        if forest_of(comparisons)[0]:
            parts.append(
                f'<picture><source media="(prefers-color-scheme: dark)" srcset="forest-{name}-dark.svg">'
                f'<img src="forest-{name}.svg" alt="Differences and their intervals. {about["question"]}">'
                "</picture>\n\nFilled points: found. Hollow ones: not found, or too few seeds.\n"
            )
    parts.append(
        "## Every method\n\nMean and standard deviation over seeds. *Seeds averaged*: the mean of their "
        "probabilities, then a temperature; each seed was trained on rows of its own, so that an average has seen "
        "more labels than any single run.\n"
    )
    parts += map(to_markdown, tables)
    return "\n".join(parts)


def _planned(study: Study, rows: Rows) -> set[tuple]:
    """Runs that all blocks ask for, by task, regime, method, seed, and for a choice learning rate."""
    planned = set()
    for block in study.blocks:
        if CHOICE in block:
            place = tuple(block[CHOICE][name] for name in ("task", "regime", "method", "seed"))
            planned |= {(*place, rate) for rate in block[CHOICE]["learning_rates"][1:]} | {place}
        else:
            planned |= {
                (task, regime, method, seed)
                for task in block["tasks"]
                for regime in block["regimes"]
                for method in block["methods"]
                for seed in block["seeds"]
            }
    return planned


def _told(one: Comparison) -> str:
    """The place, the difference with its interval and share, and the verdict."""
    column = COLUMNS.get(one.metric, Column(one.metric, decimals=4))
    column = Column(column.title, scale=column.scale, decimals=max(column.decimals, 2), signed=True)
    value = one.difference
    ends = f" [{column.number(value.low)}, {column.number(value.high)}]" if value.low is not None else ""
    share = "" if one.relative is None else f", {Column('', scale=100, decimals=0, signed=True).number(one.relative)}%"
    seeds = counted(value.n, "seed")
    verdict = f"*{one.verdict}*" if one.verdict in ("better", "worse") else one.verdict
    return f"{_place(one)} {column.number(value.mean)}{ends}{share}, {seeds}: {verdict}"


def _place(one: Comparison) -> str:
    return f"{one.task} ({one.regime})"


def _point(value: Estimate) -> tuple[float, float, float] | None:
    return None if value.low is None else (value.mean, value.low, value.high)
