# SPDX-License-Identifier: Apache-2.0
"""One process of `test_draws.test_processes_draw_apart_and_decide_together`: what it drew, nothing replaced."""

import json
import os
from pathlib import Path

import drawn
import image_files
import tiny
import torch
from accelerate.utils import gather_object

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.images import ImageModelArguments, ImageTrainer, ImageTrainingArguments
from logitmix_nlp.images.datasets import ImageRows
from logitmix_nlp.images.scratch import from_scratch

TEXT = {
    "mix_site": "embeddings,layer:0-2", "mix_prob": 0.6, "mix_warmup": "grad", "gradient_accumulation_steps": 2,
    "max_steps": 12, "num_train_epochs": 2,
}  # fmt: skip


class Watching(LogitMixTrainer):
    """Notes where each batch is mixed."""

    sites: list[str | None]

    def _forward(self, model, inputs, rows, drawn, site, weights):
        self.sites.append(None if site is None else site.name)
        return super()._forward(model, inputs, rows, drawn, site, weights)


def text(output: Path) -> dict:
    """Pairs, shares, sites and weights of a text run."""
    calls = drawn.watch(setattr)
    run = tiny.trainer(output, tiny.rows(192), tiny.bert(), Watching, ddp_backend="gloo", **TEXT)
    run.sites = []
    run.train()
    return {
        "rank": run.accelerator.process_index,
        "sites": run.sites,
        "weights": [list(weights.as_dict().values()) for weights in drawn.results(calls["weights"])],
        "index": [plan.index.tolist() for plan in drawn.results(calls["plans"])],
        "lam": [plan.lam.tolist() for plan in drawn.results(calls["plans"])],
    }


def images(output: Path, method: str) -> dict:
    """Crops, boxes and grids of an image run."""
    calls = drawn.watch(setattr)
    data = image_files.rows(48)
    overrides = "embedding_size=4,hidden_sizes=[4],depths=[1],layer_type=basic"
    args = ImageModelArguments(config_name="resnet", config_overrides=overrides, image_size=16)
    model, processor = from_scratch(args, data, image_files.NAMES)
    settings = ImageTrainingArguments(
        output_dir=str(output), per_device_train_batch_size=4, seed=5, use_cpu=True, report_to="none", optim="sgd",
        save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, ddp_backend="gloo", num_train_epochs=1,
        crop_padding=2, flip_prob=0.5, mix_method=method,
    )  # fmt: skip
    ImageTrainer(model, settings, train_dataset=ImageRows(data, processor), processing_class=processor).train()
    return {
        "crops": [[part.tolist() for part in crop] for crop in drawn.results(calls["crops"])],
        "boxes": [box.tolist() for box in drawn.results(calls["boxes"])],
        "grids": drawn.results(calls["grids"]),
    }


def main(output: Path) -> None:
    pixels = {method: images(output, method) for method in ("cutmix", "puzzlemix")}
    everyone = gather_object([{"text": text(output), **pixels}])
    if os.environ["RANK"] == "0":
        (output / "record.json").write_text(json.dumps(everyone))
    torch.distributed.barrier()
