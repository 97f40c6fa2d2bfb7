# SPDX-License-Identifier: Apache-2.0
import importlib.util
from pathlib import Path

import pytest
import run_samples

from glue_runs.report.method_table import method_table
from logitmix_nlp.reports.tables import to_markdown


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[3] / "scripts" / "compare_methods.py"
    spec = importlib.util.spec_from_file_location("compare_methods", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures(accuracy, ece, seconds):
    return {"accuracy": accuracy, "ece": ece, "oe": 0.0, "nll": 0.5, "brier": 0.25, "seconds_per_step": seconds}


def test_means_deviations_best_figures_and_times_in_units_of_the_first_method():
    runs = {"vanilla": [figures(0.5, 0.2, 0.1), figures(0.7, 0.4, 0.3)], "mixup": [figures(0.65, 0.1, 0.5)] * 2}
    lines = to_markdown(method_table("T", runs, 15)).splitlines()
    assert lines[2].startswith("| method | accuracy | ECE (15 bins) | OE | NLL | Brier | time per step |")
    vanilla, mixup = (line.split(" | ") for line in lines[4:6])
    assert vanilla[1:3] == ["60.00 ± 14.14", "0.3000 ± 0.1414"]
    assert vanilla[3:6] == mixup[3:6] == [f"**{number}** ± 0.0000" for number in ("0.0000", "0.5000", "0.2500")]
    assert mixup[1:3] == ["**65.00** ± 0.00", "**0.1000** ± 0.0000"]
    assert (vanilla[-1][:4], mixup[-1][:4]) == ("1.00", "2.50")
    assert "1.00 is 0.200 s" in lines[-1]


def test_runs_of_a_folder_are_compared(script, tmp_path, capsys):
    for method, seed in (("mixup", 1), ("vanilla", 2), ("vanilla", 1)):
        run_samples.write_run(tmp_path, "sst2", method, seed, train_steps_per_second=4.0)
    assert script.main([str(tmp_path), "--title=SST-2"]) == 0
    report = (tmp_path / "report.md").read_text()
    assert report.strip() == capsys.readouterr().out.strip()
    assert "SST-2; seeds 1, 2" in report
    assert report.index("| vanilla |") < report.index("| mixup |")
    assert report.count("python -m glue_runs.runs.run") == 3
    assert "Not alike" not in report
    options = {"train_steps_per_second": 4.0, "config": {"max_steps": 9, "mix_method": "cutmix", "output_dir": "x"}}
    run_samples.write_run(tmp_path, "sst2", "cutmix", 1, **options)
    assert script.main([str(tmp_path)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "Not alike" in line]
    assert len(notes) == 1
    assert "max\\_steps is unset (vanilla, mixup); 9 (cutmix)" in notes[0]


def test_only_repetitions_with_other_seeds_are_pooled(script, tmp_path, capsys):
    def pool(name, *runs):
        for place, (seed, config) in enumerate(runs):
            options = {"train_steps_per_second": 4.0, "config": config}
            run_samples.write_run(tmp_path / name / str(place), "sst2", "mixup", seed, **options)
        return script.main([str(tmp_path / name)]), capsys.readouterr().err

    code, error = pool("rates", (1, {"learning_rate": 0.1}), (2, {"learning_rate": 0.2}))
    assert code == 2
    assert "Runs of mixup differ in learning_rate (0.1, 0.2)" in error
    code, error = pool("sites", (1, {"mix_site": "embeddings"}), (2, {}))
    assert code == 2
    assert "differ in mix_site (embeddings, unset)" in error
    code, error = pool("twice", (1, {}), (1, {}))
    assert code == 2
    assert "mixup, seed 1, is there twice" in error
    assert pool("folders", (1, {"output_dir": "a"}), (2, {"output_dir": "b", "logging_steps": 9}))[0] == 0


def test_runs_that_do_not_compare_are_refused(script, tmp_path, capsys):
    cases = [
        ([("sst2", {}), ("qnli", {})], "holds runs on qnli, sst2: name the folder of one of them"),
        ([("sst2", {}), ("sst2", {"config": {"n_bins": 10}})], "with 10 and 15 bins, which do not compare"),
        ([("cola", {})], "has no eval_accuracy: repeat its command with --do_eval"),
        ([], "no finished run"),
    ]
    for number, (runs, message) in enumerate(cases):
        folder = tmp_path / str(number)
        for seed, (task, options) in enumerate(runs):
            run_samples.write_run(folder, task, "vanilla", seed, train_steps_per_second=4.0, **options)
        assert script.main([str(folder)]) == 2
        assert message in capsys.readouterr().err
