# SPDX-License-Identifier: Apache-2.0
"""Evaluation and prediction see every row of a dataset, in its order, whatever is set for training."""

import json
import time
from pathlib import Path

import pytest
import tiny
import torch
from processes import launch

LENGTHS = [3, 9, 4, 12, 5, 3, 11, 6, 10, 7, 8]


def rows_of_lengths() -> list[dict]:
    """Rows of very different lengths, labelled by their number modulo 3."""
    rows = tiny.rows(len(LENGTHS))
    for number, (row, length) in enumerate(zip(rows, LENGTHS, strict=True)):
        ids = (torch.arange(length) * 7 + number) % 90 + 1
        row.update(input_ids=ids.tolist(), token_type_ids=[0] * length, labels=number % 3)
    return rows


def alone(model, rows) -> torch.Tensor:
    """Logits of each row by itself."""
    batches = [{name: x for name, x in tiny.collate([row]).items() if name != "labels"} for row in rows]
    with torch.no_grad():
        return torch.cat([model.eval()(**batch).logits for batch in batches])


class SlowStart(list):
    """Rows of which the first takes half a second to load."""

    def __getitem__(self, index):
        if index == 0:
            time.sleep(0.5)
        return super().__getitem__(index)


@pytest.mark.parametrize(
    "options",
    [
        {"train_sampling_strategy": "group_by_length"},
        {"train_sampling_strategy": "batch_rebalance"},
        {"dataloader_drop_last": True},
        {"dataloader_in_order": False, "dataloader_num_workers": 2},
    ],
    ids=lambda options: next(iter(options)) + "-" + str(next(iter(options.values()))),
)
def test_rows_keep_their_number_and_order(tmp_path, options):
    rows, seen = SlowStart(rows_of_lengths()), []
    run = tiny.trainer(tmp_path, rows, eval_dataset=rows, **options)
    run.compute_metrics = lambda prediction: seen.append(prediction) or {}
    output = run.predict(rows)
    assert set(run.evaluate()) >= {"eval_loss"}
    expected = alone(run.model, rows)
    for predictions, labels in ((output.predictions, output.label_ids), seen[-1]):
        assert labels.tolist() == [row["labels"] for row in rows]
        torch.testing.assert_close(torch.from_numpy(predictions), expected, atol=1e-5, rtol=0)
    assert len(seen) == 2
    assert getattr(run.args, next(iter(options))) == next(iter(options.values()))


def predict_on_a_rank(output: Path) -> None:
    rows = rows_of_lengths()
    options = {"train_sampling_strategy": "group_by_length", "dataloader_drop_last": True}
    run = tiny.trainer(output, rows, ddp_backend="gloo", per_device_eval_batch_size=2, **options)
    prediction = run.predict(rows)
    if run.is_world_process_zero():
        gap = (torch.from_numpy(prediction.predictions) - alone(run.model, rows)).abs().max().item()
        record = {"world_size": run.accelerator.num_processes, "labels": prediction.label_ids.tolist(), "gap": gap}
        (output / "record.json").write_text(json.dumps(record))
    run.accelerator.wait_for_everyone()


def test_rows_keep_their_order_on_two_processes(tmp_path):
    record = launch(2, predict_on_a_rank, tmp_path)
    assert record["world_size"] == 2
    assert record["labels"] == [number % 3 for number in range(len(LENGTHS))]
    assert record["gap"] < 1e-5
