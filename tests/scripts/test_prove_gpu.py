# SPDX-License-Identifier: Apache-2.0
"""`make gpu` without a GPU: the script itself, on tiny shapes; what it finds on a GPU is not shown here."""

import json
import sys

import pytest
import samples
import torch
from test_demo import packages

from scripts import prove_gpu

__all__ = ["packages"]


@pytest.mark.usefixtures("packages")
def test_the_page_holds_every_part_and_what_does_not_hold(tmp_path, monkeypatch, capsys):
    model = samples.write_model(tmp_path / "model", vocab_size=1200)
    monkeypatch.setattr(prove_gpu, "SLACK", 1e-6)  # so that something does not hold
    flags = f"--device cpu --parts steps,mixers,precision --models {model} --sites layer:0 --batch_size 2 --length 8"
    flags += f" --side 16 --rounds 1 --train_rows 8 --epochs 1 --output {tmp_path / 'page'}"
    assert prove_gpu.main(flags.split()) == 1
    record = json.loads((tmp_path / "page" / "results.json").read_text())
    page = (tmp_path / "page" / "README.md").read_text()
    assert list(record["parts"]) == ["steps", "mixers", "precision"]
    (rows,) = record["parts"]["steps"].values()
    assert {"stock Trainer", "mixup, layer:0", "layer:0", "three passes", "ssmix"} < rows.keys()
    assert list(record["parts"]["precision"]) == ["float32", "bf16"]
    assert not any("three passes" in fault for fault in record["faults"])
    assert sum(": layer:0 takes" in fault for fault in record["faults"]) == 1
    for text in ("Does not hold:", "CPU (", f"torch {torch.__version__}", "| bf16 |", "mixup, permutation", flags):
        assert text in page
    assert "Written to" in capsys.readouterr().out


def test_a_process_of_the_sharded_steps_prints_its_losses(capsys):
    prove_gpu.main(["--worker", "plain", "--device", "cpu"])
    losses = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert len(losses) == 3
    assert all(0 < loss < 10 for loss in losses)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_gets_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prove_gpu.py"])
    with pytest.raises(SystemExit, match=r"^PyTorch .* sees no GPU on this machine: make gpu needs one\.$"):
        prove_gpu.main()
