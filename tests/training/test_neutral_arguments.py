# SPDX-License-Identifier: Apache-2.0
"""What is said to change nothing changes no bit of what is learnt; how often a run evaluates does."""

import dataclasses
import functools
import tempfile

import pytest
import tiny
import torch
from transformers import TrainingArguments

from glue_runs.runs.arguments import DataArguments, ModelArguments
from logitmix_nlp.images import ImageDataArguments, ImageModelArguments, ImageTrainingArguments
from logitmix_nlp.training.neutral_arguments import NEUTRAL, SCORING, is_neutral, scores_choose

# Values that are not the defaults, many at a time: what changes no bit together changes none alone.
TRIED = {
    "telling": {
        "disable_tqdm": False, "include_num_input_tokens_seen": "all", "log_level": "error",
        "log_level_replica": "error", "log_on_each_node": False, "logging_steps": 1, "logging_first_step": True,
        "project": "y", "run_name": "x", "skip_memory_metrics": False,
    },
    "keeping": {
        "logging_strategy": "no", "save_only_model": True, "save_steps": 1, "save_strategy": "steps",
        "save_total_limit": 1, "save_on_each_node": True,
    },
    "computing": {
        tiny.CHECKPOINTING: True, "dataloader_num_workers": 1, "dataloader_multiprocessing_context": "fork",
        "dataloader_prefetch_factor": 3, "eval_accumulation_steps": 1, "per_device_eval_batch_size": 1,
        "torch_empty_cache_steps": 1,
    },
}  # fmt: skip
# What a small run on one CPU cannot show.
ELSEWHERE = {
    "output_dir", "cache_dir", "overwrite_cache", "token", "trust_remote_code",  # where things lie
    "do_train", "do_eval", "do_predict", "local_rank", "use_cpu",  # the same here
    "ignore_data_skip", "restore_callback_states_from_checkpoint", "resume_from_checkpoint",  # of broken runs
    "debug", "enable_jit_checkpoint", "report_to", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id",
    "hub_always_push", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_token", "push_to_hub",
    "ddp_backend", "ddp_bucket_cap_mb", "ddp_find_unused_parameters", "ddp_static_graph", "ddp_timeout",
    "eval_use_gather_object", "dataloader_pin_memory",
    "gradient_checkpointing",  # the old name of activation_checkpointing
}  # fmt: skip


def learnt(**options):
    with tempfile.TemporaryDirectory() as folder:
        settings = {"num_train_epochs": 2, "save_strategy": "no", "train_sampling_strategy": "random", **options}
        run = tiny.trainer(folder, tiny.rows(12), tiny.bert(dropout=0.1), eval_dataset=tiny.rows(3), **settings)
        run.train()
        return tiny.learnt(run)


reference = functools.cache(learnt)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("kind", TRIED)
def test_neutral_arguments_change_no_bit(kind):
    assert set(TRIED[kind]) <= NEUTRAL
    assert equal(learnt(**TRIED[kind]), reference())


@pytest.mark.parametrize(
    "options",
    [
        {"eval_strategy": "epoch"},
        {"dataloader_num_workers": 1, "dataloader_persistent_workers": True},
        {"adam_epsilon": 1e-2},
    ],
)
def test_what_counts_changes_what_is_learnt(options):
    counted = {name for name in options if not is_neutral(name, options)}
    assert counted
    assert not equal(learnt(**options), reference())


def test_each_neutral_argument_is_tried_here_or_said_not_to_be():
    tried = {name for options in TRIED.values() for name in options}
    assert tried | ELSEWHERE | {"activation_checkpointing"} == NEUTRAL  # the name since Transformers 5.23
    assert not tried & ELSEWHERE


def test_only_arguments_that_exist_are_named():
    classes = (ModelArguments, DataArguments, ImageModelArguments, ImageDataArguments, ImageTrainingArguments)
    known = {field.name for each in (*classes, TrainingArguments) for field in dataclasses.fields(each)}
    assert (NEUTRAL | SCORING) - known <= {"activation_checkpointing"}  # of Transformers 5.23
    assert not NEUTRAL & SCORING


@pytest.mark.parametrize(
    ("name", "values", "neutral"),
    [
        ("save_steps", {}, True),
        ("save_strategy", {"load_best_model_at_end": True}, False),
        ("eval_steps", {}, True),
        ("eval_delay", {"eval_strategy": None}, True),
        ("eval_delay", {"eval_strategy": "epoch"}, False),
        ("logging_steps", {"eval_strategy": "no", "eval_steps": None}, True),
        ("save_steps", {"load_best_model_at_end": True}, False),
        ("eval_steps", {"eval_strategy": "no"}, True),
        ("eval_steps", {"eval_strategy": "steps"}, False),
        ("logging_steps", {"eval_strategy": "epoch"}, True),
        ("logging_steps", {"eval_strategy": "steps"}, False),
        ("logging_steps", {"eval_strategy": "steps", "eval_steps": 5}, True),
        ("an_argument_of_next_year", {}, False),
    ],
)
def test_some_depend_on_others(name, values, neutral):
    assert is_neutral(name, values) is neutral


def test_scores_choose_where_the_best_is_taken_or_the_rate_falls():
    assert scores_choose({"load_best_model_at_end": True})
    for schedule in ("reduce_lr_on_plateau", "greedy"):
        assert scores_choose({"lr_scheduler_type": schedule, "load_best_model_at_end": False})
    assert not scores_choose({"lr_scheduler_type": "linear", "eval_strategy": "epoch"})
