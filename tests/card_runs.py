# SPDX-License-Identifier: Apache-2.0
"""Short runs that end with a model card, and what such a card says."""

import re
from pathlib import Path

import numpy as np
import samples
import tiny
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, EvalPrediction

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.publishing.card import CardFacts
from logitmix_nlp.publishing.card.facts import MethodFacts

ROWS = 40


def rows(count: int, seed: int = 0) -> list[dict]:
    """Rows with ids that the vocabulary of `samples.write_model` has."""
    size = len(samples.WORDS.split())
    return [{**row, "input_ids": [token % size for token in row["input_ids"]]} for row in tiny.rows(count, seed=seed)]


def compute_metrics(prediction: EvalPrediction) -> dict:
    """The share of rows for which class 0 is predicted, as a NumPy scalar, and something that is no number."""
    share = np.float32((prediction.predictions.argmax(-1) == 0).mean())
    return {"share_of_first": share, "confusion": [[1, 0], [0, 1]]}


def text_trainer(folder: Path, **options) -> LogitMixTrainer:
    """Trainer of a tiny text classifier from a local folder; the earliest evaluation is the best one."""
    base = samples.write_model(folder / "secret-user" / "base", num_labels=3)
    settings = {
        "eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 3,
        "load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": True,
        "per_device_train_batch_size": 8, "weight_decay": 0.125, "lam_per_sample": True,
    }  # fmt: skip
    extras = {name: options.pop(name) for name in ("eval_dataset", "compute_metrics") if name in options}
    return LogitMixTrainer(
        AutoModelForSequenceClassification.from_pretrained(base),
        tiny.arguments(folder / "out", **{**settings, **options}),
        train_dataset=rows(48, seed=1),
        data_collator=tiny.collate,
        processing_class=AutoTokenizer.from_pretrained(base),
        **{"eval_dataset": rows(ROWS), "compute_metrics": compute_metrics, **extras},
    )


def predicted(folder: Path, data: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of the model in a folder, without a trainer, in batches as the trainer makes them."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batches = [tiny.collate(data[start : start + 4]) for start in range(0, len(data), 4)]
    with torch.no_grad():
        logits = [model(**batch).logits for batch in batches]
    return torch.cat(logits).numpy(), torch.cat([batch["labels"] for batch in batches]).numpy()


def code_of(card: str) -> list[str]:
    """The pieces of Python in a card."""
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def facts(**changes) -> CardFacts:
    """Facts of a text classifier that was not evaluated."""
    method = MethodFacts("vanilla", "plain fine-tuning", "L = 1 · L_cls", (("L_cls", "cross-entropy"),), (), ())
    settings = {
        "model_name": "demo", "repo_id": "ann/demo", "task": "text-classification",
        "kind": "single_label_classification", "architecture": "BertForSequenceClassification",
        "labels": ("no", "yes"), "method": method, "missing": "nobody asked.", "processor": "ann/demo",
        "tags": ("logitmix-nlp", "vanilla"), "versions": (("Python", "3.11"),),
    }  # fmt: skip
    return CardFacts(**{**settings, **changes})
