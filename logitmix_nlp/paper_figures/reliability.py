# SPDX-License-Identifier: Apache-2.0
"""Reliability diagrams of saved predictions."""

import argparse
from pathlib import Path

from logitmix_nlp.functional.calibration import ConfidenceBins, confidence_bins
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.paper_figures.predictions import named_paths, read_predictions
from logitmix_nlp.reports.plots import reliability_diagrams

__all__ = ["RELIABILITY"]


def _reliability_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="[NAME=]FILE",
        help="Predictions of each model: .npz with logits and labels, or .parquet as run_glue.py writes it.",
    )
    parser.add_argument("--n_bins", type=int, default=15, help="Bins of confidence.")


def _reliability(options: argparse.Namespace) -> Figure:
    bins = {name: _bins(path, options.n_bins) for name, path in named_paths(options.files).items()}
    numbers = {
        name: {
            "rows": int(one.count.sum()),
            "accuracy": (one.correct.sum() / one.count.sum()).item(),
            "ece": one.calibration_error().item(),
            "oe": one.overconfidence().item(),
            "mce": one.maximum_calibration_error().item(),
        }
        for name, one in bins.items()
    }
    rows = [
        (name, [str(row["rows"]), *(row[key] for key in ("accuracy", "ece", "oe", "mce"))])
        for name, row in numbers.items()
    ]
    title = f"Reliability, {options.n_bins} bins"
    description = f"Reliability diagrams: accuracy against confidence of {', '.join(bins)}."
    table = number_table("reliability", title, "model", ["rows", "accuracy", "ECE", "OE", "MCE"], rows)
    return Figure(
        title,
        description,
        numbers,
        table,
        lambda path, style: reliability_diagrams(bins, path, title, style=style),
    )


def _bins(path: Path, n_bins: int) -> ConfidenceBins:
    scores, labels, are_logits = read_predictions(path)
    try:
        return confidence_bins(scores, labels, n_bins, from_logits=are_logits)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


RELIABILITY = FigureJob("reliability diagrams of saved predictions", _reliability_flags, _reliability)
