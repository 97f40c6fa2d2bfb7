# SPDX-License-Identifier: Apache-2.0
"""Figures whose networks are trained on the spot: spiral, joint density, soft targets."""

import argparse

import numpy as np
import torch

from logitmix_nlp.functional.calibration import confidence_bins
from logitmix_nlp.paper_figures import density, soft_labels, spiral
from logitmix_nlp.paper_figures.digits import load_digits
from logitmix_nlp.paper_figures.job import Figure, FigureJob, estimate, number_table
from logitmix_nlp.paper_figures.networks import TrainingPlan, parse_figure_method
from logitmix_nlp.paper_figures.predictions import EpochPredictions, named_paths, read_epochs
from logitmix_nlp.reports import plots

__all__ = ["DENSITY", "SOFT_TARGETS", "SPIRAL"]

SPIRAL_METHODS = ("vanilla", "mixup", "manifold_mixup", "mixup@1", "logitmix", "logitmix@1")
METHOD_HELP = "METHOD or METHOD@LAYERS: where it mixes; 0 is the input, `@0-2` draws one of three per step."


def _spiral_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", nargs="+", default=list(SPIRAL_METHODS), help=METHOD_HELP)
    parser.add_argument("--seeds", type=int, default=1, help="Trainings per method; the first is drawn. Default: 1.")
    parser.add_argument("--steps", type=int, default=1500, help="Steps of Adam over all points.")
    parser.add_argument("--learning_rate", type=float, default=5e-3, help="Highest learning rate.")
    parser.add_argument(
        "--mix_alpha", type=float, help="α of Beta(α, α) for all methods; each has its own if not given."
    )
    parser.add_argument("--rows", type=int, default=200, help="Training points per class.")
    parser.add_argument("--turns", type=float, default=1.0, help="How often an arm winds around the origin.")
    parser.add_argument(
        "--noise", type=float, default=0.02, help="Standard deviation of the noise; arms end at radius 1."
    )


def _spiral(options: argparse.Namespace) -> Figure:
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}.")
    generator = torch.Generator().manual_seed(options.seed)
    train = spiral.make_spiral(options.rows, options.turns, options.noise, generator)
    test = spiral.make_spiral(spiral.TEST_ROWS, options.turns, options.noise, generator)
    maps, numbers, lines = {}, {}, []
    for name in options.methods:
        method = parse_figure_method(name, len(spiral.WIDTHS) - 2)
        found = []
        for seed in range(options.seed, options.seed + options.seeds):
            plan = TrainingPlan(options.steps, None, options.learning_rate, seed, options.mix_alpha)
            network = spiral.train_on_spiral(*train, method, plan)
            probability = spiral.map_probability(network)
            found.append(spiral.measure(network, train, test, probability))
            if len(found) == 1:
                note = f"training confidence {found[0].train_confidence:.2f}, zone {100 * found[0].zone_share:.1f}%"
                arrays = (probability.numpy(), spiral.REACH, train[0].numpy(), train[1].numpy())
                maps[method.label] = plots.DecisionMap(*arrays, note)
        numbers[name] = {
            key: list(values) for key, values in zip(found[0]._fields, zip(*found, strict=True), strict=True)
        }
        lines.append((method.label, [estimate(values) for values in numbers[name].values()]))
    title = "Two-class spiral: predicted probability, and the zone between 0.3 and 0.7"
    description = f"{title}, of networks trained by {', '.join(maps)}. " + ". ".join(
        f"{name}: {one.note}" for name, one in maps.items()
    )
    columns = [name.replace("_", " ") for name in spiral.SpiralNumbers._fields]
    caption = f"Two-class spiral, seeds {options.seed} to {options.seed + options.seeds - 1}"
    table = number_table("spiral", caption, "method", columns, lines, 3)
    return Figure(
        title, description, numbers, table, lambda path, style: plots.decision_maps(maps, path, title, style=style)
    )


def _density_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="*", metavar="[NAME=]FILE.npz", help="Logits (E, N, C) and labels (N,); none trains on digits."
    )
    parser.add_argument("--methods", nargs="+", default=["vanilla", "mixup", "logitmix"], help=METHOD_HELP)
    parser.add_argument(
        "--epochs",
        type=int,
        nargs="+",
        default=[5, 10, 50, 200],
        help="Epochs to show, of digits; of files, six of them evenly chosen.",
    )
    parser.add_argument(
        "--mix_alpha", type=float, help="α of Beta(α, α) for all methods; each has its own if not given."
    )
    parser.add_argument("--rows", type=int, default=150, help="Digits to train on; the other rows are the test set.")
    parser.add_argument("--group_size", type=int, default=100, help="Rows of the groups whose means are shown.")


def _density(options: argparse.Namespace) -> Figure:
    if options.files:
        runs = {name: read_epochs(path) for name, path in named_paths(options.files).items()}
        title = "Confidence and accuracy by epoch"
    else:
        if sorted(set(options.epochs)) != options.epochs or options.epochs[0] < 1:
            raise ValueError(f"--epochs must rise from at least 1, got {options.epochs}.")
        digits = load_digits(options.rows, options.seed)
        plan = TrainingPlan(1, 32, 3e-3, options.seed, options.mix_alpha)
        runs = {}
        for name in options.methods:
            method = parse_figure_method(name, 2)
            logits = density.logits_by_epoch(digits, method, plan, options.epochs)
            runs[method.label] = EpochPredictions(logits, digits.test_labels, tuple(map(float, options.epochs)))
        title = f"Confidence and accuracy by epoch, {options.rows} digits to train, {len(digits.test_x)} to test"
    maps, numbers, lines = {}, {}, []
    for name, run in runs.items():
        maps[name], numbers[name] = [], []
        for logits, epoch in zip(run.logits, run.epochs, strict=True):
            one = density.density_of_epoch(
                logits, run.labels, f"epoch {epoch:g}", group_size=options.group_size, seed=options.seed
            )
            ece = confidence_bins(logits, run.labels, 15, from_logits=True).calibration_error().item()
            maps[name].append(one)
            row = {"epoch": epoch, "confidence": one.confidence, "accuracy": one.accuracy, "ece": ece}
            numbers[name].append(row)
            lines.append((f"{name}, epoch {epoch:g}", [row[key] for key in ("confidence", "accuracy", "ece")]))
    shown = {
        name: [one[k] for k in np.unique(np.linspace(0, len(one) - 1, 6).astype(int))] for name, one in maps.items()
    }
    description = f"{title}. Below the diagonal a model is over-confident. In the end: " + "; ".join(
        f"{name} {rows[-1]['accuracy']:.3f} accurate, {rows[-1]['confidence']:.3f} confident"
        for name, rows in numbers.items()
    )
    table = number_table("density", title, "model", ["mean confidence", "accuracy", "ECE (15 bins)"], lines)
    return Figure(
        title, description, numbers, table, lambda path, style: plots.density_maps(shown, path, title, style=style)
    )


def _soft_targets_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=60, help="Passes over the digits.")
    parser.add_argument("--beta", type=float, default=0.5, help="β of Eq. 10: share of the labels in the targets.")
    parser.add_argument("--rows", type=int, default=1000, help="Digits to train on.")


def _soft_targets(options: argparse.Namespace) -> Figure:
    digits = load_digits(options.rows, options.seed)
    plan = TrainingPlan(1, 128, 2e-3, options.seed)
    found = soft_labels.train_lamix(digits, plan, options.epochs, options.beta)
    targets, mixed = torch.cat(found.targets), torch.cat(found.mixed)
    averages = {
        "unmixed rows": soft_labels.average_top(targets[~mixed]),
        "averages of pairs": soft_labels.average_top(targets[mixed]),
    }
    histories = {}
    for name, values in {"training targets": found.targets, "global soft labels": found.global_labels}.items():
        low, high = (float(end) for end in torch.cat(values).amax(-1).aminmax())
        edges = np.linspace(np.floor(100 * low) / 100, np.ceil(100 * high) / 100, 41)
        histories[name] = (soft_labels.value_shares(values, edges), edges)
    title = f"Soft targets of LaMix on {options.rows} digits, β = {options.beta:g}"
    numbers = {name: values.tolist() for name, values in averages.items()}
    numbers |= {
        "largest_global_label_by_epoch": [values.amax(-1).mean().item() for values in found.global_labels],
        "test_accuracy": found.test_accuracy,
    }
    rows = [(name, values.tolist()) for name, values in averages.items()]
    caption = f"{title}: average targets (test accuracy {found.test_accuracy:.4f})"
    table = number_table("soft_targets", caption, "rows", ["1st", "2nd", "3rd", "4th", "5th"], rows)
    description = f"{title}. Average of the largest targets: " + "; ".join(
        f"{name} {', '.join(f'{value:.2f}' for value in values)}" for name, values in averages.items()
    )
    return Figure(
        title,
        description,
        numbers,
        table,
        lambda path, style: plots.soft_target_panels(averages, histories, path, title, style=style),
    )


SPIRAL = FigureJob("decision maps of methods on the two-class spiral", _spiral_flags, _spiral)
DENSITY = FigureJob("joint density of confidence and accuracy by epoch", _density_flags, _density)
SOFT_TARGETS = FigureJob("soft targets of LaMix", _soft_targets_flags, _soft_targets)
