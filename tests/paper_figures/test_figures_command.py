# SPDX-License-Identifier: Apache-2.0
import html
import importlib
import json
import re

import numpy as np
import pytest
import run_samples

from logitmix_nlp.__main__ import COMMANDS
from logitmix_nlp.commands.figures import FIGURES, main

QUICK = {
    "spiral": ["--steps", "20", "--rows", "10", "--methods", "vanilla", "logitmix@1", "--seeds", "2"],
    "entropy": ["--rows", "1000"],
    "density": ["--epochs", "1", "2", "--rows", "40", "--methods", "vanilla", "mixup"],
    "soft-targets": ["--epochs", "2", "--rows", "40"],
    "losses": [],
    "reliability": ["--n_bins", "5"],
}


@pytest.fixture
def inputs(tmp_path):
    """Runs and predictions on disk for the figures that read some."""
    log = [{"loss": 2.0 / n, "loss_mix": 1.5 / n, "loss_cls": 0.5 / n, "step": n, "epoch": n} for n in (1, 2)]
    folders = [run_samples.write_run(tmp_path / "runs", "rte", "mixup", seed, history=log) for seed in (1, 2)]
    files = [f"seed {n}={folder / 'eval_predictions.parquet'}" for n, folder in enumerate(folders)]
    return {"losses": [str(tmp_path / "runs")], "reliability": files}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_written_in_both_styles_and_says_what_it_shows(name, tmp_path, inputs, capsys):
    flags = [*inputs.get(name, []), *QUICK[name], "--output_dir", str(tmp_path / "out"), "--style", "light", "dark"]
    assert main([name, *flags]) == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert set(files) == {f"{name}.json", *(f"{name}-{s}.{k}" for s in ("light", "dark") for k in ("png", "svg"))}
    record = json.loads(files[f"{name}.json"])
    assert record["figure"] == name
    assert record["description"].startswith(record["title"].split(",")[0])
    assert record["numbers"]
    svgs = [files[f"{name}-{style}.svg"].decode() for style in ("light", "dark")]
    for svg in svgs:
        assert f"<title>{record['title']}</title>" in html.unescape(svg)
    assert "#17191c" in svgs[1].lower()
    assert "#17191c" not in svgs[0].lower()
    assert files[f"{name}-light.png"].startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert f"{name}.json" in printed


def test_numbers_of_the_spiral(tmp_path, capsys):
    """Two seeds are two numbers, printed as their mean and deviation."""
    assert main(["spiral", *QUICK["spiral"], "--output_dir", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "spiral.json").read_text())["numbers"]
    assert list(numbers) == ["vanilla", "logitmix@1"]
    one, other = numbers["vanilla"]["train_confidence"]
    mean, deviation = (one + other) / 2, abs(one - other) / 2**0.5
    printed = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("vanilla"))
    assert f"{mean:.3f} ± {deviation:.3f}" in printed


def test_losses_are_named_after_their_folders(tmp_path, inputs, capsys):
    run = f"{inputs['losses'][0]}/rte/mixup"
    for given, name in ((inputs["losses"], "rte/mixup"), ([run], "mixup"), ([f"a={run}"], "a")):
        assert main(["losses", *given, "--output_dir", str(tmp_path / "out")]) == 0
        assert list(json.loads((tmp_path / "out" / "losses.json").read_text())["numbers"]) == [name]
    assert main(["losses", *inputs["losses"], f"b={run}", "--output_dir", str(tmp_path / "out")]) == 0
    assert list(json.loads((tmp_path / "out" / "losses.json").read_text())["numbers"]) == ["runs/rte/mixup", "b"]
    assert re.search(r"b: loss_mix +1.5000 +0.7500", capsys.readouterr().out)


def test_density_of_files(tmp_path):
    labels, logits = run_samples.sample_predictions("rte", 50, 1, 2.0)
    epochs = np.stack([logits * scale for scale in np.linspace(0.1, 3, 9)])
    np.savez(tmp_path / "run.npz", logits=epochs, labels=labels)
    assert main(["density", str(tmp_path / "run.npz"), "--output_dir", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "density.json").read_text())["numbers"]["run"]
    assert [row["epoch"] for row in rows] == list(range(1, 10))
    accuracy = (logits.argmax(-1) == labels).mean()
    assert [row["accuracy"] for row in rows] == pytest.approx([accuracy] * 9)
    assert all(one["confidence"] < other["confidence"] for one, other in zip(rows, rows[1:], strict=False))


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["spiral", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["spiral", "--seed", "-1"], "--seed must be at least 0 and below .*, got -1"),
        (["spiral", "--seed", str(2**64)], "--seed must be at least 0 and below"),
        (["spiral", "--methods", "puzzlemix"], "puzzlemix mixes regions of images"),
        (["entropy", "--alphas", "0"], "alpha must be above 0, got 0.0"),
        (["entropy", "--rows", "0"], "--rows must be at least 1, got 0"),
        (["density", "--epochs", "5", "2"], r"--epochs must rise from at least 1, got \[5, 2\]"),
        (["density", "nothing.npz"], "nothing.npz: no such file"),
        (["losses", "nothing"], "nothing is neither a folder nor a trainer_state.json"),
        (["reliability", "nothing.npz"], "nothing.npz: no such file"),
        (["soft-targets", "--beta", "2"], "beta in"),
    ],
)
def test_wrong_input_is_one_line(flags, problem, tmp_path, capsys):
    assert main([*flags, "--output_dir", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.match(f"error: .*{problem}", lines[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "problem"), [("probs", "no probabilities"), ("logits", None)])
def test_the_name_of_the_array_says_what_it_holds(name, problem, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", labels=np.array([0, 1]), **{name: 0.9 * np.array([[0.7, 0.3], [0.4, 0.6]])})
    status = main(["reliability", str(tmp_path / "a.npz"), "--output_dir", str(tmp_path / "out")])
    assert status == (0 if problem is None else 2)
    if problem:
        assert re.match(rf"error: .*a\.npz: .*{problem}", capsys.readouterr().err)


def test_a_file_in_the_place_of_the_folder_is_seen_first(tmp_path, capsys):
    (tmp_path / "out").write_text("")
    for place in ("out", "out/below"):
        assert main(["spiral", "--methods", "puzzlemix", "--output_dir", str(tmp_path / place)]) == 2
        assert "out is a file" in capsys.readouterr().err


def test_help_lists_the_figures(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(re.search(rf"^ +{name}\s", printed, re.MULTILINE) for name in FIGURES)
    assert importlib.import_module(COMMANDS["figures"][0]).main is main
