# SPDX-License-Identifier: Apache-2.0
"""Two processes against one, for methods of texts and of images: train, write what was learnt, compare."""

import json
import os
from pathlib import Path

import pictures
import pytest
import texts
import tiny
import torch
from drawn import neighbours
from processes import launch
from safetensors.torch import load_file, save_file

from logitmix_nlp.functional.span import Spans
from logitmix_nlp.mixing import mixers


def first_words(segments, plan, generator):
    """Replace the first word of the first text by the partner's."""
    start = (segments == 1).int().argmax(1, keepdim=True)
    return Spans(start, start[plan.index], torch.ones_like(start))


def fix_draws(patch) -> None:
    """Make all that is drawn for a batch independent of the batch; `patch(module, name, function)`."""
    patch(mixers, "sample_plan", neighbours)
    patch(mixers, "sample_spans", first_words)
    patch(mixers, "sample_boxes", lambda *args, **kwargs: torch.tensor([[2, 0, 12, 6]]))
    patch(mixers, "sample_grid", lambda *args, **kwargs: 4)


def learn(output: Path, name: str, method: str, batch_size: int, accumulation: int) -> tuple[dict, list]:
    """Train on 24 rows; return the loss lines with the number of processes, and the gradients of the steps.

    `METHOD@SHARE` mixes that share of the rows.
    """
    method, _, share = method.partition("@")
    recorder = tiny.GradientRecorder()
    extras = {"mix_site": "layer:1"} if method == "tmix" else {}  # each batch draws its site, however many a step has
    train, data = (texts.trainer, texts.rows(24)) if name in texts.MODELS else (pictures.trainer, 24)
    run = train(
        output, name, data, mix_method=method, mix_share=float(share or 1), callbacks=[recorder],
        per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None, **extras,
    )  # fmt: skip
    run.train()
    log = [{k: v for k, v in line.items() if k.startswith("loss")} for line in run.state.log_history[:-1]]
    record = {"log": log, "in_sync": tiny.in_sync(run), "world_size": run.accelerator.num_processes}
    return record, recorder.steps


def main(output: Path, *cases: tuple[str, str]) -> None:
    """One of two processes: train each method with 2 batches of 4 rows a step."""
    fix_draws(setattr)
    record = {}
    for name, method in cases:
        record[f"{name}-{method}"], steps = learn(output, name, method, 4, 2)
        if os.environ["RANK"] == "0":
            for step, gradients in enumerate(steps):
                save_file(gradients, output / f"{name}-{method}-{step}.safetensors")
    if os.environ["RANK"] == "0":
        (output / "record.json").write_text(json.dumps(record))
    torch.distributed.barrier()


def compare(folder: Path, patch, cases: list[tuple[str, str]], *, in_sync_only: tuple = ()) -> None:
    """24 rows, a step of 16 and a short one of 8: 2 processes x 2 batches x 4 rows against one batch of 16 rows."""
    two = launch(2, main, folder / "two", *cases, *in_sync_only)
    assert len(two) == len(cases) + len(in_sync_only)
    assert all(run["in_sync"] and run["world_size"] == 2 for run in two.values())
    fix_draws(patch)
    for name, method in cases:
        one, steps = learn(folder / "one", name, method, 16, 1)
        other = two[f"{name}-{method}"]
        assert len(one["log"]) == len(steps) == 2
        for expected, line in zip(one["log"], other["log"], strict=True):
            assert line == pytest.approx(expected, abs=1e-5), (name, method)
        for step, expected in enumerate(steps):
            gradients = load_file(folder / "two" / f"{name}-{method}-{step}.safetensors")
            scale = max(1.0, *(g.abs().max() for g in expected.values()))
            assert tiny.largest_gap(expected, gradients) < 2e-5 * scale
