# SPDX-License-Identifier: Apache-2.0
"""Figures without training: entropy of labels, loss terms of finished runs, reliability of saved predictions."""

import argparse
from pathlib import Path

import numpy as np

from logitmix_nlp.functional.calibration import ConfidenceBins, confidence_bins
from logitmix_nlp.paper_figures import entropy, losses
from logitmix_nlp.paper_figures.job import Figure, FigureJob, number_table
from logitmix_nlp.paper_figures.predictions import named_paths, read_predictions
from logitmix_nlp.reports import plots

__all__ = ["ENTROPY", "LOSSES", "RELIABILITY"]


def _entropy_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alphas", type=float, nargs="+", default=[0.1, 0.4, 1.0, 3.0], help="α of the distributions."
    )
    parser.add_argument("--rows", type=int, default=100_000, help="Labels drawn per α, to check the exact values.")


def _entropy(options: argparse.Namespace) -> Figure:
    if options.rows < 1:
        raise ValueError(f"--rows must be at least 1, got {options.rows}.")
    means = {alpha: float(entropy.mean_label_entropy(alpha)) for alpha in options.alphas}
    grid = np.geomspace(min(0.02, *options.alphas), max(20.0, *options.alphas), 121)
    low, high = (np.array([entropy.entropy_quantile(alpha, share) for alpha in grid]) for share in (0.1, 0.9))
    sampled = {alpha: entropy.sampled_label_entropy(alpha, options.rows, options.seed) for alpha in options.alphas}
    shares = {alpha: entropy.entropy_shares(alpha, 20) for alpha in options.alphas}
    curves = (grid, entropy.mean_label_entropy(grid), low, high)
    rows = [(f"{alpha:g}", [means[alpha], sampled[alpha]]) for alpha in options.alphas]
    title = "Entropy of mixup's training labels of two different classes"
    numbers = {
        f"{alpha:g}": {"mean": means[alpha], "sampled_mean": sampled[alpha], "shares": shares[alpha].tolist()}
        for alpha in options.alphas
    }
    description = (
        f"{title}, rising with α. Mean in nats: "
        + ", ".join(f"{mean:.3f} at α = {alpha:g}" for alpha, mean in means.items())
        + "."
    )
    return Figure(
        title,
        description,
        numbers,
        number_table("entropy", f"{title}: mean in nats", "α", ["exact", f"{options.rows} drawn labels"], rows, 5),
        lambda path, style: plots.entropy_panels(*curves, sampled, shares, path, title, style=style),
    )


def _losses_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="[NAME=]RUN", help="Folder of one run or of many, or a trainer_state.json."
    )


def _losses(options: argparse.Namespace) -> Figure:
    panels, numbers, lines = [], {}, []
    inputs = named_paths(options.runs)
    for given, path in inputs.items():
        for found, logs in losses.find_logs(path).items():
            name = found if found and options.runs == [str(path)] else "/".join(filter(None, (given, found)))
            curves = losses.loss_curves(logs)
            terms = {term: curve for term, curve in curves.items() if term != losses.TOTAL}
            shown = terms if len(terms) == 1 else curves  # a single term is the loss
            seeds = f", {len(logs)} seeds" if len(logs) > 1 else ""
            panels.append(plots.CurvePanel(name + seeds, "step", "loss (weights applied)", shown))
            numbers[name] = {
                term: {"step": curve.x.tolist(), "mean": curve.mean.tolist()} for term, curve in curves.items()
            }
            lines += [(f"{name}: {term}", [float(c.mean[0]), float(c.mean[-1])]) for term, c in curves.items()]
    title = "Training loss and its weighted terms"
    names = [losses.TOTAL, *losses.LOSS_TERMS]
    description = f"{title}, by step, of {', '.join(numbers)}."
    table = number_table("losses", title, "run", ["first", "last"], lines)
    return Figure(
        title,
        description,
        numbers,
        table,
        lambda path, style: plots.learning_curves(panels, path, title, names=names, max_columns=3, style=style),
    )


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
        lambda path, style: plots.reliability_diagrams(bins, path, title, style=style),
    )


def _bins(path: Path, n_bins: int) -> ConfidenceBins:
    scores, labels, are_logits = read_predictions(path)
    try:
        return confidence_bins(scores, labels, n_bins, from_logits=are_logits)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


ENTROPY = FigureJob("entropy of mixup's labels against α", _entropy_flags, _entropy)
LOSSES = FigureJob("loss terms of finished runs by step", _losses_flags, _losses)
RELIABILITY = FigureJob("reliability diagrams of saved predictions", _reliability_flags, _reliability)
