# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from logitmix_nlp.functional import expected_calibration_error
from scripts import benchmark_calibration


def test_the_benchmark_measures_what_it_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark_calibration, "PEERS", ())
    monkeypatch.setattr(benchmark_calibration, "_version", lambda package: None)
    arguments = ["--rows", "3000", "--classes", "4", "--rounds", "2", "--n_bins", "10", "--output", str(tmp_path)]
    benchmark_calibration.main(arguments)
    record = json.loads((tmp_path / "results.json").read_text())
    ours = record["results"]["ECE, logitmix_nlp"]
    logits, labels = benchmark_calibration.make_data(benchmark_calibration.parse(arguments))
    assert ours["value"] == expected_calibration_error(logits, labels, 10).item()
    assert ours["error"] < 1e-8
    assert ours["times_ours"] == 1.0
    assert 0 < ours["seconds"] < 60
    assert not any("netcal" in name or "torchmetrics" in name for name in record["results"])
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert table.count("\n") == 2 + len(record["results"])


def test_peak_memory_is_that_of_the_call():
    def grow() -> float:
        return torch.ones(64 * 2**18).sum().item()  # 64 MiB

    grown = benchmark_calibration.peak_bytes(grow)
    if grown is None:
        pytest.skip("this kernel does not tell")
    assert 60 * 2**20 < grown < 100 * 2**20
