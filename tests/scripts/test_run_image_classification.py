# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import image_files
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import TrainerCallback, pipeline

import logitmix_nlp.training.mixin as trainer_module
from glue_runs.runs.images import Images
from glue_runs.runs.results import read_result
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.training.methods import MIX_METHODS

QUIET = ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--report_to=none"]
SHORT = ["--max_steps=2", "--per_device_train_batch_size=4", "--logging_steps=1", "--save_strategy=no"]


def load(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "scripts" / f"{name}.py")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load("run_image_classification")


@pytest.fixture
def call(tmp_path):
    """`call(*flags)` runs the script on a tiny ResNet and returns the exit code and the output folder."""

    def call(*flags, output_dir=tmp_path / "out", model=tuple(image_files.TINY), callbacks=()):
        flags = [f"--output_dir={output_dir}", *QUIET, *SHORT, *model, *map(str, flags)]
        return script.main(flags, callbacks), output_dir

    return call


def results(output_dir):
    return json.loads((output_dir / "all_results.json").read_text())


def test_digits_are_the_default_and_the_log_says_so(call, caplog):
    flags = ("--do_train", "--do_eval", "--max_eval_samples=50", "--mix_method=logitmix_c")
    code, out = call(*flags)
    assert code == 0
    for _ in range(2):  # the second time, the finished model is loaded from its own folder
        card = (out / "README.md").read_text()
        assert ("trained from scratch" in card, "fine-tuned" in card, "licence" in card) == (True, False, False)
        assert "**digits of scikit-learn, rows held out: 50 rows, not all of the split**" in card
        (out / "README.md").unlink()
        assert call(*flags)[0] == 0
    assert "taking the 1,797 digits of 8x8 pixels that come with scikit-learn" in caplog.text
    found = results(out)
    assert {f"eval_{name}" for name in ("accuracy", "ece", "oe", "nll", "brier", "loss")} <= set(found)
    assert (found["train_samples"], found["eval_samples"]) == (1437, 50)
    args = torch.load(out / "training_args.bin", weights_only=False)
    assert (args.flip_prob, args.crop_padding, args.mix_method) == (0.0, 1, "logitmix_c")
    result = read_result(out)
    assert (result.task, result.method) == ("digits", "logitmix_c")
    assert result.command[:2] == ["python", "scripts/run_image_classification.py"]


def test_a_folder_of_images_and_the_saved_model_in_a_stock_pipeline(call, tmp_path):
    train = image_files.write_folder(tmp_path / "train")
    test = image_files.write_folder(tmp_path / "test", each=2)
    sources = ["--train_dir", train, "--validation_dir", train, "--test_dir", test]
    code, out = call(*sources, "--do_train", "--do_eval", "--do_predict", "--mix_method=puzzlemix")
    assert code == 0
    lines = (out / "predictions.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert {line.split("\t")[1] for line in lines[1:]} <= {"cat", "dog"}
    assert results(out)["predict_samples"] == 4
    found = Dataset.from_csv(str(out / "predictions.csv"), cache_dir=str(tmp_path / "cache"))
    columns = ["image", "label", "prediction", "entropy", "probability_cat", "probability_dog"]
    assert found.column_names == columns
    assert found["prediction"][:] == [line.split("\t")[1] for line in lines[1:]]
    assert all(row["label"] in row["image"] for row in found)
    assert set(json.loads((out / "eval_class_results.json").read_text())) == {"cat", "dog"}
    assert "eval_macro_f1" in results(out)
    assert json.loads((out / "config.json").read_text())["data_columns"]["image"] == "image"
    classifier = pipeline("image-classification", model=str(out))
    for line, (label, number) in zip(lines[1:], [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        best = classifier(image_files.picture(label, number))[0]
        assert best["label"] == line.split("\t")[1]


def test_parquet_files_and_a_folder_of_them(call, tmp_path):
    parts = [
        image_files.write_parquet(tmp_path / "data" / name, count)
        for name, count in {
            "train-00000-of-00002.parquet": 8,
            "train-00001-of-00002.parquet": 6,
            "validation-00000-of-00001.parquet": 4,
        }.items()
    ]
    code, out = call("--data_dir", tmp_path / "data", "--do_train", "--do_eval")
    assert code == 0
    assert (results(out)["train_samples"], results(out)["eval_samples"]) == (14, 4)
    code, out = call("--train_file", parts[0], "--do_train", "--do_eval", output_dir=tmp_path / "two")
    assert code == 0
    assert (results(out)["train_samples"], results(out)["eval_samples"]) == (7, 1)
    parts[1].unlink()
    assert call("--data_dir", tmp_path / "data", "--do_train", output_dir=tmp_path / "three")[0] == 2


def test_a_pretrained_model_is_fine_tuned_evaluated_and_keeps_its_label_order(call, tmp_path):
    train = image_files.write_folder(tmp_path / "train")
    _, first = call("--train_dir", train, "--do_train")
    config = json.loads((first / "config.json").read_text())
    config |= {"id2label": {"0": "dog", "1": "cat"}, "label2id": {"dog": 0, "cat": 1}}
    (first / "config.json").write_text(json.dumps(config))
    model = [f"--model_name_or_path={first}"]
    code, out = call("--train_dir", train, "--do_train", model=model, output_dir=tmp_path / "second")
    assert code == 0
    assert json.loads((out / "config.json").read_text())["id2label"] == {"0": "dog", "1": "cat"}
    data = ["--validation_dir", train, "--do_eval", "--save_predictions"]
    code, out = call(*data, model=model, output_dir=tmp_path / "third")
    assert code == 0
    saved = Dataset.from_parquet(str(out / "eval_predictions.parquet"))
    assert saved["label"][:] == [1] * 6 + [0] * 6
    assert [sum(row) for row in saved["probabilities"]] == pytest.approx([1] * 12, abs=1e-5)
    assert [Path(path).parent.name for path in saved["image"]] == ["cat"] * 6 + ["dog"] * 6


def test_an_interrupted_run_goes_on_and_a_finished_one_is_kept(call, tmp_path):
    train = image_files.write_folder(tmp_path / "train")
    flags = ["--train_dir", train, "--do_train", "--do_eval", "--mix_method=logitmix_m", "--save_strategy=steps"]
    flags += ["--save_steps=1", "--max_steps=3"]
    _, whole = call(*flags, output_dir=tmp_path / "whole")

    class Interrupted(Exception):
        pass

    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            raise Interrupted

    with pytest.raises(Interrupted):
        call(*flags, callbacks=[Stop()])
    code, out = call(*flags)
    assert code == 0
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, out))
    assert all(torch.equal(one[name], other[name]) for name in one)
    written = (out / "model.safetensors").stat().st_mtime_ns
    assert call(*flags)[0] == 0
    assert (out / "model.safetensors").stat().st_mtime_ns == written
    moved = train.rename(tmp_path / "moved")
    assert call(*flags, "--train_dir", moved, "--logging_steps=7")[0] == 0
    assert (out / "model.safetensors").stat().st_mtime_ns == written
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for other in ("--flip_prob=0.1", "--dataloader_drop_last=true", "--adam_epsilon=1e-6"):
        assert call(*flags, "--train_dir", moved, other)[0] == 2
    image = next(path for path in sorted(moved.rglob("*")) if path.is_file())
    image.write_bytes(image.read_bytes() + b" ")
    assert call(*flags, "--train_dir", moved)[0] == 2
    shutil.rmtree(moved)
    assert call(*flags, "--train_dir", moved)[0] == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_recipe_and_what_the_user_typed():
    flags = ["--output_dir=o", "--do_train", "--use_cpu", "--recipe=cutmix", "--learning_rate=0.3"]
    args = Images.parse(flags)[-1]
    assert (args.optim, args.optim_args, args.weight_decay) == ("sgd", "momentum=0.9,nesterov=true", 1e-4)
    assert (args.learning_rate, args.lr_milestones, args.per_device_train_batch_size) == (0.3, [0.5, 0.75], 128)
    args = Images.parse([*flags, "--lr_scheduler_type=cosine", "--mix_method=cutmix"])[-1]
    assert (args.lr_scheduler_type, args.lr_milestones, args.mix_prob) == ("cosine", None, 0.5)


def test_big_transfer_reads_the_size_of_the_data(call, tmp_path, caplog):
    args = Images.parse(["--output_dir=o", "--do_train", "--use_cpu", "--recipe=bit", "--lr_milestones", "0.5"])
    assert (args[0].image_size, args[-1].max_steps, args[-1].mix_method) == (128, 500, "vanilla")
    assert (args[-1].lr_milestones, args[-1].per_device_train_batch_size) == ([0.5], 512)
    train = image_files.write_folder(tmp_path / "train", each=12)
    flags = ["--train_dir", train, "--do_train", "--recipe=bit", "--mix_method=mixup", "--mix_alpha=0.2"]
    code, out = call(*flags, "--image_size=32", "--max_steps=2")
    assert code == 0
    assert "Recipe bit, with what you set: {'optim': " in caplog.text
    assert "'max_steps': 2, 'mix_method': 'mixup', 'mix_alpha': 0.2, 'image_size': 32" in caplog.text
    assert json.loads((out / "trainer_state.json").read_text())["global_step"] == 2


def test_a_cut_of_folders_is_a_sample_and_progress_bars_are_off(call, tmp_path, capfd):
    train = image_files.write_folder(tmp_path / "train", each=12)
    flags = ["--train_dir", train, "--validation_dir", train, "--do_train", "--do_eval", "--save_predictions"]
    code, out = call(*flags, "--max_train_samples=8", "--max_eval_samples=10", "--mix_method=vanilla")
    assert code == 0
    assert set(Dataset.from_parquet(str(out / "eval_predictions.parquet"))["label"]) == {0, 1}
    assert "%|" not in capfd.readouterr().err
    code, _ = call(*flags, "--max_train_samples=1", output_dir=tmp_path / "two")
    assert code == 2
    assert "train: 1 rows hold 1 of 2 classes" in capfd.readouterr().err


def test_what_the_first_step_shows_is_one_line(call, monkeypatch, capfd):
    def refuse(*args, **options):
        raise SetupError("no such\nsite")

    monkeypatch.setattr(trainer_module, "probe", refuse)
    assert call("--do_train", "--mix_method=mixup")[0] == 2
    assert capfd.readouterr().err.strip().splitlines()[-1] == "error: no such site"


def test_broken_input_is_one_line_and_exit_code_two(call, tmp_path, capfd):
    train = image_files.write_folder(tmp_path / "train")
    other = image_files.write_folder(tmp_path / "other", names=("cat", "horse"))
    mixed = image_files.write_folder(tmp_path / "mixed")
    image_files.picture(0, 0, size=(9, 8)).save(mixed / "dog" / "9.png")
    broken = image_files.write_folder(tmp_path / "broken")
    (broken / "dog" / "2.png").write_bytes(b"no image")
    table = image_files.write_parquet(tmp_path / "t.parquet")
    scores = image_files.rows(4).remove_columns("label").add_column("label", [0.5, 1.5, 2.5, 3.5])
    scores.to_parquet(str(tmp_path / "scores.parquet"))
    soft = image_files.rows(4).remove_columns("label").add_column("label", [[0.2, 0.8]] * 4)
    soft.to_parquet(str(tmp_path / "soft.parquet"))
    one = image_files.write_folder(tmp_path / "one", names=("cat",))
    cases = [
        ([], "nothing to do"),
        (["--do_train", "--train_dir", tmp_path / "no"], "no is not a folder"),
        (
            ["--do_train", "--train_dir", train, "--train_file", table],
            "Give one source of images, got --train_dir",
        ),
        (["--do_train", "--do_eval", "--train_dir", train, "--validation_dir", other], "row 7: found label 'horse'"),
        (
            ["--do_train", "--train_dir", mixed, "--validation_dir", train],
            "the image is 9 pixels wide and 8 high, those before it 8 and 8",
        ),
        (["--do_train", "--train_dir", broken, "--validation_dir", train], "2.png): not a readable image"),
        (["--do_train", "--train_dir", one], "every label is 'cat'; training needs two classes or more"),
        (["--do_train", "--train_file", table, "--image_column_name=img"], "has no image column 'img'"),
        (["--do_train", "--train_file", table, "--label_column_name=class"], "has no label column 'class'"),
        (["--do_train", "--train_file", tmp_path / "scores.parquet"], "labels must be classes, but are scores"),
        (["--do_train", "--train_file", tmp_path / "soft.parquet"], "labels must be classes, but are probabilities"),
        (["--do_train", "--train_file", tmp_path / "t.csv"], "images are read from .parquet files"),
        (["--do_train", "--data_dir", tmp_path], "no parquet file like train-00000-of-00001.parquet"),
        (["--do_train", "--do_predict"], "--do_predict needs the split 'test'; there is only: train, validation"),
        (["--do_eval"], "without --do_train, give a trained model with --model_name_or_path"),
        (["--do_train", "--recipe=cutmux"], "Unknown recipe 'cutmux'. Available: cutmix"),
        (["--do_train", "--config_name=resnet21"], "did you mean 'resnet20'"),
        (["--do_train", "--mixmethod=x"], "did you mean 'mix_method'"),
        (["--do_train", "--train_val_split=2"], "--train_val_split must lie between 0 and 1, got 2.0"),
        (["--do_train", "--dataset_config_name=x"], "--dataset_config_name belongs to --dataset_name"),
        (["--do_train", "--max_train_samples=0"], "--max_train_samples must be at least 1, got 0"),
    ]
    for number, (flags, message) in enumerate(cases):
        code, _ = call(*flags, output_dir=tmp_path / f"out-{number}")
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert code == 2, flags
        assert error.startswith("error: ")
        assert message in error, (flags, error)
    assert call("--do_train", model=[f"--model_name_or_path={tmp_path}/nothing"])[0] == 2
    assert f"error: model '{tmp_path}/nothing': there is no such folder" in capfd.readouterr().err


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_damaged_behind_its_header_ends_training_with_one_line(call, tmp_path, capfd, workers):
    train = image_files.write_folder(tmp_path / "train", size=(40, 40))
    small = ["--config_name=resnet", image_files.TINY[1], "--image_size=16"]
    _, first = call("--train_dir", train, "--do_train", model=small, output_dir=tmp_path / "first")
    path = train / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:2000])
    flags = ["--train_dir", train, "--do_train", "--train_val_split=0.1", f"--dataloader_num_workers={workers}"]
    flags += ["--num_train_epochs=1", "--max_steps=-1", "--train_sampling_strategy=sequential"]
    capfd.readouterr()
    code, out = call(*flags, model=[f"--model_name_or_path={first}"])
    assert code == 2
    assert "3.png): not a readable image" in capfd.readouterr().err.strip().splitlines()[-1]
    assert (out / "run.json").is_file()


def test_help_names_the_models_and_the_methods(capsys):
    with pytest.raises(SystemExit):
        script.main(["--help"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("resnet_small_stem", "vgg16", "logitmix_p", "--recipe"))


def test_the_demo_of_images(tmp_path, capsys):
    demo = load("demo_images")
    methods = ["vanilla", "logitmix_c"]
    demo.main([f"--output_dir={tmp_path}", "--steps=2", "--train_rows=1700", "--rounds=1", "--methods", *methods])
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["results"]) == methods
    assert all(0 <= row["accuracy"] <= 1 and row["seconds_per_step"] > 0 for row in found["results"].values())
    assert {path.name for path in tmp_path.glob("*.png")} == {"mixed.png", "reliability.png"}
    assert "| vanilla |" in capsys.readouterr().out
    assert set(demo.METHODS) <= set(MIX_METHODS)
