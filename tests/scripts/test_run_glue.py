# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import pytest
import samples
import torch
from datasets import Dataset
from pyarrow.parquet import read_table
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from glue_runs.runs.results import read_result

QUIET = ["--use_cpu", "--disable_tqdm", "true", "--dataloader_pin_memory", "false", "--max_seq_length", "32"]
SHORT = ["--num_train_epochs", "2", "--per_device_train_batch_size", "2", "--logging_steps", "1"]


@pytest.fixture
def call(run_glue, model, tmp_path):
    """Run the script on the tiny model; `call(*flags)` returns the exit code and the output folder."""

    def call(*flags, model=model, output_dir=tmp_path / "out"):
        flags = [f"--model_name_or_path={model}", f"--output_dir={output_dir}", *QUIET, *SHORT, *map(str, flags)]
        return run_glue.main(flags), output_dir

    return call


def results(output_dir):
    return json.loads((output_dir / "all_results.json").read_text())


def predictions(path):
    header, *lines = path.read_text().splitlines()
    assert header == "index\tprediction"
    return [line.split("\t") for line in lines]


@pytest.mark.parametrize(
    ("task", "score", "file", "labels"),
    [
        ("cola", "matthews_correlation", "CoLA.tsv", {"0", "1"}),
        ("sst2", "accuracy", "SST-2.tsv", {"0", "1"}),
        ("mrpc", "combined_score", "MRPC.tsv", {"0", "1"}),
        ("rte", "accuracy", "RTE.tsv", {"entailment", "not_entailment"}),
    ],
)
def test_a_task_end_to_end(call, glue, capsys, task, score, file, labels):
    code, out = call("--task_name", task, "--data_dir", glue, "--do_train", "--do_eval", "--do_predict")
    assert code == 0
    found = results(out)
    assert {f"eval_{name}" for name in (score, "ece", "oe", "nll", "samples", "loss")} <= set(found)
    assert found["train_samples"] == len(samples.GLUE_FILES[f"{file[:-4]}/train.tsv"].splitlines()) - (task != "cola")
    rows = predictions(out / file)
    assert [row[0] for row in rows] == [str(index) for index in range(found["predict_samples"])]
    assert {row[1] for row in rows} <= labels
    assert f"eval_{score}" in capsys.readouterr().out
    assert (out / "trainer_state.json").is_file()
    assert (out / "model.safetensors").is_file()


def test_regression_end_to_end_with_one_evaluation_row(call, glue, tmp_path):
    model = samples.write_model(tmp_path / "regressor", num_labels=1)
    flags = ["--task_name", "stsb", "--data_dir", glue, "--do_train", "--do_eval", "--do_predict"]
    code, out = call(*flags, model=model)
    assert code == 0
    assert results(out)["eval_pearson"] == 0.0
    assert "eval_ece" not in results(out)
    assert all(0 <= float(score) <= 5 and len(score) == 5 for _, score in predictions(out / "STS-B.tsv"))


def test_every_method_flag_reaches_the_trainer(call, glue):
    code, out = call(
        "--task_name", "cola", "--data_dir", glue, "--do_train", "--mix_method", "mixup", "--mix_alpha", 2
    )
    assert code == 0
    args = torch.load(out / "training_args.bin", weights_only=False)
    assert (args.mix_method, args.mix_alpha) == ("mixup", 2.0)


def test_row_limits(call, glue):
    limits = ["--max_train_samples", 2, "--max_eval_samples", 1, "--max_predict_samples", 2]
    _, out = call("--task_name", "cola", "--data_dir", glue, "--do_train", "--do_eval", "--do_predict", *limits)
    assert [results(out)[f"{stage}_samples"] for stage in ("train", "eval", "predict")] == [2, 1, 2]
    assert len(predictions(out / "CoLA.tsv")) == 2


def test_own_files_end_to_end(call, tmp_path):
    train = samples.write_text(tmp_path / "train.csv", "text,label\nfine,good\ndull,bad\nmat,so so\n")
    test = samples.write_text(tmp_path / "test.tsv", 'text\n"fine\nthe cat\n')
    model = samples.write_model(tmp_path / "three", num_labels=3)
    data = ["--train_file", train, "--validation_file", train, "--test_file", test]
    code, out = call(*data, "--do_train", "--do_eval", "--do_predict", "--eval_strategy", "epoch", model=model)
    assert code == 0
    config = json.loads((out / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good", "2": "so so"}
    assert {row[1] for row in predictions(out / "predictions.tsv")} <= {"bad", "good", "so so"}


def test_labelled_test_file_is_scored(call, tmp_path):
    data = samples.write_text(tmp_path / "x.csv", "text,label\nfine,good\ndull,bad\n")
    flags = ["--do_train", "--do_predict", "--save_predictions"]
    _, out = call("--train_file", data, "--test_file", data, *flags)
    assert read_table(out / "predict_predictions.parquet")["label"].to_pylist() == [1, 0]  # bad comes first
    assert {"predict_accuracy", "predict_ece", "predict_loss"} <= set(results(out))


def test_model_with_its_own_label_order_keeps_it(call, glue, tmp_path):
    """A model whose head always answers class 0, which it calls `not_entailment`."""
    order = {"not_entailment": 0, "entailment": 1}
    model = samples.write_model(tmp_path / "nli", label2id=order, id2label={i: name for name, i in order.items()})
    weights = load_file(model / "model.safetensors")
    weights["classifier.weight"].zero_()
    weights["classifier.bias"].copy_(torch.tensor([5.0, 0.0]))
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    _, out = call("--task_name", "rte", "--data_dir", glue, "--do_eval", "--do_predict", model=model)
    assert {row[1] for row in predictions(out / "RTE.tsv")} == {"not_entailment"}
    assert results(out)["eval_accuracy"] == 1.0  # the one row of dev.tsv is `not_entailment`


def test_evaluation_needs_neither_training_nor_test_files(call, glue):
    (glue / "CoLA" / "train.tsv").unlink()
    (glue / "CoLA" / "test.tsv").unlink()
    code, out = call("--task_name", "cola", "--data_dir", glue, "--do_eval")
    assert code == 0
    assert "eval_matthews_correlation" in results(out)


def test_interrupted_run_goes_on_from_its_last_complete_checkpoint(call, glue, tmp_path, caplog):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--save_steps", 1, "--log_level", "info"]
    _, whole = call(*flags, output_dir=tmp_path / "whole")
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(whole / "run.json", broken)
    for step in (1, 2, 3, 4):
        shutil.copytree(whole / f"checkpoint-{step}", broken / f"checkpoint-{step}")
    (broken / "checkpoint-3" / "trainer_state.json").unlink()
    (broken / "checkpoint-4" / "trainer_state.json").write_text('{"epoch": 1')
    code, _ = call(*flags, output_dir=broken)
    assert code == 0
    for step in (3, 4):
        assert f"{broken / f'checkpoint-{step}'} is incomplete and not used" in caplog.text
    assert f"Resuming from {broken / 'checkpoint-2'}" in caplog.text
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_is_only_continued_by_its_own_run(call, glue, capsys):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--save_steps", 1]
    assert call(*flags, "--mix_method", "logitmix")[0] == 0
    code, out = call(*flags, "--mix_method", "vanilla", "--seed", 7)
    assert code == 2
    error = capsys.readouterr().err
    assert "holds another run" in error
    assert "mix_method: 'logitmix' there, 'vanilla' now" in error
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    code, _ = call(*flags, "--mix_method", "logitmix")
    assert code == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    code, _ = call(*flags, "--mix_method", "logitmix", "--do_eval")
    assert code == 0
    assert {"train_loss", "eval_ece"} <= set(results(out))
    assert results(out)["train_loss"] > 0


def test_weights_that_are_not_kept_can_be_made_again(call, glue):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--do_eval", "--save_predictions", "true"]
    code, out = call(*flags, "--keep_weights", "false", "--save_steps", 1)
    assert code == 0
    left = {path.name for path in out.iterdir()}
    assert left == {
        "all_results.json", "eval_predictions.parquet", "eval_results.json", "result.json", "run.json",
        "train_results.json", "trainer_state.json",
    }  # fmt: skip
    first = read_result(out)
    code, _ = call(*flags, "--do_predict", "--save_steps", 1)
    assert code == 0
    assert (out / "model.safetensors").is_file()
    assert (out / "CoLA.tsv").is_file()
    again = read_result(out)
    assert {name: again.metrics[name] for name in ("train_loss", "eval_nll", "eval_ece")} == {
        name: first.metrics[name] for name in ("train_loss", "eval_nll", "eval_ece")
    }


def test_a_model_without_head_is_not_asked_to_guess(call, glue, model, tmp_path, capsys):
    bare = shutil.copytree(model, tmp_path / "bare")
    config = json.loads((bare / "config.json").read_text())
    samples.write_text(bare / "config.json", json.dumps({**config, "architectures": ["BertModel"]}))
    code, out = call("--task_name", "cola", "--data_dir", glue, "--do_predict", model=bare)
    assert code == 2
    assert "has no classification head (BertModel)" in capsys.readouterr().err
    assert not (out / "CoLA.tsv").exists()


def test_a_start_that_failed_leaves_the_folder_free(call, glue, capsys, tmp_path):
    flags = ["--task_name", "cola", "--do_train"]
    assert call(*flags, "--data_dir", tmp_path / "nowhere")[0] == 2
    assert call(*flags, "--data_dir", glue)[0] == 0
    assert "another run" not in capsys.readouterr().err


def test_files_of_the_user_stay_when_weights_are_dropped(call, glue):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--do_eval"]
    _, out = call(*flags)
    for name in ("notes.csv", "analysis.ipynb", "figure.png", "report.tex"):
        samples.write_text(out / name, "x")
    assert call(*flags, "--keep_weights", "false")[0] == 0
    assert not (out / "model.safetensors").exists()
    assert {"notes.csv", "analysis.ipynb", "figure.png", "report.tex"} <= {path.name for path in out.iterdir()}


def test_a_model_whose_weights_are_gone_is_trained_again(call, glue):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--do_eval"]
    _, out = call(*flags)
    (out / "model.safetensors").unlink()
    assert call(*flags)[0] == 0
    assert (out / "model.safetensors").is_file()


def test_damaged_figures_of_a_finished_run_are_one_line(call, glue, capsys):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--do_eval"]
    _, out = call(*flags)
    samples.write_text(out / "all_results.json", "")
    assert call(*flags)[0] == 2
    assert "all_results.json is damaged" in capsys.readouterr().err


def test_resume_from_a_named_checkpoint(call, glue, tmp_path):
    flags = ["--task_name", "cola", "--data_dir", glue, "--do_train", "--save_steps", 1]
    _, first = call(*flags, output_dir=tmp_path / "first")
    second = tmp_path / "second"
    samples.write_text(second / "notes.txt", "x")
    code, _ = call(*flags, "--resume_from_checkpoint", first / "checkpoint-2", output_dir=second)
    assert code == 0
    assert sorted(path.name for path in second.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-4"]


def test_broken_input_is_one_line_and_exit_code_two(call, glue, tmp_path, capfd):
    cases = [
        (["--task_name", "colla", "--do_train"], "Unknown GLUE task 'colla'; choose one of: cola"),
        (["--task_name", "cola", "--data_dir", glue], "nothing to do"),
        (["--task_name", "cola", "--data_dir", tmp_path / "no", "--do_eval"], "is not a file"),
        (["--task_name", "cola", "--data_dir", glue, "--do_eval", "--mixmethod", "x"], "did you mean 'mix_method'"),
        (["--task_name", "cola", "--data_dir", glue, "--do_eval", "--mix_method", "mixdown"], "mixdown"),
        (["--task_name", "cola", "--data_dir", glue, "--do_train", "--mix_alpha", "0"], "mix_alpha"),
        (["--task_name", "cola", "--data_dir", glue, "--do_train", "--mix_site", "layer:9"], "layer:9"),
        (["--task_name", "stsb", "--data_dir", glue, "--do_eval"], "head of 2 outputs, the data needs 1"),
        (["--task_name", "cola", "--data_dir", glue, "--do_train", "--resume_from_checkpoint", "true"], "no complete"),
        (
            ["--task_name", "cola", "--data_dir", glue, "--do_train", "--resume_from_checkpoint", "x"],
            "no folder with a complete checkpoint",
        ),
    ]
    for flags, message in cases:
        code, _ = call(*flags)
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert code == 2, flags
        assert error.startswith("error: ")
        assert message in error, (flags, error)


def test_malformed_file_is_named_with_its_line(call, glue, capsys):
    samples.write_text(glue / "CoLA" / "train.tsv", "a\t1\t\tfine\nb\t5\t\tdull\n")
    code, _ = call("--task_name", "cola", "--data_dir", glue, "--do_train")
    assert code == 2
    assert f"error: {glue / 'CoLA' / 'train.tsv'}:2: found label '5', allowed are: 0, 1." in capsys.readouterr().err


def test_unknown_model_is_one_line(call, glue, tmp_path, capsys):
    code, _ = call("--task_name", "cola", "--data_dir", glue, "--do_eval", model=tmp_path / "nothing")
    assert code == 2
    assert "error: " in capsys.readouterr().err


def test_output_folder_in_use_is_not_written_to(call, glue, capsys, tmp_path):
    samples.write_text(tmp_path / "out" / "thesis.txt", "x")
    code, out = call("--task_name", "cola", "--data_dir", glue, "--do_train")
    assert code == 2
    assert "is not empty and holds no run of this script" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_predictions_belong_to_their_rows_when_training_groups_by_length(call, tmp_path):
    """Ids, labels and logits of every file, against the rows one by one."""
    words = ["the", "cat", "sat", "on", "it", "and", "a", "dog", "ran"]
    texts = [" ".join((words * 3)[row : row + length]) for row, length in enumerate([2, 9, 1, 12, 3, 7, 5, 11, 4, 8])]
    lines = [f"{text},{'good' if row % 3 else 'bad'}" for row, text in enumerate(texts)]
    data = samples.write_text(tmp_path / "data.csv", "\n".join(["text,label", *lines]) + "\n")
    flags = ["--train_file", data, "--validation_file", data, "--test_file", data, "--train_sampling_strategy"]
    code, out = call(*flags, "group_by_length", "--do_train", "--do_eval", "--do_predict", "--save_predictions")
    assert code == 0
    tokenizer = AutoTokenizer.from_pretrained(out)
    trained = AutoModelForSequenceClassification.from_pretrained(out).eval()
    with torch.no_grad():
        logits = torch.cat([trained(**tokenizer(text, return_tensors="pt")).logits for text in texts])
    found = Dataset.from_parquet(str(out / "eval_predictions.parquet"))
    assert found["idx"][:] == list(range(len(texts)))
    assert found["label"][:] == [int(row % 3 > 0) for row in range(len(texts))]
    torch.testing.assert_close(torch.tensor(found["logits"][:]), logits, atol=1e-5, rtol=0)
    names = [trained.config.id2label[value] for value in logits.argmax(1).tolist()]
    assert predictions(out / "predictions.tsv") == [[str(row), name] for row, name in enumerate(names)]
