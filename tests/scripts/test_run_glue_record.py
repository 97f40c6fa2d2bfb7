# SPDX-License-Identifier: Apache-2.0
"""A run is only ever taken for itself, whatever was changed, moved or damaged in between, and loses nothing."""

import json
import shutil

import pytest
import samples
import tiny

from glue_runs.runs.results import is_finished, read_result
from logitmix_nlp import LogitMixMixin, LogitMixTrainer
from logitmix_nlp.mixing.outputs import SetupError

FLAGS = [
    "--task_name=cola", "--do_train", "--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false",
    "--max_seq_length=16", "--max_steps=2", "--per_device_train_batch_size=2", "--save_steps=1",
]  # fmt: skip
# What the record of the version before held, so that everything else was no other run.
OLD_FIELDS = (
    "model_name_or_path", "config_name", "tokenizer_name", "model_revision", "ignore_mismatched_sizes",
    "task_name", "data_dir", "dataset_name", "dataset_config_name", "train_file", "text_column_names",
    "label_column_name", "max_seq_length", "pad_to_max_length", "max_train_samples", "mix_method", "mix_site",
    "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "sim_norm", "mix_prob", "lam_per_sample",
    "mix_warmup", "mixer", "mix_pairing", "puzzle_options", "penalty_weight", "mix_schedule", "mix_lam",
    "label_lam", "lamix_beta", "lamix_detach_features", "label_smoothing_factor", "seed", "data_seed",
    "learning_rate", "weight_decay", "optim", "lr_scheduler_type", "warmup_steps", "max_grad_norm",
    "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps", "bf16",
    "fp16", "train_sampling_strategy",
)  # fmt: skip
OTHERS = {
    "adam_beta2": "0.9", "adam_epsilon": "1e-6", "optim_args": "x=1", "lr_scheduler_kwargs": '{"num_cycles": 2}',
    "dataloader_drop_last": "true", "neftune_noise_alpha": "5", "eval_strategy": "epoch", "max_grad_norm": "2",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(run_glue, model, tmp_path_factory):
    """A finished run with its data and its model, to be copied."""
    root = tmp_path_factory.mktemp("finished")
    samples.write_glue(root / "glue")
    shutil.copytree(model, root / "model")
    flags = [f"--model_name_or_path={root}/model", f"--data_dir={root}/glue", f"--output_dir={root}/out"]
    assert run_glue.main([*flags, *FLAGS]) == 0
    return root


@pytest.fixture
def place(finished, tmp_path):
    """A copy of the finished run; its record names the places it was copied from."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def call(run_glue, place, finished, capsys):
    """Repeat the command in the copy; returns the exit code and the last line on stderr."""

    def call(*flags, data=finished / "glue", model=finished / "model"):
        where = [f"--model_name_or_path={model}", f"--data_dir={data}", f"--output_dir={place}/out"]
        code = run_glue.main([*where, *FLAGS, *flags])
        lines = capsys.readouterr().err.strip().splitlines()
        assert code == 0 or lines[-1].startswith("error: ")
        return code, lines[-1] if lines else ""

    return call


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_argument_counts_that_is_not_said_to_change_nothing(place, call):
    before = contents(place)
    for name, value in OTHERS.items():
        code, line = call(f"--{name}={value}")
        assert code == 2, name
        assert "holds another run" in line
        assert f"{name}: " in line
        config = {**read_result(place / "out").config}
        assert is_finished(place / "out", config)
        assert not is_finished(place / "out", {**config, name: value})
    assert contents(place) == before


def test_what_changes_nothing_is_no_other_run(place, call):
    before = contents(place)
    flags = ["--logging_steps=7", "--dataloader_num_workers=1", "--save_steps=9", "--max_eval_samples=1"]
    assert call(*flags, f"--{tiny.CHECKPOINTING}=false", "--cache_dir=x", "--run_name=y", "--eval_steps=3")[0] == 0
    assert contents(place) == before


def test_files_count_by_content_and_not_by_place(place, call):
    before = contents(place / "out")
    config = read_result(place / "out").config
    moved = {"data_dir": str(place / "glue"), "model_name_or_path": str(place / "model")}
    assert call(data=place / "glue", model=place / "model")[0] == 0
    assert is_finished(place / "out", {**config, **moved})
    file = place / "glue" / "CoLA" / "train.tsv"
    file.write_text(file.read_text().replace("mat", "dog"))
    code, line = call(data=place / "glue")
    assert code == 2
    assert "holds another run (train: its files have changed)" in line
    assert not is_finished(place / "out", {**config, **moved})
    samples.write_text(place / "model" / "vocab.txt", "new")
    code, line = call(model=place / "model")
    assert code == 2
    assert "model_name_or_path: its files have changed" in line
    assert contents(place / "out") == before


def test_data_that_were_not_learnt_from_may_change(place, call):
    samples.write_text(place / "glue" / "CoLA" / "dev.tsv", "a\t1\t\tfine\n")
    samples.write_text(place / "glue" / "RTE" / "train.tsv", "")
    assert call("--do_eval", data=place / "glue")[0] == 0
    assert read_result(place / "out").metrics["eval_samples"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"see', "is damaged: it is not valid JSON"), ("[]", "it holds list, not an object"), ("", "not valid JSON")],
)
def test_a_damaged_record_is_refused(place, call, text, message):
    samples.write_text(place / "out" / "run.json", text)
    before = contents(place)
    for flags in ([], ["--seed=7"]):
        code, line = call(*flags)
        assert code == 2
        assert f"{place / 'out' / 'run.json'} is damaged" in line
        assert message in line
    assert contents(place) == before
    assert call("--resume_from_checkpoint=true")[0] == 0
    assert "content" in json.loads((place / "out" / "run.json").read_text())


@pytest.mark.parametrize("left", ["all", "the folder", "the checkpoints", "the record alone"])
def test_folders_of_the_version_before_go_on(place, call, left):
    """Its record held fewer fields; the others are known from what the run left, or had their defaults."""
    out = place / "out"
    record = json.loads((out / "run.json").read_text())
    samples.write_text(out / "run.json", json.dumps({name: record[name] for name in OLD_FIELDS}))
    for path in [*out.rglob("training_args.json"), out / "result.json"]:
        if left == "the record alone" or (left == "the folder") != (path.parent == out) and left != "all":
            path.unlink()
    assert call("--adam_beta2=0.9")[0] == 2
    assert call()[0] == 0


def test_arguments_of_an_old_run_are_known_from_what_it_left(place, call):
    out = place / "out"
    record = json.loads((out / "run.json").read_text())
    samples.write_text(out / "run.json", json.dumps({name: record[name] for name in OLD_FIELDS}))
    for path in out.rglob("training_args.json"):
        values = {**json.loads(path.read_text()), "adam_beta2": 0.9}
        samples.write_text(path, json.dumps(values))
    assert call("--adam_beta2=0.9")[0] == 0
    assert call()[0] == 2


@pytest.mark.parametrize("gone", ["data", "model", "argument", "first step"])
def test_a_repeat_that_fails_deletes_nothing(finished, place, call, gone, monkeypatch):
    record = place / "out" / "run.json"
    samples.write_text(record, record.read_text().replace(str(finished), str(place)))
    (place / "out" / "model.safetensors").unlink()  # so that the run is trained again
    shutil.rmtree(place / "out" / "checkpoint-1")
    shutil.rmtree(place / "out" / "checkpoint-2")
    before, flags = contents(place / "out"), {"data": place / "glue", "model": place / "model"}

    def refuse(*args, **kwargs):
        raise SetupError("the model cannot be mixed")

    if gone == "first step":
        monkeypatch.setattr(LogitMixTrainer, "compute_loss", refuse)
    elif gone == "argument":
        monkeypatch.setattr(LogitMixTrainer, "_check_setup", refuse)
    else:
        shutil.rmtree(flags[gone])
    assert call(**flags)[0] == 2
    assert contents(place / "out") == before
    assert (place / "out" / "all_results.json").is_file()


def test_a_kill_before_the_first_step_leaves_a_new_folder_free(place, call, monkeypatch):
    shutil.rmtree(place / "out")

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LogitMixMixin, "compute_loss", die)
        with pytest.raises(KeyboardInterrupt):
            call()
    assert json.loads((place / "out" / "run.json").read_text())["seed"] == 42
    assert call("--seed=7")[0] == 0


@pytest.mark.parametrize("name", ["optimizer.pt", "model.safetensors", "trainer_state.json"])
def test_a_damaged_checkpoint_that_is_asked_for_is_refused(place, call, name):
    samples.write_text(place / "out" / "checkpoint-2" / name, "[]")
    before = contents(place)
    code, line = call(f"--resume_from_checkpoint={place}/out/checkpoint-2")
    assert code == 2
    assert f"no folder with a complete checkpoint: {name}" in line.replace(f"{place}/out/checkpoint-2/", "")
    assert contents(place) == before
