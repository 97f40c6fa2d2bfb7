# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_mixers.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_mixers", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_and_record_hold_every_mixer(benchmark, tmp_path, capsys):
    flags = ["--shapes", "4x3x32x32,2x1x8x8", "--grids", "2,16", "--rounds", "1", "--model_rounds", "1"]
    threads = torch.get_num_threads()
    benchmark.main([*flags, "--energies", "3", "--output", str(tmp_path)])
    torch.set_num_threads(threads)
    record = json.loads((tmp_path / "results.json").read_text())
    first, second = record["results"]["4x3x32x32"], record["results"]["2x1x8x8"]
    assert {"mixup, roll", "CutMix, box per row (λ = 0.5)", "PuzzleMix, 2x2", "PuzzleMix, 16x16, high"} < first.keys()
    assert "PuzzleMix, 2x2" in second
    assert "PuzzleMix, 16x16" not in second
    assert first["ResNet-18 step, 3x3 stem"]["of_step"] > first["PuzzleMix, 2x2"]["of_step"] > 0
    assert first["mixup, permutation, fresh memory"]["peak_batches"] >= 1 > first["mixup, roll"]["peak_batches"]
    assert first["copy into a buffer: 2 passes"]["of_bound"] == pytest.approx(2 / 3)
    assert record["energies"]["digits 16x16"]["fast_mean_gap"] < 0.01
    printed = capsys.readouterr().out
    assert "| PuzzleMix, 2x2 |" in printed
    assert "| heavy 8x8 |" in printed


def test_peak_memory_counts_what_lives_at_once(benchmark):
    def work():
        first = torch.empty(1000, dtype=torch.float32)
        del first
        second, third = torch.empty(500, dtype=torch.float32), torch.empty(700, dtype=torch.float32)
        return second, third

    assert benchmark.peak_bytes(work, "cpu") == 4 * 1200
