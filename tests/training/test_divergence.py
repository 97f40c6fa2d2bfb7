# SPDX-License-Identifier: Apache-2.0
"""Training that diverged stops and says so, and no script saves its model; neither does one that cannot start."""

import logging

import pytest
import samples
import tiny
import torch

from glue_runs.runs import run
from logitmix_nlp.mixing.outputs import Diverged, SetupError

WILD = {"learning_rate": 1e38, "optim": "sgd", "max_grad_norm": 0.0}
FLAGS = [
    "--use_cpu", "--disable_tqdm=true", "--dataloader_pin_memory=false", "--task_name=cola", "--do_train",
    "--per_device_train_batch_size=2", "--optim=sgd", "--max_grad_norm=0", "--learning_rate=1e38", "--max_steps=9",
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    samples.write_glue(tmp_path / "glue")
    samples.write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", ["vanilla", "logitmix"])
def test_training_stops_where_the_weights_are_lost(tmp_path, caplog, method):
    trained = tiny.trainer(tmp_path, tiny.rows(40), mix_method=method, **WILD)
    trained.train()
    assert trained.state.global_step < 5 < trained.state.max_steps
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"diverged by step {trained.state.global_step} and is stopped" in record.getMessage()
    with pytest.raises(Diverged, match="the model was not saved"):
        trained.check_converged()


def test_a_training_that_goes_well_is_left_alone(tmp_path, caplog):
    trained = tiny.trainer(tmp_path, tiny.rows(12))
    trained.train()
    trained.check_converged()
    assert (trained.state.global_step, trained.broken_weight()) == (3, None)
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


def test_the_best_model_is_loaded_after_divergence(tmp_path):
    """The first step is sound, the others are not."""

    class Late(tiny.LogitMixTrainer):
        def training_step(self, *args, **kwargs):
            if self.state.global_step == 2:
                self.model.classifier.weight.data.fill_(torch.inf)
            return super().training_step(*args, **kwargs)

    steps = {name: 1 for name in ("eval_steps", "save_steps")} | dict.fromkeys(
        ("eval_strategy", "save_strategy"), "steps"
    )
    data = tiny.rows(24)
    trained = tiny.trainer(tmp_path, data, None, Late, eval_dataset=data[:4], load_best_model_at_end=True, **steps)
    trained.train()
    assert trained.state.global_step == 3
    trained.check_converged()


@pytest.mark.parametrize("flags", [[], ["--mix_method=vanilla"], ["--do_eval"], ["--logging_strategy=no"]])
def test_the_script_saves_no_model_that_diverged(place, capfd, flags):
    model = ["--model_name_or_path=model", "--data_dir=glue", "--output_dir=out"]
    assert run.main([*FLAGS, *model, "--logging_steps=2", *flags]) == 2
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: training has diverged by step ")
    assert not list((place / "out").glob("*.safetensors"))
    assert not (place / "out" / "train_results.json").exists()


def test_an_evaluation_within_training_that_diverged_is_one_line(place, capfd):
    flags = ["--do_eval", "--eval_strategy=steps", "--eval_steps=3", "--logging_steps=9"]
    assert run.main([*FLAGS, "--model_name_or_path=model", "--data_dir=glue", "--output_dir=out", *flags]) == 2
    assert "The model's output is NaN or infinite in 3 of 3 rows" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"lr_scheduler_type": "warmup_stable_decay"},
            "lr_scheduler_type=warmup_stable_decay cannot be made with lr_scheduler_kwargs=None .*num_decay_steps",
        ),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type=cosine_with_min_lr cannot be made .*min_lr"),
        ({"lr_scheduler_kwargs": {"foo": 1}, "lr_scheduler_type": "cosine"}, "lr_scheduler_type=cosine .*foo"),
        ({"optim": "sgd", "optim_args": "momentum=-1"}, "optim=sgd cannot be made with optim_args='momentum=-1'"),
    ],
)
def test_what_cannot_be_made_of_the_arguments(tmp_path, options, message):
    with pytest.raises(SetupError, match=message):
        tiny.trainer(tmp_path, tiny.rows(4), **options).train()


def test_an_optimizer_whose_package_is_missing_is_one_line(place, capfd):
    flags = [*FLAGS, "--model_name_or_path=model", "--data_dir=glue", "--output_dir=out", "--optim=galore_adamw"]
    assert run.main([*flags, "--optim_target_modules=all-linear"]) == 2
    assert "You need to install `galore_torch`" in capfd.readouterr().err.splitlines()[-1]
