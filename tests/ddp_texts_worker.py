# SPDX-License-Identifier: Apache-2.0
"""One process of `test_text_methods.test_two_processes_learn_what_one_does`: train each method on each model."""

import json
import os
from pathlib import Path

import texts
import tiny
import torch
from safetensors.torch import save_file

from logitmix_nlp.functional import MixPlan, PartialPlan
from logitmix_nlp.functional.span import Spans
from logitmix_nlp.mixing import mixers


def neighbours(rows, *args, **kwargs):
    """Pair rows 0-1, 2-3, … so that the pairs do not depend on how rows are dealt to processes and batches."""
    if kwargs.get("share", 1) == 1:
        return MixPlan(torch.arange(rows) ^ 1, torch.full((rows,), 0.3))
    own = torch.arange(0, rows, 2)
    return PartialPlan(own ^ 1, torch.full(own.shape, 0.3), own)


def first_words(segments, plan, generator):
    """Replace the first word of the first text by the partner's."""
    start = (segments == 1).int().argmax(1, keepdim=True)
    return Spans(start, start[plan.index], torch.ones_like(start))


def fix_draws(patch) -> None:
    """Make all that is drawn for a batch independent of the batch; `patch(module, name, function)`."""
    patch(mixers, "sample_plan", neighbours)
    patch(mixers, "sample_spans", first_words)


def learn(output: Path, name: str, method: str, batch_size: int, accumulation: int) -> tuple:
    """Train on 24 pairs of texts; return the loss lines and the gradients of the steps.

    `METHOD@SHARE` mixes that share of the rows.
    """
    method, _, share = method.partition("@")
    recorder = tiny.GradientRecorder()
    run = texts.trainer(
        output, name, texts.rows(24), mix_method=method, mix_share=float(share or 1), callbacks=[recorder],
        per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation,
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
    )  # fmt: skip
    run.train()
    log = [{k: v for k, v in line.items() if k.startswith("loss")} for line in run.state.log_history[:-1]]
    weights = torch.cat([p.detach().flatten() for p in run.model.parameters()])
    everyone = run.accelerator.gather(weights.reshape(1, -1))
    learn.in_sync = all(torch.equal(everyone[0], other) for other in everyone)
    return log, [{key.removeprefix("module."): g for key, g in step.items()} for step in recorder.steps]


def main(output: Path, *cases: tuple[str, str]) -> None:
    fix_draws(setattr)
    record = {}
    for name, method in cases:
        log, steps = learn(output, name, method, 4, 2)
        record[f"{name}-{method}"] = {"log": log, "in_sync": learn.in_sync}
        if os.environ["RANK"] == "0":
            for step, gradients in enumerate(steps):
                save_file(gradients, output / f"{name}-{method}-{step}.safetensors")
    if os.environ["RANK"] == "0":
        (output / "record.json").write_text(json.dumps(record))
    torch.distributed.barrier()
