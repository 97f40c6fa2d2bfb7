# SPDX-License-Identifier: Apache-2.0
"""Flags in JSON and YAML files, and `--help`."""

import json

import pytest
import samples

from glue_runs.runs.texts import Texts


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_flags_override_the_configuration_file(tmp_path, suffix):
    values = {
        "model_name_or_path": "m",
        "task_name": "cola",
        "output_dir": str(tmp_path / "o"),
        "do_train": True,
        "use_cpu": True,
        "learning_rate": 3e-5,
        "max_steps": -1,
        "seed": 1,
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "run_name": None,
    }
    text = json.dumps(values) if suffix == ".json" else "".join(f"{k}: {json.dumps(v)}\n" for k, v in values.items())
    path = samples.write_text(tmp_path / f"c{suffix}", text)
    model_args, data_args, _, args = Texts.parse([str(path), "--seed", "2", "--n_bins=10"])
    assert (model_args.model_name_or_path, data_args.task_name, data_args.n_bins) == ("m", "cola", 10)
    assert (args.learning_rate, args.max_steps, args.seed, args.do_train) == (3e-5, -1, 2, True)
    assert args.lr_scheduler_kwargs == {"num_cycles": 2}


def test_list_in_a_configuration_file(tmp_path):
    lines = ("model_name_or_path: m", "train_file: x.csv", "output_dir: o", "do_train: true", "use_cpu: true")
    text = "\n".join((*lines, "text_column_names: [a, b]"))
    path = samples.write_text(tmp_path / "c.yml", text)
    assert Texts.parse([str(path)])[1].text_column_names == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yaml", "task_nam: cola\n", "unknown key 'task_nam', did you mean 'task_name'"),
        ("c.json", "[1]", "expected one mapping of names to values, found list"),
        ("c.json", "{", "not a valid configuration file"),
        ("c.yaml", "a: b: c", "not a valid configuration file"),
        ("c.toml", "", "must be a flag or a .json, .yaml or .yml file"),
    ],
)
def test_broken_configuration_file_is_one_line(run_glue, tmp_path, capsys, name, text, message):
    assert run_glue.main([str(samples.write_text(tmp_path / name, text))]) == 2
    assert message in capsys.readouterr().err


def test_missing_configuration_file_is_one_line(run_glue, capsys):
    assert run_glue.main(["nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_help_names_every_flag_of_mixing(run_glue, capsys):
    with pytest.raises(SystemExit) as stop:
        run_glue.main(["--help"])
    assert stop.value.code == 0
    assert "--mix_method" in capsys.readouterr().out
