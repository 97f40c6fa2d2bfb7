# SPDX-License-Identifier: Apache-2.0
"""What the commands that run a model on data have in common: flags, loading, and what they log."""

import argparse
import logging

import datasets
import transformers

from logitmix_nlp.evaluation.classifier import Classifier, load_classifier
from logitmix_nlp.evaluation.data.columns import TEXT_FLAG, Columns, stored_columns
from logitmix_nlp.evaluation.data.labelled_rows import Rows, load_rows

__all__ = ["add_data_flags", "columns_of", "model_of", "quiet", "rows_of"]


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that say which rows are read, and how the model is run on them."""
    add = parser.add_argument
    add("--split", help="Split of --data, if it has several.")
    add("--dataset_config_name", help="Configuration of --data, if it is a Hub dataset.")
    add(
        "--text_column_names",
        nargs="+",
        default=(),
        metavar="NAME",
        help="One or two. Default: as in training, or found.",
    )
    add("--image_column_name", metavar="NAME", help="Column of images. Default: the only one.")
    add("--label_column_name", metavar="NAME", help="Default: label, labels, or the only column of classes.")
    add("--max_eval_samples", type=int, metavar="N", help="Read the first N rows of each source only.")
    add("--max_seq_length", type=int, metavar="N", help="Longest text in tokens. Default: what the model takes.")
    add("--batch_size", type=int, default=32, metavar="N", help="Rows at a time. Default: 32.")
    add("--device", help="Default: cuda if there is one, else cpu.")
    add("--revision", help="Branch, tag or commit of a model on the Hub.")
    add("--trust_remote_code", action="store_true", help="Let code of the model's repository run.")
    add("--seed", type=int, default=0, help="Of every draw. Default: 0.")


def model_of(options: argparse.Namespace, name: str, *, multi_label: bool = False) -> Classifier:
    """The classifier of that name, as the flags say; `multi_label` takes those of several labels per row, too."""
    if options.batch_size < 1:
        raise ValueError(f"--batch_size must be at least 1, got {options.batch_size}.")
    if not 0 <= options.seed < 2**63:
        raise ValueError(f"--seed must be at least 0 and below 2**63, got {options.seed}.")
    return load_classifier(
        name,
        revision=options.revision,
        device=options.device,
        trust_remote_code=options.trust_remote_code,
        max_length=options.max_seq_length,
        multi_label=multi_label,
    )


def rows_of(
    options: argparse.Namespace,
    classifier: Classifier,
    source: str,
    split: str | None,
    *,
    labelled: bool = True,
    columns: Columns | None = None,
    all_rows: bool = False,
    flag: str = TEXT_FLAG,
) -> Rows:
    """The rows of a source, in an order that needs little padding; `dataset_config_name` is for `--data` alone.

    Args:
        options (`argparse.Namespace`): The flags.
        classifier (`Classifier`): Whose inputs and class ids are wanted.
        source (`str`): See [`load_rows`].
        split (`str`, *optional*): Split of it.
        labelled (`bool`): Whether labels are read. If not, columns that this source lacks are guessed.
        columns (`Columns`, *optional*): Columns of this source; `None` takes those of `--data`.
        all_rows (`bool`): Whether `--max_eval_samples` does not hold for it.
        flag (`str`): Flag that names its text columns.

    Returns:
        `Rows`: See [`load_rows`].
    """
    return load_rows(
        source,
        classifier.label2id if labelled else None,
        is_text=classifier.is_text,
        of_words=classifier.tags_words,
        split=split,
        config_name=options.dataset_config_name if source == options.data else None,
        columns=columns_of(options) if columns is None else columns,
        trained=stored_columns(classifier.model.config),
        optional_columns=not labelled and columns is None,
        max_rows=None if all_rows else options.max_eval_samples,
        flag=flag,
    ).by_length()


def columns_of(options: argparse.Namespace) -> Columns:
    """The columns that the flags name."""
    return Columns(tuple(options.text_column_names), options.image_column_name, options.label_column_name)


def quiet() -> None:
    """Warnings of this library, and what it is doing, go to the console; progress bars nowhere."""
    ours = logging.getLogger("logitmix_nlp")
    if not ours.handlers:
        ours.addHandler(logging.StreamHandler())
        ours.handlers[0].setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    ours.setLevel(logging.INFO)
    transformers.utils.logging.disable_progress_bar()
    datasets.utils.logging.disable_progress_bar()
