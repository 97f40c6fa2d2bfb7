# SPDX-License-Identifier: Apache-2.0
import io
import sys

import numpy as np
import pytest
import torch

from logitmix_nlp.functional import confidence_bins
from logitmix_nlp.reports.plots import Curve, CurvePanel, learning_curves, reliability_diagrams
from logitmix_nlp.reports.plots.curves import MAX_POINTS, mean_curve
from logitmix_nlp.reports.plots.style import LINES


def bins(n_bins=5):
    logits = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.5, 0.0], [0.0, 2.0]])
    return confidence_bins(logits, torch.tensor([0, 0, 0, 1]), n_bins, from_logits=True)


def diagrams(count, **options) -> bytes:
    stream = io.BytesIO()
    reliability_diagrams({f"model {n}": bins() for n in range(count)}, stream, file_format="svg", **options)
    return stream.getvalue()


def curves(*names, **options) -> str:
    panel = CurvePanel("RTE", "epoch", "accuracy", {n: Curve(np.arange(3), np.arange(3), np.ones(3)) for n in names})
    stream = io.BytesIO()
    learning_curves([panel], stream, file_format="svg", **options)
    return stream.getvalue().decode()


def size(svg: bytes) -> tuple[float, float]:
    head = svg.decode().split("<svg", 1)[1].split(">", 1)[0]
    return tuple(float(head.split(f'{name}="')[1].split("pt")[0]) for name in ("width", "height"))


def test_files_by_suffix(tmp_path):
    for suffix, start in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        path = tmp_path / f"picture.{suffix}"
        reliability_diagrams({"vanilla": bins(), "a/long=name/that=does/not=fit/on=one:line": bins(15)}, path, "title")
        assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["$a$", "x $_$ y", r"$\frac$"])
def test_names_are_no_formulas(name):
    stream = io.BytesIO()
    reliability_diagrams({name: bins()}, stream, name, file_format="svg")
    stream = io.BytesIO()
    panel = CurvePanel(name, name, name, {name: Curve(np.arange(3), np.arange(3))})
    learning_curves([panel], stream, name, file_format="svg")
    assert "Oblique" not in stream.getvalue().decode()  # the slanted letters of a formula


def test_equal_pictures_are_equal_bytes():
    assert diagrams(1) == diagrams(1)
    assert curves("a", "b") == curves("a", "b")
    assert b"dc:date" not in diagrams(1)


def test_more_models_than_columns_go_on_below():
    (width, height), (wrapped_width, wrapped_height) = size(diagrams(1)), size(diagrams(2, max_columns=1))
    assert wrapped_width == width
    assert wrapped_height - height == pytest.approx(3.9 * 72)


def test_a_method_keeps_its_colour_when_others_are_missing():
    mixup = LINES[1].lower()
    assert mixup in curves("mixup", names=["vanilla", "mixup"])
    assert mixup not in curves("mixup", names=["mixup", "vanilla"])


def test_more_methods_than_colours_differ_in_dashes():
    names = [f"method {n}" for n in range(len(LINES) + 1)]
    assert "stroke-dasharray" not in curves(*names[:-1])
    assert "stroke-dasharray" in curves(*names)


def test_one_seed_has_no_band():
    panel = CurvePanel("RTE", "step", "loss", {"vanilla": Curve(np.arange(2), np.arange(2))})
    stream = io.BytesIO()
    learning_curves([panel], stream, file_format="svg")
    assert "FillBetween" not in stream.getvalue().decode()
    assert "FillBetween" in curves("vanilla")


def test_curves_are_means_over_seeds_at_the_steps_of_all():
    """At 10 (1 + 3) / 2 = 2, at 20 (2 + 6) / 2 = 4; deviations sqrt(2 * 1) and sqrt(2 * 4)."""
    curve = mean_curve([{10: 1.0, 20: 2.0, 30: 9.0}, {20: 6.0, 10: 3.0}])
    assert curve.x.tolist() == [10, 20]
    assert curve.mean.tolist() == [2, 4]
    assert curve.std == pytest.approx([2**0.5, 8**0.5])


def test_curves_of_one_seed_have_no_band_and_single_points_are_no_curve():
    assert mean_curve([{1: 0.5, 2: 0.25}]).std is None
    assert mean_curve([{1: 0.5}]) is None
    assert mean_curve([{1: 0.5, 2: 1.0}, {3: 0.5}]) is None
    assert mean_curve([]) is None


def test_long_curves_are_thinned_by_averaging_neighbours():
    """Values 0, 1, 2, ... in groups of three have the means 1, 4, 7, ..."""
    curve = mean_curve([{step: float(step) for step in range(3 * MAX_POINTS)}])
    assert curve.x.tolist() == curve.mean.tolist() == list(range(1, 3 * MAX_POINTS, 3))


def test_bad_arguments():
    with pytest.raises(ValueError, match="models is empty"):
        reliability_diagrams({}, io.BytesIO())
    with pytest.raises(ValueError, match="max_columns must be at least 1, got 0"):
        diagrams(1, max_columns=0)
    with pytest.raises(ValueError, match="panels hold no curve"):
        learning_curves([], io.BytesIO())
    with pytest.raises(ValueError, match="names lacks mixup"):
        curves("mixup", names=["vanilla"])


def test_matplotlib_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install logitmix-nlp\[plots\]"):
        diagrams(1)
