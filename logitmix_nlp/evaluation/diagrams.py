# SPDX-License-Identifier: Apache-2.0
"""The pictures of a study. Needs matplotlib (`pip install logitmix-nlp[plots]`)."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from logitmix_nlp.evaluation.study import Study
from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.functional.ood import ood_scores
from logitmix_nlp.functional.selective import row_confidences
from logitmix_nlp.reports.page import Picture, drawn_picture
from logitmix_nlp.reports.plots import Curve, CurvePanel, learning_curves, reliability_diagrams

__all__ = ["INSIDE", "PICTURES", "Diagram", "make_diagrams", "require_matplotlib"]

INSIDE = "in distribution"
PICTURES = ("reliability", "risk_coverage", "confidence")
DIAGRAM_WIDTH, CURVES_WIDTH = 270, 520
CURVE_COLUMNS = 2
MAX_POINTS = 400  # of a curve
STEPS = 50  # of a cumulative share of rows
Draw = Callable[..., None]


class Diagram(NamedTuple):
    """A picture for the page, and the same as files.

    Args:
        picture (`Picture`): Light and dark.
        draw (`Callable`): Draws it to `(target, **options)`.
    """

    picture: Picture
    draw: Draw

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write it as PNG and SVG; return the files."""
        paths = [folder / f"{name}.png", folder / f"{name}.svg"]
        self.draw(paths[0])
        paths[1].write_bytes(self.picture.svg)
        return paths


def require_matplotlib() -> None:
    """Raise an `ImportError` that says what to do, before any work is done."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("Pictures need matplotlib: pip install logitmix-nlp[plots], or give --no_pictures.")


def make_diagrams(study: Study) -> dict[str, Diagram]:
    """Draw all pictures of a study.

    Args:
        study (`Study`): What was found.

    Returns:
        `dict[str, Diagram]`: `reliability`, `risk_coverage`, and `confidence` if there are rows from outside.

    Raises:
        ImportError: If matplotlib is missing.
    """
    wide, names = DIAGRAM_WIDTH * max(2, min(len(study.scores), 4)), ", ".join(study.scores)
    kept = "Error rate among the most confident rows"
    found = {
        "reliability": _diagram("Reliability", f"Reliability of {names}", _reliability(study), wide),
        "risk_coverage": _diagram("Risk and coverage", kept, _risk_coverage(study), CURVES_WIDTH),
    }
    if study.outside:
        words, wide = (
            "Share of rows by confidence, inside and outside",
            CURVES_WIDTH * min(CURVE_COLUMNS, len(study.scores)),
        )
        found["confidence"] = _diagram("Confidence inside and outside", words, _confidence(study), wide)
    return found


def _diagram(caption: str, title: str, draw: Draw, width: int) -> Diagram:
    return Diagram(drawn_picture(caption, title, draw, width, dark=True), draw)


def _reliability(study: Study) -> Draw:
    models = {
        name: confidence_bins(scores, study.labels, study.n_bins, from_logits=True)
        for name, scores in study.scores.items()
    }
    return lambda target, **options: reliability_diagrams(models, target, **options)


def _risk_coverage(study: Study) -> Draw:
    curves = {}
    for name, scores in study.scores.items():
        found = row_confidences(scores, study.labels, from_logits=True).risk_coverage()
        places = np.unique(np.linspace(0, len(found.coverage) - 1, MAX_POINTS).astype(int))
        curves[name] = Curve(found.coverage.numpy()[places], found.risk.numpy()[places])
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
