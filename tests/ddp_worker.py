# SPDX-License-Identifier: Apache-2.0
"""One process of `test_interruptions.test_two_processes_learn_what_one_does`: train, and let rank 0 write a record."""

import json
import os
from pathlib import Path

import tiny
from drawn import neighbours
from safetensors.torch import save_file

from logitmix_nlp.mixing import mixers


def main(output: Path, method: str, batch_size: int, accumulation: int, switches: dict | None = None) -> None:
    mixers.sample_plan = neighbours
    recorder = tiny.GradientRecorder()
    run = tiny.trainer(
        output, tiny.rows(24), callbacks=[recorder], mix_method=method, mix_site="layer:1", max_grad_norm=0.0,
        per_device_train_batch_size=batch_size, gradient_accumulation_steps=accumulation, optim="sgd",
        ddp_backend="gloo" if "WORLD_SIZE" in os.environ else None, **(switches or {}),
    )  # fmt: skip
    run.train()
    in_sync = tiny.in_sync(run)
    if run.is_world_process_zero():
        log = [{k: v for k, v in line.items() if k.startswith("loss")} for line in run.state.log_history[:-1]]
        record = {
            "log": log,
            "world_size": run.accelerator.num_processes,
            "ranks_in_sync": in_sync,
        }
        for step, gradients in enumerate(recorder.steps):
            save_file(gradients, output / f"gradients-{step}.safetensors")
        (output / "record.json").write_text(json.dumps(record))
    run.accelerator.wait_for_everyone()
