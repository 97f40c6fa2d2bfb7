# SPDX-License-Identifier: Apache-2.0
"""Plots of calibration and training, in one style. Needs matplotlib (`pip install logitmix-nlp[plots]`)."""

from logitmix_nlp.reports.plots.curves import Curve, CurvePanel, learning_curves
from logitmix_nlp.reports.plots.forest import ForestPanel, forest_plot
from logitmix_nlp.reports.plots.grid import image_grid
from logitmix_nlp.reports.plots.reliability import reliability_diagrams
from logitmix_nlp.reports.plots.style import STYLES

__all__ = [
    "STYLES",
    "Curve",
    "CurvePanel",
    "ForestPanel",
    "forest_plot",
    "image_grid",
    "learning_curves",
    "reliability_diagrams",
]
