# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp evaluate`: one report on how right and how honest a classifier is."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
import transformers

import logitmix_nlp
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.diagrams import make_diagrams, require_matplotlib
from logitmix_nlp.evaluation.flags import add_data_flags, end_in_one_line, model_of, quiet, rows_of
from logitmix_nlp.evaluation.labelled_rows import Rows
from logitmix_nlp.evaluation.report import evaluation_report, evaluation_tables, write_evaluation
from logitmix_nlp.evaluation.shifts import fgsm_batches, noise_batches, perturbed_rows
from logitmix_nlp.evaluation.study import make_study
from logitmix_nlp.evaluation.variants import AS_TRAINED, Batches, Variants, halves
from logitmix_nlp.reports.tables import to_text
from logitmix_nlp.temperature import TemperatureScaler

__all__ = ["main"]

PROGRAM = "python -m logitmix_nlp evaluate"
FEWEST_RESAMPLES = 40  # at which the ends of a 95% interval are seen


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; return 2, after one line on stderr, if something is wrong with what was given."""
    return end_in_one_line(_run, sys.argv[1:] if argv is None else argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Accuracy, calibration, out-of-distribution and robustness figures of a text or image classifier.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="Folder or Hub id of any Transformers text or image classifier.")
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
        help="Fit a temperature on other rows; show before and after.",
    )
    add(
        "--calibration_data",
        help="Rows to fit it on. Default: a half of --data, drawn by --seed and then left out.",
    )
    add("--calibration_split", help="Split of --calibration_data (or of --data, if only this is given).")
    add("--ood", nargs="+", default=[], metavar="DATA", help="Rows from elsewhere; labels are not needed.")
    add("--ood_split", help="Split of each --ood that has several.")
    add("--noise", action="store_true", help="Noise as rows from elsewhere: Gaussian pixels or random tokens.")
    add("--mc_dropout", type=int, default=0, metavar="PASSES", help="Compare with MC dropout (Gal & Ghahramani).")
    add("--fgsm", type=float, nargs="+", default=[], metavar="EPS", help="Images: adversarial pixels (0.01, say).")
    add("--perturb", type=float, nargs="+", default=[], metavar="RATE", help="Texts: share of words to misspell.")
    add("--rescale_mixup", type=float, metavar="ALPHA", help="Images: rescaling for a model trained with mixup's α.")
    add("--train_data", help="Training images, whose mean --rescale_mixup needs.")
    add("--train_split", help="Split of --train_data.")
    add("--n_bins", type=int, default=15, help="Bins of confidence. Default: 15.")
    add("--n_bootstrap", type=int, default=1000, help="Resamples of each interval, 0 for none. Default: 1000.")
    add("--no_pictures", action="store_true", help="Tables alone; matplotlib is not needed then.")
    add("--output_dir", help="Folder of the report. Default: evaluation/MODEL.")
    return parser


def _run(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    quiet()
    if not options.no_pictures:
        require_matplotlib()
    classifier = model_of(options)
    _check(options, classifier)
    rows = rows_of(options, classifier, options.data, options.split)
    variants = Variants(classifier, {AS_TRAINED: 1.0}, options.mc_dropout, seed=options.seed).with_stored()
    rows, held_out = _hold_out(options, classifier, rows)
    scaler = None
    if held_out is not None:
        logits = classifier.logits(classifier.batches(held_out[0].inputs, options.batch_size))
        variants, scaler = variants.with_fitted(logits, held_out[0].labels)
    if options.rescale_mixup is not None:
        images = rows_of(options, classifier, options.train_data, options.train_split, labelled=False)
        variants = variants.with_rescaling(options.rescale_mixup, _batches(options, classifier, images))
    outside, noise = _outside(options, classifier, rows), {}
    if options.noise:
        name, batches = noise_batches(classifier, rows, options.batch_size, options.seed)
        noise[name] = partial(iter, batches)
    study = make_study(
        variants,
        rows,
        _batches(options, classifier, rows),
        {**{name: _batches(options, classifier, others) for name, others in outside.items()}, **noise},
        _shifts(options, classifier, rows),
        n_bins=options.n_bins,
        n_resamples=options.n_bootstrap,
        seed=options.seed,
    )
    fitted_on = "" if held_out is None else held_out[1] + "; T is the bound of the search" * scaler.report["at_bound"]
    for table in evaluation_tables(study, fitted_on).values():
        print(to_text(table))
    command = shlex.join([*PROGRAM.split(), *argv])
    facts = _facts(classifier, rows, outside, command)
    name = (Path(options.model).resolve() if Path(options.model).exists() else Path(options.model)).name
    diagrams = {} if options.no_pictures else make_diagrams(study)
    report = evaluation_report(study, f"Evaluation: {name}", facts, diagrams, fitted_on)
    record = {**_record(classifier, rows, command, scaler, fitted_on), **study.record()}
    folder = options.output_dir or Path("evaluation") / name
    paths = write_evaluation(folder, report, diagrams, record)
    print("Written:", ", ".join(map(str, paths)))
    return 0


def _check(options: argparse.Namespace, classifier: Classifier) -> None:
    kind, other = ("texts", "images") if classifier.is_text else ("images", "texts")
    wrong = ("fgsm", "rescale_mixup") if classifier.is_text else ("perturb",)
    for name in wrong:
        if getattr(options, name) not in (None, []):
            raise ValueError(f"--{name} is for classifiers of {other}; {options.model} classifies {kind}.")
    if options.mc_dropout < 0:
        raise ValueError(f"--mc_dropout must be at least 0, got {options.mc_dropout}.")
    if (options.rescale_mixup is None) != (options.train_data is None):
        raise ValueError("--rescale_mixup and --train_data belong together: the rescaling needs the mean of the data.")
    if not options.temperature and (options.calibration_data or options.calibration_split):
        raise ValueError("--calibration_data and --calibration_split have no meaning without --temperature.")
    if options.n_bins < 1:
        raise ValueError(f"--n_bins must be at least 1, got {options.n_bins}.")
    if 0 < options.n_bootstrap < FEWEST_RESAMPLES or options.n_bootstrap < 0:
        raise ValueError(f"--n_bootstrap must be 0 or at least {FEWEST_RESAMPLES}, got {options.n_bootstrap}.")
    for rate in options.perturb:
        if not 0 <= rate <= 1:
            raise ValueError(f"--perturb must lie in [0, 1], got {rate}.")


def _hold_out(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> tuple[Rows, tuple[Rows, str] | None]:
    """Rows to evaluate on, and rows to fit a temperature on with the words for them."""
    if not options.temperature:
        return rows, None
    if options.calibration_data is None and options.calibration_split is None:
        fit, rest = halves(rows, options.seed)
        words = f"the other half of {rows.origin}: {len(fit)} rows, drawn with seed {options.seed}"
        return rest, (fit, words)
    source = options.calibration_data or options.data
    if (source, options.calibration_split) == (options.data, options.split):
        raise ValueError("--calibration_data is the very data of --data: leave it out to fit on one half of that.")
    found = rows_of(options, classifier, source, options.calibration_split)
    return rows, (found, f"{found.origin}: {len(found)} rows")


def _batches(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> Batches:
    return partial(classifier.batches, rows.inputs, options.batch_size)


def _outside(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> dict[str, Rows]:
    """The rows of each `--ood`, by a short name."""
    found: dict[str, Rows] = {}
    for source in options.ood:
        others = rows_of(options, classifier, source, options.ood_split, labelled=False)
        if classifier.is_text and len(others.columns.text) != len(rows.columns.text):
            raise ValueError(
                f"{others.origin} has the text columns {', '.join(others.columns.text)}, {rows.origin} "
                f"{', '.join(rows.columns.text)}: both need one, or two. Choose with --text_column_names."
            )
        found[_short(source, found)] = others
    return found


def _short(source: str, taken: dict[str, Rows]) -> str:
    """The last part of a path that names it."""
    path = Path(source)
    name = path.name if path.exists() and path.name not in taken else source
    return f"{path.parent.name}/{path.name}" if path.is_file() and path.parent.name and name == path.name else name


def _shifts(options: argparse.Namespace, classifier: Classifier, rows: Rows) -> dict[str, Batches]:
    found = {}
    for rate in options.perturb:
        changed = perturbed_rows(rows, rate, options.seed)
        found[f"words changed, {rate:.0%}"] = _batches(options, classifier, changed)
    for epsilon in options.fgsm:
        found[f"FGSM, ε = {epsilon:g}"] = partial(fgsm_batches, classifier, rows, epsilon, options.batch_size)
    return found


def _facts(classifier: Classifier, rows: Rows, outside: dict[str, Rows], command: str) -> list[tuple[str, str]]:
    data = f"{rows.origin.rstrip(',')}: {len(rows)} rows evaluated; {_read(rows)}, labels from “{rows.columns.label}”"
    return [
        ("Model", f"{classifier.name} ({type(classifier.model).__name__})"),
        ("Classes", ", ".join(classifier.class_names)),
        ("Data", data),
        *[("From outside", f"{name}: {len(others)} rows; {_read(others)}") for name, others in outside.items()],
        ("Versions", ", ".join(f"{name} {version}" for name, version in _versions().items())),
        ("Made by", command),
    ]


def _read(rows: Rows) -> str:
    return "input from " + ", ".join(f"“{name}”" for name in rows.columns.text or [rows.columns.image])


def _record(
    classifier: Classifier, rows: Rows, command: str, scaler: TemperatureScaler | None, fitted_on: str
) -> dict[str, object]:
    temperature = None if scaler is None else {**scaler.to_dict(), "fitted_on": fitted_on}
    return {
        "model": classifier.name,
        "classes": classifier.class_names,
        "data": rows.origin.rstrip(","),
        "columns": rows.columns._asdict(),
        "temperature": temperature,
        "command": command,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {
        "logitmix_nlp": logitmix_nlp.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
