# SPDX-License-Identifier: Apache-2.0
"""The records that describe a GLUE task: its columns, its files and how its labels are written."""

from dataclasses import dataclass

__all__ = ["OWN", "GlueSplit", "GlueTask", "TsvLayout"]

OWN = "own"  # what runs of the user's own data are filed under, where others have the name of their task


@dataclass(frozen=True)
class TsvLayout:
    """Where an official TSV file keeps its columns, by header name or, in a file without header, by position.

    Args:
        texts (`tuple`): One or two text columns, in the order of the task's `text_columns`.
        label (`str` or `int`, *optional*): Label column; `None` for a file without labels.
        index (`str` or `int`, *optional*): Column of row ids; `None` numbers the lines from 0, as `nyu-mll/glue` does.
        num_columns (`int`, *optional*): Columns of a file without header; `None` says that line 1 is the header.
        continued (`bool`): Whether a text may hold a line break, so that its record goes on in the next line.
    """

    texts: tuple[str | int, ...]
    label: str | int | None = None
    index: str | int | None = None
    num_columns: int | None = None
    continued: bool = False


@dataclass(frozen=True)
class GlueSplit:
    """One file of a task.

    Args:
        name (`str`): Split name of `nyu-mll/glue`; starts with `train`, `validation` or `test`.
        file (`str`): File name in the task's folder of the official distribution.
        layout (`TsvLayout`): Columns of that file.
        submission (`str`, *optional*): Leaderboard file that holds the predictions for this split.
        num_rows (`int`, *optional*): Rows that the leaderboard expects in that file.
        other_path (`str`, *optional*): Where else, below the folder of all tasks, some distributions keep the file.
        source (`tuple`, *optional*): Task and split whose rows these are; `None` says that they are the task's own. A
            run goes on, with a warning, where the rows of another task are not to be had.
    """

    name: str
    file: str
    layout: TsvLayout
    submission: str | None = None
    num_rows: int | None = None
    other_path: str | None = None
    source: tuple[str, str] | None = None


@dataclass(frozen=True)
class GlueTask:
    """One GLUE task.

    Args:
        name (`str`): Configuration name of `nyu-mll/glue`.
        folder (`str`): Folder name in the official distribution.
        text_columns (`tuple` of `str`): Text columns of `nyu-mll/glue`, one or two.
        label_names (`tuple` of `str`, *optional*): Classes in the order of `nyu-mll/glue`; `None` for regression.
        label_strings (`tuple` of `str`, *optional*): How the official TSV and the leaderboard write these classes.
        metrics (`tuple` of `str`): Official scores, names of `glue_runs.tasks.scores.SCORES`.
        splits (`tuple` of `GlueSplit`): Files of the task.
        score_range (`tuple` of `float`): Smallest and largest score of a regression task.
        trained_on (`str`, *optional*): Task whose models predict this one, which has no training data of its own.
    """

    name: str
    folder: str
    text_columns: tuple[str, ...]
    label_names: tuple[str, ...] | None
    label_strings: tuple[str, ...] | None
    metrics: tuple[str, ...]
    splits: tuple[GlueSplit, ...]
    score_range: tuple[float, float] | None = None
    trained_on: str | None = None

    def split(self, name: str) -> GlueSplit:
        """The split called `name`; raises a `ValueError` that lists the task's splits."""
        for split in self.splits:
            if split.name == name:
                return split
        known = ", ".join(split.name for split in self.splits)
        advice = f" Fine-tune on {self.trained_on}, whose models predict it." if self.trained_on else ""
        raise ValueError(f"GLUE task {self.name!r} has no split {name!r}; its splits are: {known}.{advice}")

    def paths(self, split: GlueSplit) -> tuple[str, ...]:
        """Places of a split's file below the folder of all tasks, the official one first."""
        official = f"{self.folder}/{split.file}"
        return (official,) if split.other_path is None else (official, split.other_path)

    @property
    def evaluation_splits(self) -> tuple[str, ...]:
        """Names of the splits that `--do_eval` scores."""
        return tuple(split.name for split in self.splits if split.name.startswith("validation"))

    @property
    def prediction_files(self) -> tuple[tuple[str, str], ...]:
        """Pairs of test split and leaderboard file that `--do_predict` writes."""
        return tuple((split.name, split.submission) for split in self.splits if split.submission is not None)
