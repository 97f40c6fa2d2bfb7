# SPDX-License-Identifier: Apache-2.0
"""`python -m logitmix_nlp predict`: class and probabilities of every row, beside the columns it came with."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logitmix_nlp.calibration.stored_temperature import stored_temperature
from logitmix_nlp.commands import OneLineParser, one_line_errors
from logitmix_nlp.commands.flags import add_data_flags, columns_of, model_of, quiet
from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.data.columns import stored_columns
from logitmix_nlp.evaluation.data.labelled_rows import BLANK_IS_MISSING, Rows, first_rows, read_split, rows_from
from logitmix_nlp.evaluation.data.lines import counted
from logitmix_nlp.evaluation.predicted_rows import (
    PREDICTION_TYPES,
    by_row,
    check_columns,
    check_target,
    keep_columns,
    prediction_columns,
    write_rows,
)

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m logitmix_nlp predict",
        description="Class, entropy and the probability of every class for each row of a file, or lists of them for "
        "its words, in its order and beside its own columns. Probabilities are calibrated if the model holds a "
        "temperature (calibrate).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="Folder or Hub id of any Transformers text or image classifier.")
    add("--data", required=True, help="Rows, with or without labels: a file, a folder, or a Hub dataset.")
    add("--output_file", required=True, metavar="FILE", help=f"What to write, one of: {', '.join(PREDICTION_TYPES)}.")
    add("--column_prefix", default="", metavar="TEXT", help="Put before the names of the new columns.")
    add_data_flags(parser)
    return parser


@one_line_errors
def main(argv: Sequence[str]) -> int:
    """Predict; return 2, after one line on stderr, if something is wrong with what was given."""
    options = _parser().parse_args(argv)
    quiet()
    target = check_target(options.output_file, options.data)
    classifier = model_of(options, options.model, multi_label=True)
    data, origin = read_split(options.data, options.split, options.dataset_config_name, label_column=None)
    data = first_rows(data, origin, options.max_eval_samples)
    kept = keep_columns(data)
    temperature = stored_temperature(classifier.model.config)
    form = {"multi_label": classifier.multi_label, "prefix": options.column_prefix}
    no_rows = np.zeros((0, len(classifier.class_names)))
    check_columns(kept, prediction_columns(no_rows, classifier.class_names, **form), "give --column_prefix")
    rows = rows_from(
        data,
        origin,
        None,
        is_text=classifier.is_text,
        of_words=classifier.tags_words,
        columns=columns_of(options),
        trained=stored_columns(classifier.model.config),
        cells=Path(options.data).suffix.lower() in BLANK_IS_MISSING,
    )
    logits = _logits(classifier, rows, options.batch_size) / temperature
    columns = prediction_columns(logits, classifier.class_names, **form)
    if rows.of_words:
        columns = by_row(columns, [len(words) for words in rows.inputs])
    write_rows(target, kept, columns)
    calibrated = "" if temperature == 1 else f", with the stored temperature {temperature:.4g}"
    print(f"Written: {target}, {counted(len(rows), 'row')}{calibrated}.")
    return 0


def _logits(classifier: Classifier, rows: Rows, batch_size: int) -> np.ndarray:
    """Logits in the order of the rows, which the model sees by length; words in the order they have."""
    if rows.of_words:
        return classifier.logits(classifier.batches(rows.inputs, batch_size)).numpy()
    order = rows.length_order()
    by_length = classifier.logits(classifier.batches(rows.pick(order).inputs, batch_size)).numpy()
    logits = np.empty_like(by_length)
    logits[order] = by_length
    return logits
