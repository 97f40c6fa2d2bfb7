# SPDX-License-Identifier: Apache-2.0
"""Pictures by their labels and colours: what a reader finds on them, not their pixels."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from logitmix_nlp.functional import confidence_bins
from logitmix_nlp.paper_figures.density import DensityMap, density_maps
from logitmix_nlp.paper_figures.entropy import entropy_panels
from logitmix_nlp.paper_figures.soft_targets import soft_target_panels
from logitmix_nlp.paper_figures.spiral import DecisionMap, decision_maps
from logitmix_nlp.reports import plots
from logitmix_nlp.reports.plots.style import STYLES

POINTS = (np.array([[0.0, 0.5], [0.5, -0.5]]), np.array([0, 1]))
SLOPE = np.tile(np.linspace(0, 1, 5), (5, 1))
DENSITY = np.eye(11) / 11


def bins():
    return confidence_bins(torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]), 5, from_logits=True)


DRAW = {
    "maps": lambda *a, **k: decision_maps({"mixup": DecisionMap(SLOPE, 1.0, *POINTS, "note")}, *a, **k),
    "density": lambda *a, **k: density_maps({"m": [DensityMap(DENSITY, 0.5, 0.6, "epoch 3")]}, *a, **k),
    "entropy": lambda *a, **k: entropy_panels(
        np.array([0.1, 1.0]),
        *np.array([[0.1, 0.5], [0.0, 0.2], [0.3, 0.6]]),
        {1.0: 0.5},
        {1.0: np.ones(4) / 4},
        *a,
        **k,
    ),
    "targets": lambda *a, **k: soft_target_panels(
        {"mixed": np.array([0.5, 0.25])}, {"targets": (np.eye(3), np.linspace(0, 1, 4))}, *a, **k
    ),
    "reliability": lambda *a, **k: plots.reliability_diagrams({"mixup": bins()}, *a, **k),
    "curves": lambda *a, **k: plots.learning_curves(
        [plots.CurvePanel("RTE", "step", "loss", {"mixup": plots.Curve(np.arange(3), np.arange(3))})], *a, **k
    ),
    "forest": lambda *a, **k: plots.forest_plot(
        ["here", "there"], [plots.ForestPanel("NLL", "difference", [(0.1, -0.1, 0.3), None], [True, False])], *a, **k
    ),
}
LABELS = {
    "maps": {
        "mixup\nnote",
        "$x_1$",
        "$x_2$",
        "probability of class 1",
        "class 0",
        "class 1",
        "probability 0.3 and 0.7",
    },
    "density": {"m", "mean confidence", "accuracy", "over-confident", "under-confident", "epoch 3", "perfect"},
    "entropy": {"α of Beta(α, α)", "entropy of a label (nats)", "α = 1", "mean, exact", "share of labels (4 bins)"},
    "targets": {"largest soft targets", "average value", "0.50", "0.25", "mixed", "targets", "epoch", "share of rows"},
    "reliability": {"confidence", "accuracy", "share of rows", "gap", "perfect"},
    "curves": {"RTE", "step", "loss", "mixup"},
    "forest": {"here", "there", "NLL", "difference"},
}


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are when they are saved, and the settings at that time."""
    found = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        found.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return found


def texts(figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(matplotlib.text.Text)}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", DRAW)
def test_labels_and_background(name, style, drawn):
    stream = io.BytesIO()
    DRAW[name](stream, "heading", style=style, file_format="png")
    (figure,) = drawn
    assert {"heading", *LABELS[name]} <= texts(figure)
    pixels = matplotlib.image.imread(io.BytesIO(stream.getvalue()))
    assert tuple(pixels[0, 0, :3]) == pytest.approx(matplotlib.colors.to_rgb(STYLES[style].paper), abs=0.01)
    assert (pixels[..., :3] != pixels[0, 0, :3]).any(-1).mean() > 0.02  # not empty
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert -0.02 <= box.x0 <= box.x1 <= width + 0.02  # nothing is cut
    assert -0.02 <= box.y0 <= box.y1 <= height + 0.02


def test_text_and_lines_stand_out_from_the_background():
    """Contrast of at least 4.5 for ink and 2.2 for every line (WCAG 2 relative luminance)."""

    def luminance(colour):
        rgb = np.array(matplotlib.colors.to_rgb(colour))
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    def contrast(one, other):
        dark, light = sorted((luminance(one), luminance(other)))
        return (light + 0.05) / (dark + 0.05)

    for theme in STYLES.values():
        assert contrast(theme.ink, theme.paper) > 4.5
        assert all(contrast(line, theme.paper) > 2.2 for line in (*theme.lines, theme.accuracy, theme.gap, theme.rows))


def test_settings_of_the_caller_neither_matter_nor_change():
    def curves():
        stream = io.BytesIO()
        DRAW["curves"](stream, file_format="svg")
        return stream.getvalue()

    expected, backend = curves(), matplotlib.get_backend()
    with matplotlib.rc_context({"axes.facecolor": "red", "lines.linewidth": 9, "font.size": 30}):
        assert curves() == expected
        assert matplotlib.rcParams["font.size"] == 30
    assert matplotlib.get_backend() == backend


def test_only_what_was_found_is_filled(drawn):
    panel = plots.ForestPanel("NLL", "", [(1, 0, 2), (2, 1, 3)], [True, False])
    plots.forest_plot(["one", "two"], [panel], io.BytesIO(), file_format="png")
    points = [line for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    theme = STYLES["light"]
    assert [(*line.get_xdata(), *line.get_ydata(), line.get_markerfacecolor()) for line in points] == [
        (1, 0, theme.accuracy),
        (2, 1, theme.paper),
    ]


def test_a_map_without_a_boundary_has_no_contours(drawn):
    one = DecisionMap(np.full((4, 4), 0.9), 1.0, *POINTS)
    decision_maps({"sure": one}, io.BytesIO(), file_format="png")
    assert not drawn[0].axes[0].collections


def test_panels_go_on_below(drawn):
    panel = plots.CurvePanel("RTE", "step", "loss", {"mixup": plots.Curve(np.arange(3), np.arange(3))})
    for count in (2, 3):
        plots.learning_curves([panel] * count, io.BytesIO(), max_columns=2, file_format="png")
    (width, height), (same_width, taller) = (figure.get_size_inches() for figure in drawn)
    assert (same_width, len(drawn[1].axes)) == (width, 3)
    assert taller - height == pytest.approx(2.9)


def test_bad_arguments():
    with pytest.raises(ValueError, match="style must be one of light, dark, got 'grey'"):
        DRAW["curves"](io.BytesIO(), style="grey", file_format="png")
    one = DecisionMap(SLOPE, 1.0, *POINTS)
    with pytest.raises(ValueError, match="zone must be two probabilities"):
        decision_maps({"m": one}, io.BytesIO(), zone=(0.7, 0.3))
    for draw in (
        lambda: decision_maps({}, io.BytesIO()),
        lambda: density_maps({"m": []}, io.BytesIO()),
        lambda: soft_target_panels({}, {}, io.BytesIO()),
        lambda: entropy_panels(*[np.ones(2)] * 4, {}, {}, io.BytesIO()),
        lambda: plots.forest_plot(["one"], [plots.ForestPanel("NLL", "", [], [])], io.BytesIO()),
    ):
        with pytest.raises(ValueError, match="at least one"):
            draw()
