# SPDX-License-Identifier: Apache-2.0
"""Stock arguments with which nothing can be trained are refused at once; odd ones that mean something pass."""

import base64
import math
from types import SimpleNamespace

import pytest
import tiny

from logitmix_nlp.functional.checks import MOST_BINS, check_bins
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.training.stock_arguments import check_texts

NAN, INF = math.nan, math.inf
BATCHES = ("per_device_train_batch_size", "per_device_eval_batch_size")
KWARGS = tuple(dict.fromkeys([f"{tiny.CHECKPOINTING}_kwargs", "gradient_checkpointing_kwargs"]))
ALLOWED = {
    "finite and at least 0", "in [0, 1)", "finite and at least 0, or None for no noise", "a number; 0 clips nothing",
    "a number of steps, -1 for whole epochs", "steps, or a share of training below 1", "steps or epochs",
    "at least 1, or None to keep all outputs on the device", "finite and at least 0 where max_steps is not set",
    "a whole number of at least 0", "a whole number of at least 1",
}  # fmt: skip
REFUSED = [
    *[(name, value) for name in BATCHES for value in (0, -2, 2.5)],
    *[("gradient_accumulation_steps", value) for value in (0, -1)],
    ("dataloader_prefetch_factor", 0),
    ("max_steps", NAN),
    *[(name, value) for name in ("learning_rate", "weight_decay", "adam_epsilon") for value in (NAN, INF, -1.0)],
    ("learning_rate", "5e-5"),
    *[(name, value) for name in ("adam_beta1", "adam_beta2") for value in (NAN, 1.0, -0.1)],
    *[("dataloader_num_workers", value) for value in (-1, 0.5)],
    ("max_grad_norm", NAN),
    *[("neftune_noise_alpha", value) for value in (NAN, INF, -1.0)],
    *[("warmup_steps", value) for value in (NAN, INF, -5)],
    *[("num_train_epochs", value) for value in (-1, NAN, INF)],
    ("eval_delay", NAN),
    ("eval_accumulation_steps", 0),
    *[("logging_steps", value) for value in (NAN, INF)],
    *[(name, "{") for name in ("lr_scheduler_kwargs", "accelerator_config", "deepspeed", "fsdp_config")],
    *[(name, value) for name in (*KWARGS, "lr_scheduler_kwargs") for value in ("{", "cosine")],
    *[(name, "nope.json") for name in ("deepspeed", "accelerator_config", "fsdp_config")],
    *[("optim_args", value) for value in ("momentum", "momentum=0.9,nesterov", "a=b=c")],
    ("report_to", "nothing_of_that_name"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=name) as error:
        tiny.arguments(tmp_path, **{name: value})
    assert str(value) in str(error.value)
    assert "\n" not in str(error.value)
    if not isinstance(value, str):
        assert str(error.value).removeprefix(f"{name} must be ").removesuffix(f", got {value!r}.") in ALLOWED


@pytest.mark.parametrize("name", ["eval", "save"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_steps_count_where_steps_are_counted(tmp_path, name, value):
    tiny.arguments(tmp_path, **{f"{name}_steps": value, f"{name}_strategy": "no"})
    with pytest.raises(ValueError, match=f"{name}_steps must be"):
        tiny.arguments(tmp_path, **{f"{name}_steps": value, f"{name}_strategy": "steps"})


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.0, "weight_decay": 0.0, "adam_epsilon": 0.0, "neftune_noise_alpha": 0.0},
        {"adam_beta1": 0.0, "adam_beta2": 0.0, "warmup_steps": 0, "eval_delay": INF},
        {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "gradient_accumulation_steps": 1},
        {"dataloader_num_workers": 1, "dataloader_prefetch_factor": 1},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": None},
        {"max_grad_norm": INF},
        {"max_steps": 0, "num_train_epochs": 0},
        {"max_steps": 3, "num_train_epochs": -1},
        {"warmup_steps": 0.1},
        {"save_steps": -1, "save_strategy": "steps"},
        {"save_total_limit": 0},
        {"logging_steps": 0.5},
        {"eval_accumulation_steps": None},
        {"optim": "sgd", "optim_args": "momentum=0.9, nesterov=true"},
        {"optim_args": ""},
        {"lr_scheduler_kwargs": '{"num_cycles": 2}', "lr_scheduler_type": "cosine_with_restarts"},
        {"lr_scheduler_kwargs": {"num_cycles": 2}, "lr_scheduler_type": "cosine_with_restarts"},
        {"report_to": "none"},
        {"report_to": "all"},
        {"report_to": []},
        {"deepspeed": None},
    ],
)
def test_taken_as_stock_arguments_take_it(tmp_path, options):
    tiny.arguments(tmp_path, **options)


def test_a_configuration_in_base64_is_no_missing_file(tmp_path):
    """DeepSpeed's takes it; here only its package is missing."""
    with pytest.raises(ImportError, match="deepspeed"):
        tiny.arguments(tmp_path, deepspeed=base64.urlsafe_b64encode(b'{"train_batch_size": 4}').decode())


def test_a_program_to_report_to_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "logitmix_nlp.training.stock_arguments.get_available_reporting_integrations", lambda: ["tensorboard"]
    )
    for name in ("tensorboard", "azure_ml", "flyte", "kubeflow"):
        tiny.arguments(tmp_path, report_to=name)
    with pytest.raises(ImportError, match=r"report_to=wandb: its package is missing here; install it \(pip install"):
        tiny.arguments(tmp_path, report_to=["tensorboard", "wandb"])


def test_no_output_dir_is_not_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="output_dir is empty"):
        tiny.arguments("")
    assert not list(tmp_path.iterdir())


def test_numbers_set_by_a_search_are_checked_at_train_start(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(4))
    run.args.learning_rate = NAN
    with pytest.raises(ValueError, match="learning_rate must be finite and at least 0, got nan"):
        run.train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("[1]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ({"t_size": "x"}, "t_size must be a whole number, at least 1, or None for whole blocks of the mask, got 'x'"),
        ({"t_size": 0}, "t_size"),
        ({"grid": "4"}, "grid must be a whole number, from 2 to the shorter side"),
        ({"grid": 1}, "grid"),
        ({"n_labels": 2.5}, "n_labels must be a whole number, at least 2, got 2.5"),
        ({"beta": NAN}, "beta must be finite and at least 0, got nan"),
        ({"eta": None}, "eta"),
        ({"gamma": 2}, r"gamma must be in \[0, 1\], got 2"),
        ({"neigh_size": 0}, "neigh_size"),
        ({"t_eps": -1}, "t_eps"),
        ({"quality": 3}, "quality must be one of fast, high, got 3"),
        ({"adv_prob": "x"}, "adv_prob must be a number, got 'x'"),
        ({"adv_prob": 0.1, "adv_eps": "y"}, "adv_eps must be a number, got 'y'"),
    ],
)
def test_options_of_puzzlemix(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.arguments(tmp_path, mix_method="puzzlemix", puzzle_options=options)


def test_options_of_puzzlemix_that_need_not_be_given(tmp_path):
    options = {"grid": 3, "t_eps": None, "t_size": None, "beta": 1, "quality": "high"}
    assert tiny.arguments(tmp_path, mix_method="puzzlemix", puzzle_options=options).puzzle_settings == options


@pytest.mark.parametrize("n_bins", [0, -1, MOST_BINS + 1, 10**12])
def test_bins_without_number(n_bins):
    with pytest.raises(ValueError, match=f"n_bins must be at least 1 and at most 1,000,000, got {n_bins}"):
        check_bins(n_bins)


def test_a_search_for_overflows_runs_or_says_what_it_needs(tmp_path):
    """Transformers takes the absolute value of all that modules are given: of the boolean masks of SDPA it cannot."""
    settings = {"debug": "underflow_overflow", "mix_site": "layer:1", "max_steps": 2}
    with pytest.raises(SetupError, match="debug='underflow_overflow' .* attn_implementation='eager'"):
        tiny.trainer(tmp_path, tiny.rows(8), **settings).train()
    eager = tiny.bert()
    eager.set_attn_implementation("eager")
    run = tiny.trainer(tmp_path, tiny.rows(8), eager, **settings)
    run.train()
    assert run.state.global_step == 2


def test_arguments_that_an_older_version_lacks_are_not_missed(tmp_path):
    fields = {name: value for name, value in vars(tiny.arguments(tmp_path)).items() if "checkpointing" not in name}
    check_texts(SimpleNamespace(**fields))
