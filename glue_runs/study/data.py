# SPDX-License-Identifier: Apache-2.0
"""Rows of a study: where they are read, how they are split, and which of them a run trains on."""

import importlib.resources
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glue_runs.tasks.glue import get_task
from glue_runs.tasks.tsv import read_split
from logitmix_nlp.evaluation.data.files import read_data_file
from logitmix_nlp.evaluation.data.lines import require_file, shown

__all__ = ["LabelledTexts", "TaskRows", "class_folders", "load_task", "read_source", "training_rows"]

SOURCES = ("file", "json", "glue", "package")


class LabelledTexts(NamedTuple):
    """Texts and their class names, in the order of their source.

    Args:
        texts (`list[tuple[str, ...]]`): One or two texts per row.
        labels (`list[str]`): Class name of each row.
    """

    texts: list[tuple[str, ...]]
    labels: list[str]

    def pick(self, places: Sequence[int]) -> "LabelledTexts":
        """The rows at these places, in their order."""
        return LabelledTexts([self.texts[place] for place in places], [self.labels[place] for place in places])


class TaskRows(NamedTuple):
    """The rows of a task before a regime takes some of them for training.

    Args:
        train (`LabelledTexts`): To train on.
        validation (`LabelledTexts`): To choose the learning rate and fit the temperature on.
        test (`LabelledTexts`): To score.
        outside (`list[tuple[str, ...]]`): Texts that belong to no class; empty if the task has none.
        classes (`list[str]`): Class names, sorted; a class id is a place in it.
    """

    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts
    outside: list[tuple[str, ...]]
    classes: list[str]

    def ids(self, rows: LabelledTexts) -> list[int]:
        """Class ids of rows."""
        places = {name: place for place, name in enumerate(self.classes)}
        return [places[label] for label in rows.labels]


def read_source(source: Mapping[str, Any], data_dir: str | Path) -> LabelledTexts:
    """Rows of one source.

    Args:
        source (`Mapping`): One of `{file: PATH, text: [COLUMN, ...], label: COLUMN}`, a data file;
            `{json: PATH, key: KEY}`, a JSON object of lists of `[text, label]`, as CLINC150 has it;
            `{glue: TASK, split: SPLIT}`, an official GLUE file in the folder `glue`;
            `{package: NAME, folder: PATH}`, class folders of text files in a package, see [`class_folders`].
        data_dir (`str` or `Path`): Folder that paths are relative to.

    Returns:
        `LabelledTexts`: All rows, in file order.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the package is not installed.
        ValueError: If the source is none of the above or lacks a column or key, or GLUE rows have scores, not classes.
    """
    kind = [name for name in SOURCES if name in source]
    if len(kind) != 1:
        raise ValueError(f"source {dict(source)}: give exactly one of {', '.join(SOURCES)}.")
    if "file" in source:
        path = Path(data_dir) / source["file"]
        rows = read_data_file(path, source["label"])
        missing = [name for name in (*source["text"], source["label"]) if name not in rows.column_names]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}; there are: {', '.join(rows.column_names)}.")
        texts = list(zip(*(rows[name][:] for name in source["text"]), strict=True))
        return LabelledTexts(texts, [str(label) for label in rows[source["label"]]])
    if "json" in source:
        path = require_file(Path(data_dir) / source["json"])
        queries = json.loads(path.read_text(encoding="utf-8"))
        if source["key"] not in queries:
            raise ValueError(f"{path} has no key {source['key']!r}; there are: {', '.join(queries)}.")
        rows = queries[source["key"]]
        return LabelledTexts([(text,) for text, _ in rows], [name for _, name in rows])
    if "glue" in source:
        task = get_task(source["glue"])
        if task.label_names is None:
            raise ValueError(f"GLUE task {task.name} has scores for labels; a study compares classifiers.")
        columns = read_split(task, source["split"], Path(data_dir) / "glue")
        texts = list(zip(*(columns[name] for name in task.text_columns), strict=True))
        return LabelledTexts(texts, [task.label_names[label] for label in columns["label"]])
    return class_folders(Path(str(importlib.resources.files(source["package"]))) / source["folder"])


def class_folders(root: Path) -> LabelledTexts:
    """First lines of the text files in the folders of `root`, each named like its class; equal lines stay once.

    Raises:
        FileNotFoundError: If `root` holds no such files.
    """
    rows = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for file in sorted(folder.glob("*.txt")):
            text = file.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
            rows.setdefault((text,), folder.name)
    if not rows:
        raise FileNotFoundError(f"{root} holds no folders of .txt files.")
    return LabelledTexts(list(rows), list(rows.values()))


def load_task(task: Mapping[str, Any], data_dir: str | Path) -> TaskRows:
    """Read and split the rows of a task.

    Args:
        task (`Mapping`): Sources `train` and, if they exist, `validation`, `test` and `outside`; `validation_rows` and
            `test_rows` say how many are drawn off the training rows where the source has none of its own, and
            `split_seed` from which seed.
        data_dir (`str` or `Path`): Folder that paths are relative to.

    Returns:
        `TaskRows`: Splits without a row in common.

    Raises:
        ValueError: If more rows are to be drawn than there are, or a class has no training row.
    """
    train = read_source(task["train"], data_dir)
    order = random.Random(task["split_seed"]).sample(range(len(train.texts)), len(train.texts))
    drawn = {}
    for name in ("validation", "test"):
        if name in task:
            drawn[name] = read_source(task[name], data_dir)
        else:
            count = task[f"{name}_rows"]
            if not 0 < count < len(order):
                raise ValueError(f"{name}_rows must lie between 1 and {len(order) - 1}, got {count}.")
            drawn[name], order = train.pick(sorted(order[:count])), order[count:]
    train = train.pick(sorted(order))
    classes = sorted(set(train.labels))
    unknown = sorted({label for rows in drawn.values() for label in rows.labels} - set(classes))
    if unknown:
        raise ValueError(f"No training row of the classes {shown(unknown)}: draw fewer rows off the training data.")
    outside = read_source(task["outside"], data_dir).texts if "outside" in task else []
    return TaskRows(train, drawn["validation"], drawn["test"], outside, classes)


def training_rows(rows: TaskRows, regime: Mapping[str, Any], seed: int) -> tuple[list[tuple[str, ...]], list[int]]:
    """The rows that a run trains on: so many of each class, some with a wrong label. Equal seeds draw equal rows.

    Args:
        rows (`TaskRows`): All rows of the task.
        regime (`Mapping`): `labels_per_class`, the rows drawn of each class (all if it has fewer, or if `None`);
            `wrong_labels`, the share of the drawn rows in `[0, 1)` whose label is replaced by another class, each
            equally likely.
        seed (`int`): Of the run. Every method sees the same rows at the same seed.

    Returns:
        `tuple`: Texts and class ids, in the order of the source.

    Raises:
        ValueError: If a number is out of range.
    """
    per_class, wrong = regime["labels_per_class"], regime["wrong_labels"]
    if not (per_class is None or per_class >= 1) or not 0 <= wrong < 1:
        raise ValueError(f"Expected labels_per_class >= 1 or null and wrong_labels in [0, 1), got {dict(regime)}.")
    ids, rng = rows.ids(rows.train), random.Random(f"rows {seed}")
    places = []
    for one in range(len(rows.classes)):
        members = [place for place, label in enumerate(ids) if label == one]
        places += members if per_class is None else rng.sample(members, min(per_class, len(members)))
    places.sort()
    labels = [ids[place] for place in places]
    rng = random.Random(f"labels {seed}")
    for place in rng.sample(range(len(labels)), round(wrong * len(labels))):
        others = [one for one in range(len(rows.classes)) if one != labels[place]]
        labels[place] = rng.choice(others)
    return [rows.train.texts[place] for place in places], labels
