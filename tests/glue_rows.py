# SPDX-License-Identifier: Apache-2.0
"""The rows of `samples.GLUE_FILES` written out, and as the repository `nyu-mll/glue` would store them."""

import io
from collections.abc import Sequence
from pathlib import Path

import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

ROWS = {
    "cola": {
        "train": [
            ('The "cat sat.', 1, 0), ("Cat the sat.", 0, 1), ('A cat, a "mat".', 1, 2), ("On on.", 0, 3),
        ],
        "validation": [("The dog sat.", 1, 0), ("Dog dog the.", 0, 1), ("It sat.", 1, 2)],
        "test": [("The dog ran.", -1, 0), ("Ran the.", -1, 1), ("It ran.", -1, 2)],
    },
    "sst2": {
        "train": [("a dull mat ", 0, 0), ("a fine cat ", 1, 1), ("fine ", 1, 2)],
        "validation": [("not a dull cat ", 1, 0), ("dull ", 0, 1)],
        "test": [("a fine mat", -1, 0), ("dull", -1, 1)],
    },
    "mrpc": {
        "train": [
            ('He said , " the cat sat .', "The cat sat , he said .", 1, 0), ("A dog ran .", '" A cat sat .', 0, 1),
        ],
        "validation": [("It sat .", "It was sat .", 1, 0)],
        "test": [("It ran .", "It ran .", -1, 0), ("A", "B", -1, 1)],
    },
    "qqp": {
        "train": [
            ("Is the cat dull?", "Is it a dull cat?", 1, 0), ('"Was he the cat? "', 'Was it a "dog"?', 0, 1),
            ("Who sat?", '"Who ran? "', 0, 3), ("Who ran?", "", 0, 5),
        ],
        "validation": [("Why a mat?", "Why the mat?", 0, 0)],
        "test": [('Would "it sit?', "Would it?", -1, 0), ("Who sat?", "Who ran?", -1, 1)],
    },
    "stsb": {
        "train": [("A cat sat.", "A dog sat.", 2.5, 0), ("It ran.", "It ran.", 5.0, 1), ("A.", "The dog.", 0.0, 2)],
        "validation": [("A cat ran.", "A dog ran.", 3.25, 0)],
        "test": [("A.", "B.", -1.0, 0), ("It.", "It sat.", -1.0, 1)],
    },
    "mnli": {
        "train": [
            ('A cat " sat.', "It sat.", 0, 0), ("A dog ran.", "It was a cat.", 2, 1), ("It ran.", "A dog ran.", 1, 2),
        ],
        "validation_matched": [("The cat sat.", "A cat ran.", 1, 0), ("It ran.", "It sat.", 2, 1)],
        "validation_mismatched": [("The mat.", "A mat.", 0, 0)],
        "test_matched": [("A dog.", "It.", -1, 0), ("It.", "A dog.", -1, 1)],
        "test_mismatched": [("A mat.", "It sat.", -1, 0)],
    },
    "qnli": {
        "train": [("Who sat?", "The cat sat .", 0, 0), ("Who ran?", 'The "cat" sat .', 1, 1)],
        "validation": [("Who sat?", "A dog ran .", 1, 0)],
        "test": [("Who ran?", "It ran .", -1, 0), ("Who?", "It .", -1, 1)],
    },
    "rte": {
        "train": [("A cat sat.", "It sat.", 0, 0), ("A cat sat.", "It ran.", 1, 1)],
        "validation": [("A dog ran.", "It sat.", 1, 0)],
        "test": [("A dog.", "It sat.", -1, 0), ("The dog ran.", "It ran.", -1, 1)],
    },
    "wnli": {
        "train": [("The cat sat on it.", "The cat sat.", 1, 0), ("It ran.", "The mat ran.", 0, 1)],
        "validation": [("It sat.", "The dog sat.", 0, 0)],
        "test": [("The dog ran.", "It ran.", -1, 0)],
    },
    "ax": {
        "test": [
            ("The cat sat.", "The cat did not sit.", -1, 0), ("The cat did not sit.", "The cat sat.", -1, 1),
        ],
    },
}  # fmt: skip

# Names of the text columns, then of the classes; none for scores.
_PAIR, _NLI = ("sentence1", "sentence2"), ("entailment", "neutral", "contradiction")
COLUMNS = {
    "cola": (("sentence",), ("unacceptable", "acceptable")),
    "sst2": (("sentence",), ("negative", "positive")),
    "mrpc": (_PAIR, ("not_equivalent", "equivalent")),
    "qqp": (("question1", "question2"), ("not_duplicate", "duplicate")),
    "stsb": (_PAIR, None),
    "mnli": (("premise", "hypothesis"), _NLI),
    "qnli": (("question", "sentence"), ("entailment", "not_entailment")),
    "rte": (_PAIR, ("entailment", "not_entailment")),
    "wnli": (_PAIR, ("not_entailment", "entailment")),
    "ax": (("premise", "hypothesis"), _NLI),
}


def hub_data(task: str) -> DatasetDict:
    """The splits of a task, in columns and types as on the Hub."""
    texts, names = COLUMNS[task]
    label = Value("float32") if names is None else ClassLabel(names=list(names))
    features = Features({**{name: Value("string") for name in texts}, "label": label, "idx": Value("int32")})
    columns = {split: zip(features, zip(*rows, strict=True), strict=True) for split, rows in ROWS[task].items()}
    return DatasetDict(
        {split: Dataset.from_dict({n: list(v) for n, v in c}, features=features) for split, c in columns.items()}
    )


def parquet(split: Dataset) -> bytes:
    """A parquet file."""
    buffer = io.BytesIO()
    split.to_parquet(buffer)
    return buffer.getvalue()


def repository(tasks: Sequence[str] = tuple(ROWS)) -> dict[str, bytes]:
    """Files of `nyu-mll/glue`: a card that lists configurations, features and splits, and a parquet file per split."""
    files, infos, configs = {}, [], []
    for task in tasks:
        data = hub_data(task)
        names = sorted(data)
        texts, classes = COLUMNS[task]
        label = (
            "float32" if classes is None else {"class_label": {"names": {str(i): n for i, n in enumerate(classes)}}}
        )
        features = [{"name": n, "dtype": t} for n, t in (*((n, "string") for n in texts), ("label", label))]
        splits = [{"name": name, "num_bytes": 1, "num_examples": len(data[name])} for name in names]
        infos.append(
            {"config_name": task, "features": [*features, {"name": "idx", "dtype": "int32"}], "splits": splits}
        )
        paths = [{"split": name, "path": f"{task}/{name}-*"} for name in names]
        configs.append({"config_name": task, "data_files": paths})
        files |= {f"{task}/{name}-00000-of-00001.parquet": parquet(data[name]) for name in names}
    card = yaml.safe_dump({"pretty_name": "GLUE", "dataset_info": infos, "configs": configs}, sort_keys=False)
    return {"README.md": f"---\n{card}---\n# GLUE\n".encode(), **files}


def write_repository(folder: Path) -> Path:
    """A copy of `nyu-mll/glue` on disk."""
    for name, content in repository().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_saved(folder: Path) -> Path:
    """Every task as `save_to_disk` writes it, in a folder of its own."""
    for task in ROWS:
        hub_data(task).save_to_disk(folder / task)
    return folder
