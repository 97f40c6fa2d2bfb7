# SPDX-License-Identifier: Apache-2.0
"""Command line arguments that say which model is fine-tuned and on which data."""

from dataclasses import dataclass, field
from typing import ClassVar

from glue_runs.tasks.glue import GLUE_TASKS, get_task
from logitmix_nlp.evaluation.data.files import FILE_TYPES, is_data_file
from logitmix_nlp.functional.checks import check_bins

__all__ = ["DataArguments", "ModelArguments", "OutputArguments"]


@dataclass
class ModelArguments:
    """Which pretrained model, configuration and tokenizer; one name serves for all three."""

    model_name_or_path: str = field(metadata={"help": "Folder of a pretrained model, or its name on the Hub."})
    config_name: str | None = field(
        default=None, metadata={"help": "Configuration, if not that of the model: folder or name on the Hub."}
    )
    tokenizer_name: str | None = field(
        default=None, metadata={"help": "Tokenizer, if not that of the model: folder or name on the Hub."}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "Where downloaded models and datasets are kept. Default: the Hub's cache."}
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."})
    token: str | None = field(
        default=None, metadata={"help": "Hub token for private models and data. Default: the one you logged in with."}
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Whether to run model code that comes with the model. Read it first."}
    )
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={"help": "Whether to start a new classification head if the model's own has another size."},
    )


@dataclass
class DataArguments:
    """Which data: exactly one of `task_name`, `dataset_name`, or data files; and how texts become model inputs."""

    sources: ClassVar[str] = "--task_name, --dataset_name, or --train_file with --validation_file and --test_file"

    # Source
    task_name: str | None = field(
        default=None, metadata={"help": f"GLUE task to fine-tune on, one of: {', '.join(GLUE_TASKS)}."}
    )
    data_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder of local GLUE data: official files (FOLDER/CoLA/train.tsv), Parquet files as "
            "in nyu-mll/glue (FOLDER/cola/train-00000-of-00001.parquet), or save_to_disk (FOLDER/cola). Default: the "
            "Hub's nyu-mll/glue."
        },
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "Dataset on the Hub, or a local folder, also one of `save_to_disk`."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_file: str | None = field(
        default=None, metadata={"help": f"Training data, one of: {', '.join(FILE_TYPES)}. Quotes in a .tsv are text."}
    )
    validation_file: str | None = field(default=None, metadata={"help": "Validation data, same types."})
    test_file: str | None = field(default=None, metadata={"help": "Test data, same types; labels are optional."})

    # Columns
    text_column_names: list[str] | None = field(
        default=None,
        metadata={
            "help": "One or two text columns. Default: a pair such as sentence1 and sentence2, the column whose name "
            "means text, or the only one or two of strings that are no ids, dates or sources."
        },
    )
    label_column_name: str = field(
        default="label", metadata={"help": "Label column. Float labels in training make it a regression."}
    )
    soft_label_columns: list[str] | None = field(
        default=None,
        metadata={
            "help": "Soft labels: a column of probabilities for each class, named like it; or one column of lists of "
            "them. Lists of fractions that sum to 1 in the label column are taken for soft labels without it."
        },
    )

    # Inputs
    max_seq_length: int = field(default=128, metadata={"help": "Longest input in tokens; longer ones are cut."})
    pad_to_max_length: bool = field(
        default=False,
        metadata={"help": "Whether to pad all rows to max_seq_length, not just to the longest of a batch."},
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on the first so many rows only."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate the first so many rows only."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "Predict the first so many rows only."})
    overwrite_cache: bool = field(default=False, metadata={"help": "Whether to tokenize again what is cached."})

    # Scores
    n_bins: int = field(default=15, metadata={"help": "Number of confidence bins of ECE and OE."})

    def __post_init__(self):
        self._check_source()
        self._check_numbers()
        texts = self.text_column_names or ()
        if len(texts) > 2 or len(set(texts)) < len(texts):
            raise ValueError(f"--text_column_names takes one column or two different ones, got: {', '.join(texts)}.")
        if self.label_column_name in texts:
            raise ValueError(f"Column {self.label_column_name!r} is given as text and as label; name another one.")

    def _check_source(self):
        if self.data_dir is not None and self.task_name is None:
            raise ValueError(f"--data_dir holds GLUE files; say which with --task_name: {', '.join(GLUE_TASKS)}.")
        files = {"train_file": self.train_file, "validation_file": self.validation_file, "test_file": self.test_file}
        files = {name: file for name, file in files.items() if file is not None}
        given = {"--task_name": self.task_name, "--dataset_name": self.dataset_name}
        given = [flag for flag, value in given.items() if value is not None] + [f"--{name}" for name in files][:1]
        if len(given) != 1:
            got = " and ".join(given) if given else "none"
            raise ValueError(f"Give exactly one source of data: {self.sources}; got {got}.")
        if self.task_name is not None:
            self.task_name = get_task(self.task_name).name
        if self.dataset_config_name is not None and self.dataset_name is None:
            raise ValueError("--dataset_config_name belongs to --dataset_name; give both or neither.")
        own = self.text_column_names or self.soft_label_columns or self.label_column_name != "label"
        if self.task_name is not None and own:
            raise ValueError(
                "--text_column_names, --label_column_name and --soft_label_columns are for your own data, not for "
                "--task_name."
            )
        for name, file in files.items():
            if not is_data_file(file):
                raise ValueError(f"--{name} {file}: unknown extension; use one of: {', '.join(FILE_TYPES)}.")

    def _check_numbers(self):
        for name in ("max_seq_length", "max_train_samples", "max_eval_samples", "max_predict_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}.")
        check_bins(self.n_bins, "--n_bins")


@dataclass
class OutputArguments:
    """What a run leaves in `output_dir` beside its metrics."""

    save_predictions: bool = field(
        default=False,
        metadata={"help": "Whether to keep row ids, labels and logits of every evaluation split (Parquet)."},
    )
    keep_weights: bool = field(
        default=True, metadata={"help": "Whether model and checkpoints stay in output_dir once all is done."}
    )
    report_as: str | None = field(
        default=None, metadata={"help": "Name of the method in `glue_runs report`. Default: mix_method."}
    )
