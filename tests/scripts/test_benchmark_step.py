# SPDX-License-Identifier: Apache-2.0
import json
import re

import pytest
import samples

from scripts import benchmark_step


def test_the_benchmark_of_a_step_on_a_tiny_model(tmp_path, capsys):
    """Every variant is timed; a site's limit is 1 + the share of the two layers behind it; the table is the record."""
    model = samples.write_model(tmp_path / "model", vocab_size=1200)
    flags = ["--model", str(model), "--batch_size", "8", "--length", "32", "--rounds", "1", "--output", str(tmp_path)]
    benchmark_step.main([*flags, "--sites", "embeddings,layer:0,layer:-1"])
    record = json.loads((tmp_path / "results.json").read_text())
    results = record["results"]
    assert {name: row["limit"] for name, row in results.items()} == {
        "plain step": 1, "stock Trainer": 1, "mixup, embeddings": 1, "one pass of 2B rows": 2, "three passes": 3,
        "embeddings": 2, "layer:0": 1.5, "layer:1": 1, "embeddings, mix_share 0.5": 1.5, "ssmix": 7 / 3,
        "logitmix_s": 7 / 3, "ssmix, authors' loop": 3,
    }  # fmt: skip
    assert results["plain step"]["ratio"] == 1
    for row in results.values():
        assert row["ratio"] == pytest.approx(row["seconds"] / results["plain step"]["seconds"])
        assert row["seconds"] > 0
        assert row["peak_ratio"] == pytest.approx(row["peak_bytes"] / results["plain step"]["peak_bytes"])
    assert 1 < results["layer:0"]["peak_ratio"] < results["embeddings"]["peak_ratio"]
    printed = dict(re.findall(r"^\| (.*?) \| .*? \| (.*?)x \|", capsys.readouterr().out, flags=re.MULTILINE))
    assert printed == {name: f"{row['ratio']:.2f}" for name, row in results.items()}
    assert record["options"]["rounds"] == 1
    assert (tmp_path / "step_time.png").read_bytes().startswith(b"\x89PNG")
