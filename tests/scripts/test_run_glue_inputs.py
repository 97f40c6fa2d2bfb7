# SPDX-License-Identifier: Apache-2.0
"""The script on MNLI and its diagnostics, and on input that it must refuse."""

import json

import pytest
import samples
import torch
from safetensors.torch import load_file, save_file

FLAGS = ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--max_seq_length=32", "--max_steps=1"]


@pytest.fixture
def nli(tmp_path):
    """A model that always answers its class 0, which it calls `contradiction`."""
    order = ("contradiction", "entailment", "neutral")
    ids = {name: place for place, name in enumerate(order)}
    folder = samples.write_model(tmp_path / "nli", num_labels=3, label2id=ids, id2label=dict(enumerate(order)))
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"].zero_()
    weights["classifier.bias"].copy_(torch.tensor([5.0, 0.0, 0.0]))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def call(run_glue, tmp_path):
    """Run the script; `call(model, *flags)` returns the exit code."""

    def call(model, *flags):
        given = [f"--model_name_or_path={model}", f"--output_dir={tmp_path / 'out'}"]
        return run_glue.main([*given, *FLAGS, *map(str, flags)])

    return call


def test_mnli_is_scored_twice_and_writes_three_files(call, nli, glue, tmp_path):
    assert call(nli, "--task_name=mnli", f"--data_dir={glue}", "--do_eval", "--do_predict") == 0
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert (results["eval_matched_accuracy"], results["eval_mismatched_accuracy"]) == (0.5, 0.0)
    assert (results["predict_matched_samples"], results["predict_ax_samples"]) == (2, 2)
    for file, rows in {"MNLI-m.tsv": 2, "MNLI-mm.tsv": 1, "AX.tsv": 2}.items():
        expected = "".join(f"{index}\tcontradiction\n" for index in range(rows))
        assert (tmp_path / "out" / file).read_text() == f"index\tprediction\n{expected}"


def test_diagnostics_alone_are_predicted_by_a_model_of_mnli(call, nli, glue, tmp_path):
    assert call(nli, "--task_name=ax", f"--data_dir={glue}", "--do_predict") == 0
    written = (tmp_path / "out" / "AX.tsv").read_text()
    assert written == "index\tprediction\n0\tcontradiction\n1\tcontradiction\n"


def test_mnli_without_the_diagnostics_warns_and_writes_the_rest(call, nli, glue, tmp_path, caplog):
    (glue / "diagnostic" / "diagnostic.tsv").unlink()
    flags = ["--do_train", "--do_predict", "--mix_method=vanilla"]
    assert call(nli, "--task_name=mnli", f"--data_dir={glue}", *flags) == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tsv")) == ["MNLI-m.tsv", "MNLI-mm.tsv"]
    assert sum("AX.tsv will not be written" in message for message in caplog.messages) == 1


QQP = f'{samples.QQP_HEADER}\n1\t2\t3\tWhy?\t"How\n'
REFUSED = {
    "unknown label": ("CoLA/train.tsv", "a\t1\t\tfine\nb\t5\t\tdull\n", ["cola"], "train.tsv:2: found label '5'"),
    "broken record": ("QQP/train.tsv", QQP, ["qqp"], "train.tsv:2: found 5 tab-separated columns, expected 6"),
    "no gold label": (
        "MNLI/dev_matched.tsv",
        samples.GLUE_FILES["MNLI/dev_matched.tsv"] + f"2\t{samples.MNLI_START}\ta\tb" + "\tneutral" * 5 + "\t-\n",
        ["mnli", "--do_eval"],
        "dev_matched.tsv:4: found label '-', allowed are: entailment, neutral, contradiction",
    ),
    "no training data": ("note", "", ["ax"], "'ax' has no split 'train'; its splits are: test. Fine-tune on mnli"),
    "no validation data": ("note", "", ["ax", "--do_train=false", "--do_eval"], "'ax' has no split 'validation'"),
    "damaged parquet": ("rte/train-00000-of-00001.parquet", "x", ["rte"], "is not a readable parquet file"),
    "damaged folder": ("rte/dataset_dict.json", "{", ["rte"], "is not a readable folder of save_to_disk"),
    "one file missing": ("note", "", ["mnli", "--do_predict", "--data_dir=GLUE/MNLI"], "train.tsv is not a file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_input_is_one_line_and_leaves_no_finished_run(call, nli, glue, tmp_path, capfd, case):
    file, content, (task, *flags), message = REFUSED[case]
    samples.write_text(glue / file, content)
    flags = [flag.replace("GLUE", str(glue)) for flag in flags]
    assert call(nli, f"--task_name={task}", f"--data_dir={glue}", "--do_train", *flags) == 2
    assert_refused(capfd.readouterr().err, message, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.yaml", "task_name: cola\nmix_methd: mixup\n", "unknown key 'mix_methd', did you mean 'mix_method'"),
        ("run.json", '{"task_name": "cola",', "run.json: not a valid configuration file"),
    ],
)
def test_refused_configuration_file(run_glue, tmp_path, capfd, file, content, message):
    path = samples.write_text(tmp_path / file, content)
    assert run_glue.main([str(path), f"--output_dir={tmp_path / 'out'}"]) == 2
    assert_refused(capfd.readouterr().err, message, tmp_path / "out")


def assert_refused(printed, message, output_dir):
    lines = printed.splitlines()
    assert len(lines) == 1, printed
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not (output_dir / "train_results.json").exists()
    assert not (output_dir / "result.json").exists()
