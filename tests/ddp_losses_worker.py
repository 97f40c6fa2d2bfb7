# SPDX-License-Identifier: Apache-2.0
"""One step with each loss of labels, in this process or as one of two of `test_label_losses`."""

import json
import os
from pathlib import Path

import tiny
import torch
from drawn import neighbours
from safetensors.torch import save_file

from logitmix_nlp.mixing import mixers

CLASS_WEIGHTS = [1.0, 3.0, 0.25]
METHODS = ("vanilla", "mixup", "logitmix")
KINDS = ("class_weights", "row_loss", "soft", "tokens")


def focal(logits, labels):
    """Focal loss of each row, gamma 2."""
    logp = logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    return -(1 - logp.exp()).square() * logp


def rows(kind: str, count: int) -> list[dict]:
    """Rows with classes, with probabilities of them, or with tags of tokens."""
    if kind != "soft":
        return tiny.rows(count, kind="tokens" if kind == "tokens" else "single")
    probabilities = torch.randn(count, 3, generator=torch.Generator().manual_seed(3)).softmax(-1).tolist()
    return [{**row, "labels": label} for row, label in zip(tiny.rows(count), probabilities, strict=True)]


def model(kind: str) -> torch.nn.Module:
    """The model that such rows are for."""
    return tiny.bert(tokens=kind == "tokens")


def step(output: Path, kind: str, method: str, count: int, batch_size: int) -> tuple[dict, dict]:
    """The losses and the gradients of one step of two batches on each process."""
    recorder = tiny.GradientRecorder()
    more = {"row_loss": focal} if kind == "row_loss" else {}
    run = tiny.trainer(
        output, rows(kind, count), model(kind), callbacks=[recorder], mix_method=method, mix_site="embeddings",
        max_grad_norm=0.0,
        per_device_train_batch_size=batch_size, gradient_accumulation_steps=2,
        class_weights=CLASS_WEIGHTS if kind == "class_weights" else None,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None, **more,
    )  # fmt: skip
    run.train()
    (gradients,) = recorder.steps
    losses = {name: value for name, value in run.state.log_history[0].items() if name.startswith("loss")}
    return losses, gradients


def main(output: Path, count: int, batch_size: int) -> None:
    mixers.sample_plan = neighbours
    record = {}
    for kind in KINDS:
        for method in METHODS:
            record[f"{kind}-{method}"], gradients = step(output, kind, method, count, batch_size)
            if os.environ["RANK"] == "0":
                save_file(gradients, output / f"{kind}-{method}.safetensors")
    options = {"mix_method": "vanilla", "ddp_backend": "gloo"}
    run = tiny.trainer(output, rows("tokens", 8), model("tokens"), per_device_eval_batch_size=2, **options)
    record["eval_loss"] = run.evaluate(rows("tokens", 7))["eval_loss"]
    if os.environ["RANK"] == "0":
        (output / "record.json").write_text(json.dumps(record))
    torch.distributed.barrier()
