# SPDX-License-Identifier: Apache-2.0
"""Rows on disk, their logits one by one, and failing commands, for the tests of `evaluate` and `calibrate`."""

import json

import numpy as np
import samples
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

WORDS = samples.WORDS.split()[5:-2]
CLASSES = ("bad", "fair", "good")


def texts(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(2, 9))) for _ in range(count)]


def rows_file(path, count=40, seed=0, labelled=True):
    labels = np.random.default_rng(seed + 100).integers(3, size=count)
    rows = [{"text": text, "label": CLASSES[k]} for text, k in zip(texts(count, seed), labels, strict=True)]
    rows = rows if labelled else [{"text": row["text"]} for row in rows]
    return samples.write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def logits_of(model, path) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and class ids of the rows of a file, one row at a time."""
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    with torch.no_grad():
        logits = torch.cat([network(**tokenizer(row["text"], return_tensors="pt")).logits for row in rows])
    return logits, torch.tensor([network.config.label2id[row["label"]] for row in rows])


def failure(command, capsys, *argv) -> str:
    capsys.readouterr()  # progress bars of the test's own loading and saving
    assert command.main([str(argument) for argument in argv]) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if not line.startswith(("INFO", "WARNING"))]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]
