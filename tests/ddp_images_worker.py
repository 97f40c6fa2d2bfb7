# SPDX-License-Identifier: Apache-2.0
"""One process of `test_image_interruptions.test_two_processes_learn_what_one_does`: train each method."""

import json
import os
from pathlib import Path

import pictures
import tiny
import torch
from safetensors.torch import save_file

import logitmix_nlp.mixing.mixers as mixers_module
from logitmix_nlp.functional import MixPlan
from logitmix_nlp.mixing import mixers

METHODS = (
    "mixup", "manifold_mixup", "cutmix", "puzzlemix", "logitmix_m", "logitmix_c", "logitmix_p", "lamix", "lamix_p",
    "label_smoothing", "confidence_penalty", "vwci",
)  # fmt: skip


def neighbours(rows, *args, **kwargs):
    """Pair rows 0-1, 2-3, … so that the pairs do not depend on how rows are dealt to processes and batches."""
    return MixPlan(torch.arange(rows) ^ 1, torch.full((rows,), 0.3))


def box(*args, **kwargs):
    """The same box for every batch."""
    return torch.tensor([[2, 0, 12, 6]])


def fix_draws(patch) -> None:
    """Make all that is drawn for a batch independent of the batch; `patch(module, name, function)`."""
    patch(mixers, "sample_plan", neighbours)
    patch(mixers_module, "sample_boxes", box)
    patch(mixers_module, "sample_grid", lambda *args, **kwargs: 4)


def learn(output: Path, name: str, method: str, batch_size: int, accumulation: int) -> tuple:
    """Train one method on 24 images; return the trainer, its loss lines and the gradients of its steps."""
    recorder = tiny.GradientRecorder()
    run = pictures.trainer(
        output, name, 24, mix_method=method, callbacks=[recorder], per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation, ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None,
    )  # fmt: skip
    run.train()
    log = [{k: v for k, v in line.items() if k.startswith("loss")} for line in run.state.log_history[:-1]]
    return run, log, recorder.steps


def main(output: Path) -> None:
    fix_draws(setattr)
    record = {}
    for name, method in [*(("vit", method) for method in METHODS), ("resnet", "logitmix_p")]:
        run, log, steps = learn(output, name, method, 4, 2)
        weights = torch.cat([p.detach().flatten() for p in run.model.parameters()])
        everyone = run.accelerator.gather(weights.reshape(1, -1))
        in_sync = all(torch.equal(everyone[0], other) for other in everyone)
        record[f"{name}-{method}"] = {"log": log, "in_sync": in_sync, "world_size": run.accelerator.num_processes}
        if run.is_world_process_zero():
            for step, gradients in enumerate(steps):
                names = {key.removeprefix("module."): value for key, value in gradients.items()}
                save_file(names, output / f"{name}-{method}-{step}.safetensors")
    if run.is_world_process_zero():
        (output / "record.json").write_text(json.dumps(record))
    run.accelerator.wait_for_everyone()
