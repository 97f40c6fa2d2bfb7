# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp calibrate`: fit a temperature and store it with the model."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from logitmix_nlp.calibration.stored_temperature import TEMPERATURE_KEY, check_writable, write_temperature
from logitmix_nlp.calibration.temperature import TemperatureScaler
from logitmix_nlp.commands import OneLineParser, one_line_errors
from logitmix_nlp.commands.flags import add_data_flags, model_of, quiet, rows_of
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.held_out import fit_temperature
from logitmix_nlp.reports.tables import Column, Estimate, Table, to_text

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m logitmix_nlp calibrate",
        description="Fit a temperature (Guo et al., 2017) to labelled rows that the model was not trained on, and "
        f"write it as {TEMPERATURE_KEY} into the model's config.json. LogitMixTrainer, the pipelines of "
        "logitmix_nlp.calibration.pipelines and calibrated_logits divide logits by it; predictions stay as they are.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="Folder of a text or image classifier.")
    add("--data", help="Labelled rows the model was not trained on: a file, a folder, or a Hub dataset.")
    add_data_flags(parser)
    add("--method", choices=["temperature"], default="temperature", help="Only a temperature can be stored.")
    add("--dry_run", action="store_true", help="Fit and show, write nothing.")
    add("--remove", action="store_true", help="Remove a stored temperature; needs no data.")
    return parser


@one_line_errors
def main(argv: Sequence[str]) -> int:
    """Calibrate; return 2, after one line on stderr, if something is wrong with what was given."""
    options = _parser().parse_args(argv)
    quiet()
    if options.remove:
        if options.data or options.dry_run:
            raise ValueError("--remove takes neither --data nor --dry_run.")
        before = write_temperature(options.model, None)
        print(f"{options.model}: {'no temperature was stored' if before is None else f'removed T = {before}'}.")
        return 0
    if options.data is None:
        raise ValueError("--data is missing: give labelled rows that the model was not trained on, or --remove.")
    if not options.dry_run:
        check_writable(options.model)
    classifier = model_of(options, options.model)
    rows = rows_of(options, classifier, options.data, options.split)
    logits = classifier.logits(classifier.batches(rows.inputs, options.batch_size))
    scaler = fit_temperature(logits, rows)
    print(to_text(_table(scaler, rows)))
    if options.dry_run:
        print("Nothing was written.")
        return 0
    if scaler.report["at_bound"]:
        raise ValueError(
            f"T = {scaler.temperature:.4g} is the bound of the search and was not written: give more rows, and such "
            "that the model gets some right and some wrong."
        )
    before = write_temperature(options.model, scaler.temperature)
    instead = "" if before is None else f" in place of {before}"
    print(f"{TEMPERATURE_KEY} = {scaler.temperature} was written into {options.model}/config.json{instead}.")
    if (Path(options.model) / "README.md").is_file():
        print(f"The metrics in {options.model}/README.md are those without it.")
    return 0


def _table(scaler: TemperatureScaler, labelled: Rows) -> Table:
    report = scaler.report
    rows = [
        (title, (Estimate(report[f"{name}_before"]), Estimate(report[f"{name}_after"])))
        for name, title in (("nll", "NLL, nats"), ("ece", "ECE"))
    ]
    columns = (Column("T = 1", decimals=4), Column(f"T = {scaler.temperature:.4f}", decimals=4))
    fitted_to = f"{counted(report['rows'], labelled.unit)} of {labelled.origin}"
    note = f"On the {fitted_to} it was fitted to; others gain less. ECE of 15 bins."
    return Table("temperature", "Before and after", "metric", columns, tuple(rows), (note,))
