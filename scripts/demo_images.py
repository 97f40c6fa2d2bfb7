#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Train a small ResNet from scratch on scikit-learn's digits with eight methods, and compare them.

    make demo-images                # or: python scripts/demo_images.py --output_dir runs/demo-images

Nothing is downloaded. The training set is small, so that plain training becomes over-confident.
"""

import argparse
import copy
import json
import os
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import concatenate_datasets

from glue_runs.report.method_table import METRICS, method_table
from glue_runs.report.step_time import seconds_per_step
from glue_runs.tasks.scores import make_compute_metrics
from logitmix_nlp.functional import confidence_bins
from logitmix_nlp.images import ImageModelArguments, ImageTrainer, ImageTrainingArguments
from logitmix_nlp.images.datasets import ImageRows, digits
from logitmix_nlp.images.examples import mixed_examples
from logitmix_nlp.images.processors import model_pixels
from logitmix_nlp.images.scratch import from_scratch
from logitmix_nlp.reports.plots import image_grid, reliability_diagrams
from logitmix_nlp.reports.tables import to_markdown

METHODS = ("vanilla", "mixup", "cutmix", "puzzlemix", "logitmix_m", "logitmix_c", "logitmix_p", "lamix")
# Methods that mix pixels alike share a row of the plot.
PICTURED = {
    "mixup, logitmix_m": "mixup",
    "cutmix, logitmix_c": "cutmix",
    "puzzlemix, logitmix_p": "puzzlemix",
    "lamix (every other step; β = 0.5)": "lamix",
}
TITLE = (
    "What each method trains on, and its label (λ drawn for each image here, to show more)\n"
    "LaMix: β is the label's share of the target, the rest is the second head's"
)
N_BINS, COLUMNS = 15, 8


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="runs/demo-images", help="Where table, results and plots go.")
    parser.add_argument("--train_rows", type=int, default=100, help="Digits to train on; the rest is for testing.")
    parser.add_argument("--steps", type=int, default=400, help="Optimizer steps of 32 digits.")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="Which to compare; the first is the time unit.")
    parser.add_argument("--seed", type=int, default=1, help="Of the split, the weights, the order and the mixing.")
    parser.add_argument("--rounds", type=int, default=9, help="How often the methods take turns to be timed.")
    return parser.parse_args(arguments)


def load_rows(options: argparse.Namespace):
    """Digits to train on and to test on, drawn at random."""
    rows = concatenate_datasets(list(digits().values())).shuffle(seed=options.seed)
    return rows.select(range(options.train_rows)), rows.select(range(options.train_rows, len(rows)))


def run_method(method: str, options: argparse.Namespace) -> tuple[dict, np.ndarray, np.ndarray, ImageTrainer]:
    """Train with one method; return its figures, logits and labels of the test rows, and the trainer."""
    train, test = load_rows(options)
    transformers.set_seed(options.seed)
    names = train.features["label"].names
    model, processor = from_scratch(ImageModelArguments(config_name="resnet20"), train, names)
    args = ImageTrainingArguments(
        output_dir=os.path.join(options.output_dir, method),
        mix_method=method,
        crop_padding=0,
        flip_prob=0.0,
        max_steps=options.steps,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=128,
        learning_rate=2e-3,
        seed=options.seed,
        save_strategy="no",
        logging_steps=200,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = ImageTrainer(
        model,
        args,
        train_dataset=ImageRows(train, processor),
        eval_dataset=ImageRows(test, processor),
        processing_class=processor,
        compute_metrics=make_compute_metrics(("accuracy",), False, N_BINS),
    )
    trainer.train()
    output = trainer.predict(trainer.eval_dataset, metric_key_prefix="test")
    figures = {name: output.metrics[f"test_{name}"] for name in METRICS}
    return figures, output.predictions, output.label_ids, trainer


def draw_examples(trainer: ImageTrainer, options: argparse.Namespace, target: Path) -> None:
    """Picture of the same training digits as each method mixes them; PuzzleMix sees through the trained model."""
    processor, model = trainer.processing_class, copy.deepcopy(trainer.model).eval().cpu()
    rows = [trainer.train_dataset[row] for row in range(COLUMNS)]
    labels = torch.stack([row["labels"] for row in rows])
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    pixels = torch.stack([row["pixel_values"] for row in rows])
    images = model_pixels(pixels, processor)

    def shown(batch: torch.Tensor) -> np.ndarray:
        return (batch.permute(0, 2, 3, 1) * std + mean).numpy()

    grid = {"digits": (shown(images), [str(int(label)) for label in labels])}
    for name, method in PICTURED.items():
        mixed = mixed_examples(method, model, images, labels, processor=processor, seed=options.seed)
        partners = labels[mixed.index]
        captions = [
            f"{lam:.2f} · {own} + {1 - lam:.2f} · {other}"
            for lam, own, other in zip(mixed.lam.tolist(), labels.tolist(), partners.tolist(), strict=True)
        ]
        grid[name] = (shown(mixed.images), captions)
    image_grid(grid, target, TITLE)


def main(arguments: list[str] | None = None) -> None:
    """Run all methods; print the table; write it, the metrics and the plots."""
    options = parse(arguments)
    output_dir = Path(options.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    results, bins, trainers = {}, {}, {}
    for method in options.methods:
        print(f"\n=== {method} ===", flush=True)
        results[method], logits, labels, trainers[method] = run_method(method, options)
        bins[method] = confidence_bins(torch.from_numpy(logits), torch.from_numpy(labels), N_BINS)
        if method == options.methods[0]:
            draw_examples(trainers[method], options, output_dir / "mixed.png")
    print("\n=== time per step ===", flush=True)
    for method, seconds in seconds_per_step(trainers, rounds=options.rounds).items():
        results[method]["seconds_per_step"] = seconds
    tested = int(bins[options.methods[0]].count.sum())
    caption = (
        f"ResNet-20 from scratch, {options.train_rows} digits of 8x8 pixels to train, {tested} to test, "
        f"{options.steps} steps of 32, seed {options.seed}"
    )
    table = to_markdown(method_table(caption, {name: [row] for name, row in results.items()}, N_BINS))
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    record = {"options": vars(options), "n_bins": N_BINS, "versions": versions, "results": results}
    (output_dir / "results.json").write_text(json.dumps(record, indent=2) + "\n")
    reliability_diagrams(bins, output_dir / "reliability.png", caption)
    report = f"# Images, eight ways to train\n\n{table}\n![](mixed.png)\n\n![](reliability.png)\n"
    (output_dir / "report.md").write_text(report)
    print(f"\n{table}\nWritten to {output_dir}: report.md, results.json, mixed.png, reliability.png")


if __name__ == "__main__":
    main()
