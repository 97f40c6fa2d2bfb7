# SPDX-License-Identifier: Apache-2.0
"""The plots of a report, made from a grid of runs."""

from collections.abc import Mapping
from functools import partial

from glue_runs.report.differences import kept_predictions
from glue_runs.report.grid import ResultGrid, ScoreColumn
from glue_runs.runs.results import RunResult
from logitmix_nlp.functional.calibration import ConfidenceBins, confidence_bins
from logitmix_nlp.reports.page import Plot
from logitmix_nlp.reports.plots import CurvePanel, learning_curves, reliability_diagrams
from logitmix_nlp.reports.plots.curves import mean_curve

__all__ = ["learning_plots", "reliability_plots"]

PANEL_WIDTH, CURVES_WIDTH = 270, 400


def reliability_plots(grid: ResultGrid, n_bins: int) -> list[Plot]:
    """Reliability diagrams of each classification split: all methods that kept predictions, bins added over seeds."""
    plots = []
    for column in grid.columns:
        if column.task.label_names is None:
            continue
        diagrams = {grid.labels[method]: _added_bins(grid, column, method, n_bins) for method in grid.methods}
        diagrams = {name: bins for name, bins in diagrams.items() if bins is not None}
        if diagrams:
            title, width = (
                f"{column.title}: reliability of {', '.join(diagrams)}",
                PANEL_WIDTH * max(2, min(len(diagrams), 4)),
            )
            plots.append(Plot(column.title, title, partial(reliability_diagrams, diagrams), width))
    return plots


def learning_plots(grid: ResultGrid) -> list[Plot]:
    """Training loss by step, and the score by epoch where it was logged more than once, of each task."""
    plots, names = [], [grid.labels[method] for method in grid.methods]
    for task in grid.tasks:
        histories = {method: [_history(run) for run in grid.of(task, method).values()] for method in grid.methods}
        panels = [_panel(grid, histories, "training loss", "step", "loss", "loss", 1.0)]
        for column in grid.columns:
            if column.task is task:
                key = f"{column.prefix}_{column.score}"
                title, label = column.title, column.score.replace("_", " ") + ", in percent"
                panels.append(_panel(grid, histories, title, "epoch", key, label, 100.0))
        panels = [panel for panel in panels if panel.curves]
        if panels:
            title, width = f"{task.folder}: learning curves of {', '.join(names)}", CURVES_WIDTH * len(panels)
            draw = partial(learning_curves, panels, names=names)
            plots.append(Plot(task.folder, title, draw, width, narrow=len(panels) > 1))
    return plots


def _added_bins(grid: ResultGrid, column: ScoreColumn, method: str, n_bins: int) -> ConfidenceBins | None:
    kept = [kept_predictions(run, column.prefix) for run in grid.of(column.task, method).values()]
    bins = [confidence_bins(logits, labels, n_bins, from_logits=True) for _, labels, logits in filter(None, kept)]
    return ConfidenceBins(*(sum(parts) for parts in zip(*bins, strict=True))) if bins else None


def _history(run: RunResult) -> list[dict[str, float]]:
    try:
        return run.log_history()
    except FileNotFoundError:
        return []


def _panel(
    grid: ResultGrid, histories: Mapping[str, list], title: str, x: str, key: str, label: str, scale: float
) -> CurvePanel:
    curves = {}
    for method in grid.methods:
        series = [{row[x]: row[key] * scale for row in history if key in row} for history in histories[method]]
        curve = mean_curve([line for line in series if line])
        if curve is not None:
            curves[grid.labels[method]] = curve
    return CurvePanel(title, x, label, curves)
