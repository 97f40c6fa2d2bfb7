# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp evaluate`: one report on how right and how honest classifiers are, alone and averaged."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

import logitmix_nlp
from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.commands import OneLineParser, one_line_errors
from logitmix_nlp.commands.evaluate_inputs import (
    batches_of,
    check_flags,
    classifiers_of,
    hold_out,
    outside_batches,
    outside_rows,
    shift_batches,
    try_out,
)
from logitmix_nlp.commands.flags import add_data_flags, quiet, rows_of
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.held_out import fit_temperature
from logitmix_nlp.evaluation.report import (
    evaluation_report,
    evaluation_tables,
    make_plots,
    require_matplotlib,
    write_evaluation,
)
from logitmix_nlp.evaluation.study import Variants, make_study
from logitmix_nlp.reports.folders import check_folder
from logitmix_nlp.reports.tables import to_text

__all__ = ["main"]

PROGRAM = "python -m logitmix_nlp evaluate"


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=PROGRAM,
        description="Accuracy, calibration, out-of-distribution and robustness metrics of text or image classifiers.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "models",
        nargs="+",
        metavar="MODEL",
        help="Folder or Hub id of any Transformers text or image classifier. Of several with the same classes, the "
        "mean of their probabilities is evaluated too.",
    )
    add(
        "--data",
        required=True,
        help="Labelled rows: a csv, tsv, json, jsonl or parquet file, a folder of save_to_disk, of data files or of "
        "images in one folder per class, or a Hub dataset.",
    )
    add_data_flags(parser)
    add(
        "--temperature",
        action="store_true",
        help="Fit a temperature on other rows, to each model and to the mean; show before and after.",
    )
    add(
        "--calibration_data",
        help="Rows to fit it on, without those that are in --data too. Default: a half of --data, drawn by --seed and "
        "then left out.",
    )
    add("--calibration_split", help="Split of --calibration_data (or of --data, if only this is given).")
    add("--ood", nargs="+", default=[], metavar="DATA", help="Rows from elsewhere; labels are not needed.")
    add("--ood_split", help="Split of each --ood that has several.")
    add(
        "--ood_text_column_names",
        nargs="+",
        default=(),
        metavar="NAME",
        help="Of --ood. Default: as --data, or guessed.",
    )
    add("--ood_image_column_name", metavar="NAME", help="Of --ood. Default: as --data, or the only one.")
    add("--ood_label_column_name", metavar="NAME", help="Of --ood: a column that is no text.")
    add("--noise", action="store_true", help="Noise as rows from elsewhere: Gaussian pixels or random tokens.")
    add("--mc_dropout", type=int, default=0, metavar="PASSES", help="Compare with MC dropout (Gal & Ghahramani).")
    add("--fgsm", type=float, nargs="+", default=[], metavar="EPS", help="Images: adversarial pixels (0.01, say).")
    add("--perturb", type=float, nargs="+", default=[], metavar="RATE", help="Texts: share of words to misspell.")
    add("--rescale_mixup", type=float, metavar="ALPHA", help="Images: rescaling for a model trained with mixup's α.")
    add("--train_data", help="Labelled training images, all of which --rescale_mixup needs.")
    add("--train_split", help="Split of --train_data.")
    add("--n_bins", type=int, default=15, help="Bins of confidence. Default: 15.")
    add(
        "--n_bootstrap",
        type=int,
        default=1000,
        help="Resamples of each interval, 0 for none; their time grows with the rows. Default: 1000.",
    )
    add("--no_pictures", action="store_true", help="Tables alone; matplotlib is not needed then.")
    add("--output_dir", help="Folder of the report. Default: evaluation/MODEL, of several evaluation/ensemble.")
    return parser


@one_line_errors
def main(argv: Sequence[str]) -> int:
    """Evaluate; return 2, after one line on stderr, if something is wrong with what was given."""
    options = _parser().parse_args(argv)
    quiet()
    if not options.no_pictures:
        require_matplotlib()
    classifiers = classifiers_of(options)
    name = "ensemble" if len(classifiers) > 1 else next(iter(classifiers))
    folder = Path("evaluation") / name if options.output_dir is None else options.output_dir
    check_folder(folder)
    classifier = next(iter(classifiers.values()))
    check_flags(options, classifier)
    rows = rows_of(options, classifier, options.data, options.split)
    variants = Variants.of(classifiers, options.mc_dropout, options.seed)
    rows, held_out = hold_out(options, classifier, rows)
    outside = outside_rows(options, classifier, rows)
    outside_inputs = outside_batches(options, classifier, rows, outside)
    shifted_inputs = shift_batches(options, rows)
    try_out(options, classifier, rows)
    if options.rescale_mixup is not None:
        images = rows_of(options, classifier, options.train_data, options.train_split, all_rows=True)
        variants = variants.with_rescaling(options.rescale_mixup, batches_of(options, images), images.labels)
    scalers, fitted_on = {}, ""
    if held_out is not None:
        logits = variants.logits(batches_of(options, held_out[0]))
        scalers = {one: fit_temperature(found, held_out[0]) for one, found in logits.items()}
        variants = variants.with_fitted({one: scaler.temperature for one, scaler in scalers.items()})
        bound = [f" of {one}" * (len(scalers) > 1) for one, scaler in scalers.items() if scaler.report["at_bound"]]
        fitted_on = held_out[1] + "".join(f"; T{whose} is the bound of the search" for whose in bound)
    study = make_study(
        variants,
        rows,
        batches_of(options, rows),
        outside_inputs,
        shifted_inputs,
        n_bins=options.n_bins,
        n_resamples=options.n_bootstrap,
        seed=options.seed,
    )
    for table in evaluation_tables(study, fitted_on).values():
        print(to_text(table))
    command = shlex.join([*PROGRAM.split(), *argv])
    facts = _facts(classifiers, rows, outside, command)
    plots = {} if options.no_pictures else make_plots(study)
    report = evaluation_report(study, f"Evaluation: {', '.join(classifiers)}", facts, plots, fitted_on)
    record = {**_record(classifiers, rows, command, scalers, fitted_on), **study.record()}
    paths = write_evaluation(folder, report, plots, record)
    print("Written:", ", ".join(map(str, paths)))
    return 0


def _facts(
    classifiers: dict[str, Classifier], rows: Rows, outside: dict[str, Rows], command: str
) -> list[tuple[str, str]]:
    data = f"{rows.origin}: {counted(len(rows), 'row')} evaluated; {_read(rows)}, labels from “{rows.columns.label}”"
    return [
        *[("Model", f"{one.name} ({type(one.model).__name__})") for one in classifiers.values()],
        ("Classes", ", ".join(next(iter(classifiers.values())).class_names)),
        ("Data", data),
        *[
            ("From outside", f"{name}: {counted(len(others), 'row')}; {_read(others)}")
            for name, others in outside.items()
        ],
        ("Versions", ", ".join(f"{name} {version}" for name, version in _versions().items())),
        ("Made by", command),
    ]


def _read(rows: Rows) -> str:
    return "input from " + ", ".join(f"“{name}”" for name in rows.columns.text or [rows.columns.image])


def _record(
    classifiers: dict[str, Classifier],
    rows: Rows,
    command: str,
    scalers: dict[str, TemperatureScaler],
    fitted_on: str,
) -> dict[str, Any]:
    names = {short: classifier.name for short, classifier in classifiers.items()}
    temperatures = {one: {**scaler.to_dict(), "fitted_on": fitted_on} for one, scaler in scalers.items()}
    one = len(names) == 1
    return {
        "model": next(iter(names.values())) if one else names,
        "classes": next(iter(classifiers.values())).class_names,
        "data": rows.origin,
        "columns": rows.columns._asdict(),
        "temperature": next(iter(temperatures.values()), None) if one else temperatures or None,
        "command": command,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {
        "logitmix_nlp": logitmix_nlp.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
