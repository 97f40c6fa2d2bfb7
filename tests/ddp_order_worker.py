# SPDX-License-Identifier: Apache-2.0
"""One process of `training/test_row_order.py`: predict, and let rank 0 compare."""

import json
import os
import sys
from pathlib import Path

import tiny
import torch
from training.test_row_order import alone, rows_of_lengths


def main(output: str) -> None:
    rows = rows_of_lengths()
    options = {"train_sampling_strategy": "group_by_length", "dataloader_drop_last": True}
    run = tiny.trainer(output, rows, ddp_backend="gloo", per_device_eval_batch_size=2, **options)
    found = run.predict(rows)
    if run.is_world_process_zero():
        gap = (torch.from_numpy(found.predictions) - alone(run.model, rows)).abs().max().item()
        record = {"world_size": run.accelerator.num_processes, "labels": found.label_ids.tolist(), "gap": gap}
        Path(output, "record.json").write_text(json.dumps(record))
    run.accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)  # as in ddp_worker.py


if __name__ == "__main__":
    main(*sys.argv[1:])
