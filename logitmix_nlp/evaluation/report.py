# SPDX-License-Identifier: Apache-2.0
"""What a study looks like: tables, plots and one page. Plots need matplotlib (`pip install logitmix-nlp[plots]`)."""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.study import SHIFT_METRICS, Study
from logitmix_nlp.functional.bootstrap import Interval
from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.functional.entities import ENTITIES
from logitmix_nlp.functional.metrics import METRICS
from logitmix_nlp.functional.ood import ood_scores
from logitmix_nlp.functional.selective import row_confidences
from logitmix_nlp.reports.page import Plot, Report, Section, to_html
from logitmix_nlp.reports.plots import Curve, CurvePanel, learning_curves, reliability_diagrams
from logitmix_nlp.reports.tables import Column, Estimate, Table

__all__ = ["evaluation_report", "evaluation_tables", "make_plots", "require_matplotlib", "write_evaluation"]

INSIDE = "in distribution"
PLOTS = ("reliability", "risk_coverage", "confidence")
DIAGRAM_WIDTH, CURVES_WIDTH, CURVE_COLUMNS = 270, 520, 2
MAX_POINTS = 400  # of a curve
STEPS = 50  # of a cumulative share of rows
Draw = Callable[..., None]
OUTSIDE_METRICS = {
    "out_confidence": "mean confidence",
    "out_entropy": "mean entropy, nats",
    "auroc_confidence": "AUROC ↑",
    "fpr95_confidence": "FPR95 ↓",
    "auroc_entropy": "AUROC by entropy ↑",
    "fpr95_entropy": "FPR95 by entropy ↓",
    "auroc_energy": "AUROC by energy ↑",
    "fpr95_energy": "FPR95 by energy ↓",
}
GLOSSARY = (
    "ECE is the mean gap between confidence and accuracy over bins of equal width, adaptive ECE over bins of equal "
    "mass, MCE the largest gap, class-wise ECE the mean over the probabilities of all classes; OE counts "
    "over-confidence alone. NLL and Brier score judge the probabilities themselves. AUROC of confidence is the chance "
    "that a right prediction is more confident than a wrong one. AURC is the error rate when the least confident rows "
    "are left out, averaged over how many are."
)
DIAGRAMS = (
    "Blue bars are the accuracy of the rows in a bin of confidence, hatched parts its gap to their mean confidence. "
    "The second plot shows what is gained by leaving the least confident rows to someone else."
)


def evaluation_tables(study: Study, fitted_on: str = "") -> dict[str, Table]:
    """The tables of a study, `calibration` and `classes`, and `ood` and `shift` if there is something to show.

    `fitted_on` says which rows a temperature was fitted on; empty for none.
    """
    tables = {"calibration": _metric_table(study, fitted_on), "classes": _class_table(study)}
    if study.outside:
        tables["ood"] = _outside_table(study)
    if study.shifts:
        tables["shift"] = _shift_table(study)
    return tables


def require_matplotlib() -> None:
    """Raise an `ImportError` that says what to do, before any work is done."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("Plots need matplotlib: pip install logitmix-nlp[plots], or give --no_pictures.")


def make_plots(study: Study) -> dict[str, Plot]:
    """The plots of a study: `reliability`, `risk_coverage`, and `confidence` if there are rows from outside."""
    count, names = len(study.scores), ", ".join(study.scores)
    wide = DIAGRAM_WIDTH * max(2, min(count, 4))
    plots = {
        "reliability": Plot("Reliability", f"Reliability of {names}", _reliability(study), wide, dark=True),
        "risk_coverage": Plot(
            "Risk and coverage",
            "Error rate among the most confident rows",
            _risk_coverage(study),
            CURVES_WIDTH,
            dark=True,
        ),
    }
    if study.outside:
        words = "Share of rows by confidence, inside and outside"
        wide = CURVES_WIDTH * min(CURVE_COLUMNS, count)
        plots["confidence"] = Plot("Confidence inside and outside", words, _confidence(study), wide, dark=True)
    return plots


def evaluation_report(
    study: Study, title: str, facts: Sequence[tuple[str, str]], plots: Mapping[str, Plot], fitted_on: str = ""
) -> Report:
    """The page of a study: `facts` say what was evaluated on what, `plots` are those of [`make_plots`], or empty."""
    tables = evaluation_tables(study, fitted_on)
    sections = [Section("calibration", "Calibration", tables=(tables["calibration"],))]
    sections.append(Section("classes", "Class by class", tables=(tables["classes"],)))
    if plots:
        shown = (plots["reliability"], plots["risk_coverage"])
        sections.append(Section("diagrams", "Diagrams", DIAGRAMS, plots=shown))
    if study.outside:
        text = "A model that knows what it does not know is unsure of rows from elsewhere."
        shown = (plots["confidence"],) if plots else ()
        sections.append(Section("ood", "Out of distribution", text, (tables["ood"],), shown))
    if study.shifts:
        text = "The same rows and labels, with inputs made harder."
        sections.append(Section("shift", "Under shift", text, (tables["shift"],)))
    return Report(title, tuple(facts), tuple(sections))


def write_evaluation(
    folder: str | Path, report: Report, plots: Mapping[str, Plot], record: Mapping[str, Any]
) -> list[Path]:
    """Write and return `report.html`, `report.json` and each plot as PNG and SVG; plots of an earlier report go.

    `record` is what goes into the JSON file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"report.html": to_html(report), "report.json": json.dumps(record, indent=2, allow_nan=False) + "\n"}
    paths = [folder / name for name in texts]
    if paths[1].is_file():
        for name in PLOTS:
            for kind in (".png", ".svg"):
                (folder / f"{name}{kind}").unlink(missing_ok=True)
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8", newline="\n")
    for name, plot in plots.items():
        paths += [folder / f"{name}.png", folder / f"{name}.svg"]
        plot.draw(paths[-2])
        paths[-1].write_bytes(plot.svg())
    return paths


def _metric_table(study: Study, fitted_on: str) -> Table:
    variants = list(study.metrics)
    with_ends = any(one.low == one.low for intervals in study.metrics.values() for one in intervals.values())
    names = next(iter(study.metrics.values()))
    rows = [(_title(name), tuple(_estimate(study.metrics[variant][name]) for variant in variants)) for name in names]
    notes = [
        f"{counted(len(study.labels), study.unit)}, {counted(study.n_bins, 'bin')}; ↑ is better when higher, ↓ when "
        "lower.",
        GLOSSARY,
    ]
    if with_ends:
        drawn = "sentences" if study.unit == "word" else "rows"
        notes.append(
            f"In brackets: 95% bootstrap intervals over the {drawn}. Those of ECE, OE, adaptive and class-wise ECE "
            "are basic ones, cut off at 0: chance alone raises these metrics, and the interval is corrected for that "
            "where the value is not, so that the value may lie near the upper end or above it, which is then said. "
            "MCE has none: a bin of one row may decide it."
        )
    notes += [f"The temperature was fitted on {fitted_on}."] if fitted_on else []
    columns = tuple(Column(name, decimals=4, interval=with_ends) for name in variants)
    return Table("calibration", "Accuracy and calibration", "metric", columns, tuple(rows), tuple(notes))


def _class_table(study: Study) -> Table:
    titles = {"accuracy": "accuracy ↑", "f1": "F1 ↑", "ece": "ECE ↓"}
    several = len(study.classes) > 1
    columns = tuple(
        Column(f"{title}, {variant}" if several else title, decimals=4)
        for variant in study.classes
        for title in titles.values()
    )
    first = next(iter(study.classes.values()))
    rows = []
    for name, one in first.items():
        numbers = [by_class[name][key] for by_class in study.classes.values() for key in titles]
        cells = tuple(None if value is None else Estimate(value) for value in numbers)
        rows.append((f"{name} ({counted(one['rows'], 'row')})", cells))
    note = (
        "Accuracy of a class is the share of its rows that is predicted rightly; its ECE is the gap between its "
        "probability and how often rows are of it, over all rows. The means are balanced accuracy and class-wise ECE."
    )
    return Table("classes", "Class by class", "class", columns, tuple(rows), (note,))


def _outside_table(study: Study) -> Table:
    columns = tuple(Column(title, decimals=4) for title in OUTSIDE_METRICS.values())
    first = next(iter(study.outside.values()))
    rows = []
    for name, metrics in first.items():
        means = Estimate(metrics["in_confidence"]), Estimate(metrics["in_entropy"])
        rows.append((_row_name(INSIDE, name, study), (*means, *[None] * (len(columns) - 2))))
    rows += [
        (
            _row_name(data, name, study),
            tuple(Estimate(metrics[key]) if key in metrics else None for key in OUTSIDE_METRICS),
        )
        for data, by_variant in study.outside.items()
        for name, metrics in by_variant.items()
    ]
    sizes = ", ".join(f"{name} {len(next(iter(one.values())))}" for name, one in study.outside_scores.items())
    notes = (
        f"Rows: {INSIDE} {len(study.labels)}, {sizes}.",
        "AUROC is the chance that a row from inside is more confident than one from outside (0.5 is chance); FPR95 is "
        "the share of rows from outside that pass the threshold which 95% of those from inside pass.",
    )
    return Table("ood", "Rows from outside the training distribution", "data", columns, tuple(rows), notes)


def _shift_table(study: Study) -> Table:
    columns = tuple(Column(_title(name), decimals=4) for name in SHIFT_METRICS)
    rows = [
        (_row_name(shift, name, study), tuple(Estimate(metrics[key]) for key in SHIFT_METRICS))
        for shift, by_variant in study.shifts.items()
        for name, metrics in by_variant.items()
    ]
    note = "Labels of changed texts are those of the originals, which a changed word may contradict."
    changed = any(name.startswith("words") for name in study.shifts)
    return Table("shift", "Accuracy and calibration under shift", "shift", columns, tuple(rows), (note,) * changed)


def _title(name: str) -> str:
    if name in ENTITIES:
        return f"{ENTITIES[name]} ↑"
    return f"{METRICS[name].title} {'↑' if METRICS[name].best == 'max' else '↓'}"


def _row_name(data: str, variant: str, study: Study) -> str:
    return f"{data}: {variant}" if len(study.scores) > 1 else data


def _estimate(one: Interval) -> Estimate | None:
    if one.value != one.value:
        return None
    ends = (None, None) if one.low != one.low or one.high != one.high else (one.low, one.high)
    return Estimate(one.value, low=ends[0], high=ends[1])


def _reliability(study: Study) -> Draw:
    models = {
        name: confidence_bins(scores, study.labels, study.n_bins, from_logits=True)
        for name, scores in study.scores.items()
    }
    return lambda target, **options: reliability_diagrams(models, target, **options)


def _risk_coverage(study: Study) -> Draw:
    curves = {}
    for name, scores in study.scores.items():
        curve = row_confidences(scores, study.labels, from_logits=True).risk_coverage()
        places = np.unique(np.linspace(0, len(curve.coverage) - 1, MAX_POINTS).astype(int))
        curves[name] = Curve(curve.coverage.numpy()[places], curve.risk.numpy()[places])
    title, label = "risk and coverage", "error rate among them"
    panel = CurvePanel(title, "share of rows kept, the most confident first", label, curves)
    return lambda target, **options: learning_curves([panel], target, **options)


def _confidence(study: Study) -> Draw:
    """Share of rows at least that confident, inside and outside, one panel per variant."""
    at = np.linspace(0, 1, STEPS + 1)
    sets = {INSIDE: study.scores, **study.outside_scores}
    panels = []
    for variant in study.scores:
        curves = {
            name: Curve(at, (ood_scores(scores[variant]).confidence.numpy()[None] >= at[:, None]).mean(1))
            for name, scores in sets.items()
        }
        panels.append(CurvePanel(variant, "confidence", "share of rows at least that sure", curves))
    return lambda target, **options: learning_curves(
        panels, target, names=list(sets), **{"max_columns": CURVE_COLUMNS, **options}
    )
