# SPDX-License-Identifier: Apache-2.0
"""A tiny study: a random model, made-up texts of two classes, rows of finished runs."""

import json
from pathlib import Path

import numpy as np
import samples
import yaml

from glue_runs.study.plan import plan_block, read_study
from glue_runs.study.rows import KEY

WORDS = ("cat", "dog", "mat", "fine", "dull", "sat", "ran")


def texts(count: int, seed: int) -> list[list[str]]:
    """Rows `[text, label]`; a text of class `cats` starts with a cat."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = rng.choice(WORDS, size=int(rng.integers(1, 9)))
        rows.append([" ".join(["the", ("cat", "dog")[number % 2], *words, f"{number}"]), ("cats", "dogs")[number % 2]])
    return rows


def write_data(folder: Path) -> Path:
    """`texts.json` with the keys `train`, `test` and `outside`, and a model in `model`."""
    values = {"train": texts(40, 0), "test": texts(30, 1), "outside": [["it was he", "none"], ["he said", "none"]] * 5}
    samples.write_text(folder / "texts.json", json.dumps(values))
    samples.write_model(folder / "model")
    return folder


def write_text(path: Path, text: str) -> Path:
    """Write a file, with its folder."""
    return samples.write_text(path, text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def study_values(folder: Path) -> dict:
    """The content of the file of a study of one task."""
    choice = {"task": "pets", "regime": "4", "method": "vanilla", "seed": 1, "learning_rates": [0.01, 0.02]}
    return {
        "title": "Tiny",
        "model": str(folder / "model"),
        "max_seq_length": 16,
        "flags": {"per_device_train_batch_size": 4, "use_cpu": True, "train_sampling_strategy": "group_by_length"},
        "evaluation": {"batch_size": 4, "n_bins": 5, "noise_rows": 20, "noise_rate": 0.3, "noise_seed": 0},
        "regimes": {"4": {"labels_per_class": 4, "wrong_labels": 0.0}},
        "methods": {"vanilla": {"spec": "vanilla"}, "longer": {"spec": "vanilla", "epochs": 2}},
        "tasks": {
            "pets": {
                "train": {"json": "texts.json", "key": "train"},
                "test": {"json": "texts.json", "key": "test"},
                "outside": {"json": "texts.json", "key": "outside"},
                "validation_rows": 20,
                "split_seed": 0,
                "score": "accuracy",
                "epochs": {"4": 1},
            }
        },
        "blocks": [
            {"choose": choice},
            {"tasks": ["pets"], "regimes": ["4"], "methods": ["vanilla", "longer"], "seeds": [1, 2]},
        ],
        "analysis": {
            "resamples": 200,
            "level": 0.95,
            "min_seeds": 2,
            "families": {
                "a": {
                    "question": "Is longer better?",
                    "rule": "If found.",
                    "figures": ["score", "after_nll", "ece"],
                    "regimes": {"pets": "4"},
                    "pairs": [["longer", "vanilla"]],
                }
            },
        },
    }  # fmt: skip


def write_study(folder: Path, values: dict) -> Path:
    """The file of a study."""
    return samples.write_text(folder / "study.yaml", yaml.safe_dump(values, sort_keys=False))


def planned(path: Path, rows: dict, block: int, output_dir="runs"):
    """The runs of one block."""
    study = read_study(path)
    return plan_block(study, study.blocks[block], output_dir, rows)


def rows_of(runs, **figures) -> dict:
    """Rows of finished runs; each figure has one value per run."""
    rows = {}
    for place, run in enumerate(runs):
        about = {name: run.plan[name] for name in KEY} | {"plan": run.digest, "classes": 2.0, "train_rows": 8.0}
        rows[run.digest] = about | {name: values[place] for name, values in figures.items()}
    return rows
