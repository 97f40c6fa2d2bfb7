# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind to every command: exit code 2, one line on stderr, nothing trained, nothing changed."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import image_files
import pytest
import samples
import torch
import zoo
from safetensors.torch import load_file, save_file
from transformers import ViTImageProcessor

import logitmix_nlp.trainer
from glue_runs.grid import command as grid_command
from glue_runs.leaderboard import command as leaderboard
from glue_runs.report import command as report
from glue_runs.runs import run
from logitmix_nlp.commands import calibrate, evaluate, figures, predict, push

QUIET = ["--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false"]
BEST = ["--load_best_model_at_end", "--eval_strategy=steps", "--save_strategy=steps"]
BEST += ["--eval_steps=1", "--save_steps=1"]
PUZZLE = "--mix_method=puzzlemix --puzzle_options="
# Flags that are added to a command that would work -> what the line says
TEXT = {
    "--per_device_train_batch_size=0": "per_device_train_batch_size must be a whole number of at least 1, got 0",
    "--per_device_train_batch_size=-2": "got -2",
    "--per_device_eval_batch_size=0": "per_device_eval_batch_size",
    "--gradient_accumulation_steps=0": "gradient_accumulation_steps",
    "--gradient_accumulation_steps=-1": "gradient_accumulation_steps",
    "--learning_rate=nan": "learning_rate must be finite and at least 0, got nan",
    "--learning_rate=-1": "learning_rate",
    "--learning_rate=inf": "learning_rate",
    "--learning_rate=fast": "invalid float value: 'fast'; --help lists all flags",
    "--weight_decay=nan": "weight_decay",
    "--weight_decay=-0.1": "weight_decay",
    "--dataloader_num_workers=-1": "dataloader_num_workers",
    "--dataloader_num_workers=1 --dataloader_prefetch_factor=0": "dataloader_prefetch_factor",
    "--n_bins=1000000000000": "--n_bins must be at least 1 and at most 1,000,000",
    "--n_bins=0": "--n_bins",
    "--max_seq_length=1": "max_seq_length must be at least 3 for one text and the special tokens, got 1",
    "--max_seq_length=-1": "--max_seq_length must be at least 1, got -1",
    "--max_grad_norm=nan": "max_grad_norm",
    "--adam_beta1=1": "adam_beta1 must be in [0, 1), got 1.0",
    "--adam_beta2=nan": "adam_beta2",
    "--adam_epsilon=-1": "adam_epsilon",
    "--warmup_steps=nan": "warmup_steps",
    "--warmup_steps=-3": "warmup_steps",
    "--num_train_epochs=-1": "num_train_epochs must be finite and at least 0 where max_steps is not set, got -1.0",
    "--num_train_epochs=inf": "num_train_epochs",
    "--eval_accumulation_steps=0": "eval_accumulation_steps",
    "--eval_strategy=steps --eval_steps=inf": "eval_steps",
    "--save_strategy=steps --save_steps=nan": "save_steps",
    "--logging_steps=inf": "logging_steps",
    "--eval_delay=nan": "eval_delay",
    "--neftune_noise_alpha=-1": "neftune_noise_alpha",
    "--seed=-1": "Seed must be between 0 and",
    "--metric_for_best_model=foo BEST": "'foo' is none of the metrics of an evaluation, which are: loss, matthews",
    "--metric_for_best_model=eval_f1 BEST": "metric_for_best_model='eval_f1'",
    "--metric_for_best_model=foo --lr_scheduler_type=reduce_lr_on_plateau --eval_strategy=epoch": "'foo' is none of",
    "--torch_compile_mode=foo": "torch_compile_mode must be one of default, ",
    "--fsdp=foo": "fsdp: unknown option 'foo'. Choose from: full_shard, ",
    "--deepspeed=nope.json": "deepspeed nope.json: no such file",
    "--accelerator_config=nope.json": "accelerator_config nope.json: no such file",
    "--report_to=nothing": "report_to: unknown 'nothing'",
    "--optim=foo": "invalid choice: 'foo'",
    "--optim_args=momentum": "optim_args must be name=value pairs",
    "--lr_scheduler_type=foo": "invalid choice: 'foo'",
    "--lr_scheduler_kwargs={": "lr_scheduler_kwargs is not valid JSON",
    "--lr_scheduler_kwargs=x": "lr_scheduler_kwargs must be a JSON object",
    "--mix_alpha=nan": "mix_alpha",
    "--mix_prob=nan": "mix_prob",
    "--lamix_beta=nan": "lamix_beta",
    "--mix_site=layer:99": "has no mix_site 'layer:99'",
    "--do_train=perhaps": "Truthy value expected",
    "--output_dir=": "output_dir is empty",
    "--model_name_or_path=./nope": "model './nope': there is no such folder, and it is no name on the Hub either",
    "--model_name_or_path=nope/": "model 'nope/'",
    "--model_name_or_path=": "model ''",
    "--config_name=./nope": "model './nope'",
    "--tokenizer_name=./nope": "model './nope'",
}  # fmt: skip
IMAGE = {
    "--per_device_train_batch_size=0": "per_device_train_batch_size",
    "--learning_rate=nan": "learning_rate",
    "--lr_decay=nan": "lr_decay must be a finite number above 0, got nan",
    "--lr_milestones=nan": "lr_milestones",
    "--flip_prob=nan": "flip_prob",
    "--crop_padding=100": "crop_padding=100 around images of 8 x 8 pixels",
    "--image_size=-1": "--image_size",
    "--image_size=100000000": "--image_size must be at least 1 and at most 10000",
    "--mix_site=layer:99": "has no mix_site 'layer:99'",
    "--n_bins=1000000000000": "--n_bins",
    "--train_val_split=nan": "--train_val_split",
    "--metric_for_best_model=foo BEST": "'foo' is none of the metrics of an evaluation, which are: loss, accuracy",
    "--config_name=./nope": "model './nope'",
    "--config_overrides=depths=x": "--config_overrides depths=x: not for resnet20",
    "--config_overrides=embedding_size=0": "embedding_size=0: no such model",
    "--config_overrides=hidden_sizes=[0]": "hidden_sizes=[0]: no such model",
    "--config_overrides=hidden_act=foo": "hidden_act=foo: no such model",
    PUZZLE + "[1]": "puzzle_options must be a JSON object",
    PUZZLE + '{"t_size":"x"}': "t_size must be a whole number",
    PUZZLE + '{"grid":0}': "grid must be",
    PUZZLE + '{"n_labels":2.5}': "n_labels must be a whole number",
    PUZZLE + '{"beta":NaN}': "beta must be finite",
    PUZZLE + '{"adv_prob":"x"}': "adv_prob must be a number",
}
EVALUATE = {
    "--batch_size 0": "--batch_size must be at least 1",
    "--n_bins 1000000000000": "--n_bins",
    "--n_bins x": "invalid int value: 'x'",
    "--max_seq_length 1": "max_seq_length must be at least 3 for one text and the special tokens, got 1",
    "--n_bootstrap 1000000000000": "--n_bootstrap must be 0 or at least 40, and at most 1,000,000",
    "--data ''": "the name of the data is empty",
    "--perturb nan": "--perturb must lie in [0, 1]",
    "--device gpu": "device 'gpu' cannot be used here",
    "--output_dir ''": "--output_dir is empty",
    "--foo": "unrecognized arguments: --foo",
}
OTHERS = {
    "calibrate --batch_size 0": "--batch_size",
    "calibrate --max_seq_length 1": "max_seq_length",
    "predict --batch_size 0": "--batch_size",
    "predict --max_seq_length 1": "max_seq_length",
    "figures entropy --output_dir ''": "--output_dir is empty",
    "figures entropy --rows x": "invalid int value: 'x'",
    "figures nothing": "invalid choice: 'nothing'",
    "push model": "the following arguments are required: --repo_id",
    "grid --learning_rate=nan": "learning_rate",
    "grid --methods logitmix/learning_rate=nan": "learning_rate",
    "grid --per_device_train_batch_size=0": "per_device_train_batch_size",
    "grid --n_bins=0": "--n_bins",
    "grid --gpus_per_run nan": "--gpus_per_run",
    "grid --model ./nope": "model './nope'",
    "grid --output_dir ''": "--output_dir is empty",
    "grid --seeds x": "invalid int value: 'x'",
    "submission": "the following arguments are required: runs",
    "report": "the following arguments are required: folder",
}
CONFIGS = {
    '{"hidden_size": "x"}': "'hidden_size' expected int, got str",
    '{"hidden_size": 24}': "is 16 in its weights, but 24 in its config.json",
    '{"vocab_size": 50}': "is 101 x 16 in its weights, but 50 x 16 in its config.json",
    '{"num_attention_heads": 0}': "no model with these weights can be made of its config.json",
    '{"hidden_act": "foo"}': "no model with these weights can be made of its config.json",
    '{"id2label": ["a", "b"]}': "its config.json cannot be used",
    '{"architectures": 3}': "architectures in its config.json must be a list",
    '{"pad_token_id": 5000}': "no model with these weights can be made of its config.json",
}
DAMAGED = {
    "model.safetensors cut": "model/model.safetensors is missing or damaged",
    "model.safetensors empty": "model/model.safetensors is missing or damaged",
    "model.safetensors garbage": "model/model.safetensors is missing or damaged",
    "model.safetensors NaN": "classifier.weight holds NaN or infinite weights",
    "config.json cut": "'model/config.json' is not a valid JSON file",
    "config.json []": "its config.json cannot be used",
    "tokenizer.json cut": "model holds no tokenizer that can be read",
    "tokenizer.json {}": "model holds no tokenizer that can be read",
    "tokenizer_config.json []": "model holds no tokenizer that can be read",
}
RUNS = ("text", "evaluate", "calibrate", "predict")


def image_script():
    path = Path(__file__).parents[2] / "scripts" / "run_image_classification.py"
    spec = importlib.util.spec_from_file_location("run_image_classification", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with all that the commands need."""
    folder = tmp_path_factory.mktemp("base")
    samples.write_model(folder / "model")
    samples.write_glue(folder / "glue")
    rows = "".join(
        json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate(["a cat sat", "it ran"] * 4)
    )
    samples.write_text(folder / "rows.jsonl", rows)
    image_files.write_parquet(folder / "images.parquet")
    zoo.build("vit", num_labels=2).save_pretrained(folder / "vit")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder / "vit")
    return folder


@pytest.fixture
def place(base, tmp_path, monkeypatch):
    """A copy of it to work in; whatever trains there fails the test."""
    shutil.copytree(base, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    work = lambda *args, **kwargs: pytest.fail("work was done")  # noqa: E731
    monkeypatch.setattr(logitmix_nlp.trainer.LogitMixTrainer, "train", work)
    monkeypatch.setattr(grid_command, "execute_and_show", work)
    return tmp_path / "here"


def command(name, flags):
    """What a command returns for its usual flags and some more."""
    flags = [word for flag in flags for word in (BEST if flag == "BEST" else ["" if flag == "''" else flag])]
    common = [*QUIET, "--output_dir=out", "--do_train"]
    images = ["--train_file=images.parquet", "--validation_file=images.parquet"]
    data = ["model", "--data", "rows.jsonl"]
    usual = {
        "text": [*common, "--do_eval", "--model_name_or_path=model", "--task_name=cola", "--data_dir=glue"],
        "image": [*common, "--do_eval", *images, *image_files.TINY],
        "vit": [*common, *images, "--model_name_or_path=vit"],
        "evaluate": [*data, "--no_pictures", "--output_dir", "out"],
        "calibrate": data,
        "predict": [*data, "--output_file", "out.csv"],
        "grid": ["--model=model", "--output_dir=out", "--data_dir=glue", "--tasks=cola", "--seeds=1", *QUIET],
    }
    mains = {
        "text": run, "image": image_script(), "vit": image_script(), "evaluate": evaluate, "calibrate": calibrate,
        "predict": predict, "figures": figures, "push": push, "grid": grid_command, "submission": leaderboard,
        "report": report,
    }  # fmt: skip
    return mains[name].main([*usual.get(name, []), *flags])


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_line(place, capfd, name, flags, message):
    before = contents(place)
    capfd.readouterr()
    assert command(name, flags) == 2
    printed = capfd.readouterr().err
    lines = [line for line in printed.splitlines() if line and not line.startswith("INFO: ") and "%|" not in line]
    assert len(lines) == 1, printed
    assert lines[0].startswith("error: "), printed
    assert message in lines[0], printed
    assert contents(place) == before


@pytest.mark.parametrize("flags", TEXT)
def test_flags_of_texts(place, capfd, flags):
    assert_one_line(place, capfd, "text", flags.split(), TEXT[flags])


@pytest.mark.filterwarnings("default:Initializing zero-element")
@pytest.mark.parametrize("flags", IMAGE)
def test_flags_of_images(place, capfd, flags):
    assert_one_line(place, capfd, "image", flags.split(), IMAGE[flags])


@pytest.mark.parametrize("flags", EVALUATE)
def test_flags_of_evaluate(place, capfd, flags):
    assert_one_line(place, capfd, "evaluate", flags.split(), EVALUATE[flags])


@pytest.mark.parametrize("words", OTHERS)
def test_flags_of_other_commands(place, capfd, words):
    name, *flags = words.split()
    assert_one_line(place, capfd, name, flags, OTHERS[words])


@pytest.mark.parametrize("values", CONFIGS)
def test_settings_of_a_model_that_do_not_fit(place, capfd, values):
    path = place / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | json.loads(values)))
    for name in RUNS:
        assert_one_line(place, capfd, name, [], CONFIGS[values])


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_model_folder(place, capfd, damage):
    name, kind = damage.split()
    path = place / "model" / name
    if kind == "NaN":
        weights = load_file(path)
        save_file({**weights, "classifier.weight": torch.full((2, 16), torch.nan)}, path, metadata={"format": "pt"})
    else:
        whole = path.read_bytes()
        other = {"cut": whole[: len(whole) // 2], "empty": b"", "garbage": b"garbage" * 99}
        path.write_bytes(other.get(kind, kind.encode()))
    for name in RUNS:
        assert_one_line(place, capfd, name, [], DAMAGED[damage])


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_damaged_image_model(place, capfd, file):
    (place / "vit" / file).write_text("[]")
    assert_one_line(place, capfd, "vit", [], "vit")


def test_tokens_that_the_model_has_no_embedding_for(place, capfd):
    weights, name = load_file("model/model.safetensors"), "bert.embeddings.word_embeddings.weight"
    save_file({**weights, name: weights[name][:10].clone()}, "model/model.safetensors", metadata={"format": "pt"})
    config = json.loads(Path("model/config.json").read_text())
    Path("model/config.json").write_text(json.dumps({**config, "vocab_size": 10}))
    assert_one_line(place, capfd, "text", [], "has embeddings for ids below 10 only")
