# SPDX-License-Identifier: Apache-2.0
"""What `python -m logitmix_nlp evaluate` runs its models on, checked before the long work starts."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch

from logitmix_nlp.commands.flags import model_of, rows_of
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.data.columns import TEXT_FLAG, Columns, stored_columns
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.data.lines import counted, shown
from logitmix_nlp.evaluation.held_out import halves, without_shared
from logitmix_nlp.evaluation.robustness import fgsm_batches, mc_dropout_logits, noise_batches, perturbed_rows
from logitmix_nlp.evaluation.study import Batches
from logitmix_nlp.functional.checks import check_bins
from logitmix_nlp.functional.rescaling import truncated_beta_mean

__all__ = [
    "batches_of", "check_flags", "classifiers_of", "hold_out", "outside_batches", "outside_rows", "shift_batches",
    "try_out",
]  # fmt: skip

FEWEST_RESAMPLES = 40  # at which the ends of a 95% interval are seen
MOST_RESAMPLES = 1_000_000  # more would only fill the memory
TRIAL_ROWS = 8
FOR_ONE_MODEL = ("noise", "mc_dropout", "fgsm", "rescale_mixup")  # their inputs or passes are made for that model


def check_flags(options: argparse.Namespace, classifier: Classifier) -> None:
    """Raise a `ValueError` if a flag is out of range, or has no meaning for this model or without another."""
    several = [name for name in FOR_ONE_MODEL if getattr(options, name) not in (0, False, None, [])]
    if several and len(options.models) > 1:
        raise ValueError(f"--{several[0]} is for one model, got {len(options.models)}: evaluate each alone with it.")
    other = "images" if classifier.is_text else "texts"
    wrong = ("fgsm", "rescale_mixup") if classifier.is_text else ("perturb",)
    if classifier.tags_words:
        wrong, other = (*wrong, "perturb", "ood", "noise", "mc_dropout"), "whole texts or images"
    for name in wrong:
        if getattr(options, name) not in (None, [], 0, False):
            raise ValueError(
                f"--{name} is for classifiers of {other}; {classifier.name} classifies {classifier.kind}."
            )
    if options.mc_dropout < 0:
        raise ValueError(f"--mc_dropout must be at least 0, got {options.mc_dropout}.")
    if (options.rescale_mixup is None) != (options.train_data is None):
        raise ValueError("--rescale_mixup and --train_data belong together: the rescaling needs the mean of the data.")
    if not options.temperature and (options.calibration_data or options.calibration_split):
        raise ValueError("--calibration_data and --calibration_split have no meaning without --temperature.")
    check_bins(options.n_bins, "--n_bins")
    if options.n_bootstrap and not FEWEST_RESAMPLES <= options.n_bootstrap <= MOST_RESAMPLES:
        raise ValueError(
            f"--n_bootstrap must be 0 or at least {FEWEST_RESAMPLES}, and at most {MOST_RESAMPLES:,}, got "
            f"{options.n_bootstrap}."
        )
    if options.rescale_mixup is not None:
        truncated_beta_mean(options.rescale_mixup)  # refuses what is no α
    for name in ("perturb", "fgsm"):
        for number in getattr(options, name):
            if not 0 <= number <= 1:
                raise ValueError(f"--{name} must lie in [0, 1], got {number}.")
    if not options.ood and any(_ood_columns(options)):
        raise ValueError("--ood_text_column_names and the like have no meaning without --ood.")


def classifiers_of(options: argparse.Namespace) -> dict[str, Classifier]:
    """The models that the flags name, by a short name; a `ValueError` if they cannot be averaged row by row."""
    if len(set(map(_place, options.models))) < len(options.models):
        raise ValueError(f"A model is given twice: {', '.join(options.models)}. Give each one once.")
    last = [(Path(name).resolve() if Path(name).exists() else Path(name)).name for name in options.models]
    short = last if len(set(last)) == len(last) else options.models
    classifiers = {one: model_of(options, name) for one, name in zip(short, options.models, strict=True)}
    first, *others = classifiers.values()
    for other in others:
        if other.kind != first.kind:
            one, two = sorted((first, other), key=lambda model: model.kind, reverse=True)
            raise ValueError(f"{one.name} classifies {one.kind}, {two.name} {two.kind}: give models of one kind.")
        if set(other.class_names) != set(first.class_names):
            raise ValueError(
                f"{first.name} has the classes {shown(first.class_names)}; {other.name} has "
                f"{shown(other.class_names)}: give models with the same class names, in any order."
            )
        texts = [stored_columns(one.model.config).text for one in (first, other)]
        if all(texts) and texts[0] != texts[1] and not options.text_column_names:
            raise ValueError(
                f"{first.name} was trained on the texts {shown(texts[0])}, {other.name} on {shown(texts[1])}: say "
                f"with {TEXT_FLAG} which both are to read."
            )
    return classifiers


def hold_out(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> tuple[Rows, tuple[Rows, str] | None]:
    """Rows to evaluate on, and rows to fit a temperature on with the words for them."""
    if not options.temperature:
        return rows, None
    if options.calibration_data is None and options.calibration_split is None:
        fit, rest = halves(rows, options.seed)
        words = f"the other half of {rows.origin}: {counted(len(fit), 'row')}, drawn with seed {options.seed}"
        return rest, (fit, words)
    source = options.calibration_data or options.data
    if (_place(source), options.calibration_split) == (_place(options.data), options.split):
        raise ValueError("--calibration_data is the very data of --data: leave it out to fit on one half of that.")
    fit = rows_of(options, classifier, source, options.calibration_split)
    fit, shared = without_shared(fit, rows)
    left_out = f", without {shared} that {'is' if shared == 1 else 'are'} in --data too" if shared else ""
    return rows, (fit, f"{fit.origin}: {counted(len(fit), 'row')}{left_out}")


def batches_of(options: argparse.Namespace, rows: Rows) -> Batches:
    """What gives the inputs of a model, batch by batch."""
    return partial(Classifier.batches, rows=rows.inputs, batch_size=options.batch_size)


def outside_rows(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> dict[str, Rows]:
    """The rows of each `--ood`, by a short name."""
    sets: dict[str, Rows] = {}
    if len(set(map(_place, options.ood))) < len(options.ood):
        raise ValueError(f"--ood names a source twice: {', '.join(options.ood)}. Give each one once.")
    columns = _ood_columns(options)
    for source in options.ood:
        others = rows_of(
            options,
            classifier,
            source,
            options.ood_split,
            labelled=False,
            columns=columns if any(columns) else None,
            flag="--ood_text_column_names",
        )
        if classifier.is_text and len(others.columns.text) != len(rows.columns.text):
            raise ValueError(
                f"{others.origin} has the text columns {', '.join(others.columns.text)}, {rows.origin} "
                f"{', '.join(rows.columns.text)}: both need one, or two. Choose with --ood_text_column_names, "
                "and for --data with --text_column_names."
            )
        name = _short(source)
        _add(sets, str(_place(source)) if name in sets else name, others, f"--ood {source}")
    return sets


def _ood_columns(options: argparse.Namespace) -> Columns:
    return Columns(tuple(options.ood_text_column_names), options.ood_image_column_name, options.ood_label_column_name)


def _short(source: str) -> str:
    """The last part of a path that names it; for a file, with its folder."""
    path = Path(source).resolve()
    if not path.exists():
        return source
    return f"{path.parent.name}/{path.name}" if path.is_file() else path.name


def outside_batches(
    options: argparse.Namespace, classifier: Classifier, rows: Rows, outside: dict[str, Rows]
) -> dict[str, Batches]:
    """Inputs of each `--ood`, and of `--noise`."""
    sets = {name: batches_of(options, others) for name, others in outside.items()}
    if options.noise:
        name, batches = noise_batches(classifier, rows, options.batch_size, options.seed)
        _add(sets, name, lambda _: batches, "--noise")
    return sets


def _place(source: str) -> Path | str:
    return Path(source).resolve() if Path(source).exists() else source


def _add(sets: dict, name: str, value: Rows | Batches, given: str) -> None:
    """Put one more set into a report, in which no two may have the same name."""
    if name in sets:
        raise ValueError(f"{given}: there is a {name!r} already. Give each one once.")
    sets[name] = value


def shift_batches(options: argparse.Namespace, rows: Rows) -> dict[str, Batches]:
    """Inputs of the rows under each `--perturb` and `--fgsm`, by name."""
    sets: dict[str, Batches] = {}
    for rate in options.perturb:
        changed = perturbed_rows(rows, rate, options.seed)
        _add(sets, f"words changed, {100 * rate:g}%", batches_of(options, changed), f"--perturb {rate}")
    for epsilon in options.fgsm:
        _add(sets, f"FGSM, ε = {epsilon:g}", _fgsm(options, rows, epsilon), f"--fgsm {epsilon}")
    return sets


def _fgsm(options: argparse.Namespace, rows: Rows, epsilon: float) -> Batches:
    return partial(fgsm_batches, rows=rows, epsilon=epsilon, batch_size=options.batch_size)


def try_out(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> None:
    """Run on a few rows what may turn out not to fit the model, so that it is said now and not in the end."""
    few = rows.pick(np.arange(min(TRIAL_ROWS, len(rows))))
    if options.mc_dropout:
        generator = torch.Generator().manual_seed(options.seed)
        mc_dropout_logits(classifier.model, batches_of(options, few)(classifier), options.mc_dropout, generator)
    for epsilon in options.fgsm[:1]:
        next(_fgsm(options, few, epsilon)(classifier))
