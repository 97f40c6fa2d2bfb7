# SPDX-License-Identifier: Apache-2.0
"""Switches of the stock arguments: they change nothing, or what they say, or are refused with the reason."""

import importlib.util
import re

import pytest
import tiny
import torch
import zoo
from datasets import Dataset
from test_switches import first_step, terms, without_types
from transformers import SchedulerType
from transformers.training_args import OptimizerNames

from logitmix_nlp import compute_metrics_for
from logitmix_nlp.functional import MixPlan
from logitmix_nlp.mixing import mixers

ROWS = tiny.rows(12)


def run(tmp_path, data=ROWS, **options):
    """A whole run of three steps, mixed at a layer."""
    settings = {"mix_site": "layer:1", **options}
    one = tiny.trainer(tmp_path, data, settings.pop("model", None), **settings)
    one.train()
    return one


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return tiny.learnt(run(tmp_path_factory.mktemp("reference")))


# Without dropout, so that what moves its random numbers changes nothing; many at a time, as in test_neutral_arguments.
SAME = {
    "data": {
        "remove_unused_columns": False, "label_names": ["labels"], "dataloader_drop_last": True, "data_seed": 3,
        "dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_in_order": False,
    },
    "processes": {
        "average_tokens_across_devices": False, "ddp_find_unused_parameters": True, "ddp_broadcast_buffers": True,
        "accelerator_config": {"even_batches": False, "use_seedable_sampler": False, "non_blocking": True},
    },
    "scores": {
        "eval_dataset": ROWS[:6], "eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True,
        "include_for_metrics": ["inputs", "loss"], "eval_do_concat_batches": False, "eval_accumulation_steps": 1,
        "logging_nan_inf_filter": False,
    },
    "batches of scores": {
        "eval_dataset": ROWS[:6], "eval_strategy": "epoch", "batch_eval_metrics": True, "eval_use_gather_object": True,
        "torch_empty_cache_steps": 1, "eval_delay": 0,
    },
    "fp16, which Accelerate leaves out on a CPU": {"fp16": True},
    "stream": {"data": Dataset.from_list(ROWS).to_iterable_dataset(), "max_steps": 3},
    "dispatched stream": {
        "data": Dataset.from_list(ROWS).to_iterable_dataset(), "max_steps": 3,
        "accelerator_config": {"dispatch_batches": True},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME)
def test_switches_that_change_no_bit(tmp_path, reference, kind):
    assert tiny.largest_gap(tiny.learnt(run(tmp_path, **SAME[kind])), reference) == 0.0


def test_deterministic_algorithms_change_no_bit(tmp_path, reference, monkeypatch):
    monkeypatch.setattr("transformers.trainer.enable_full_determinism", lambda seed: torch.manual_seed(seed))
    torch.use_deterministic_algorithms(True)
    try:
        assert tiny.largest_gap(tiny.learnt(run(tmp_path, full_determinism=True)), reference) == 0.0
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_stream_begins_anew_where_it_ends_and_needs_max_steps(tmp_path):
    stream = Dataset.from_list(ROWS).to_iterable_dataset()
    listed = run(tmp_path, num_train_epochs=2)
    streamed = run(tmp_path, stream, max_steps=6, eval_dataset=stream, eval_strategy="steps", eval_steps=6)
    assert tiny.largest_gap(tiny.learnt(streamed), tiny.learnt(listed)) == 0.0
    assert streamed.evaluate()["eval_loss"] == pytest.approx(listed.evaluate(ROWS)["eval_loss"], abs=1e-6)
    with pytest.raises(ValueError, match="max_steps has to be specified"):
        tiny.trainer(tmp_path, stream)


def test_a_resumed_run_may_take_its_rows_from_the_start(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2}
    run(tmp_path, **options)
    again = tiny.trainer(tmp_path, ROWS, mix_site="layer:1", ignore_data_skip=True, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    losses = [line for line in again.state.log_history if "loss" in line]
    assert [line["step"] for line in losses] == [1, 2, 3]
    assert losses[-1]["loss_sim"] > 0


def test_rows_and_their_mixtures_share_the_noise_of_neftune(tmp_path, monkeypatch):
    """A row that is its own partner has the logits of its mixture only if both have the same noise."""
    line, gradients = first_step(tmp_path)
    noisy, other = first_step(tmp_path, neftune_noise_alpha=5.0)
    assert abs(noisy["loss_cls"] - line["loss_cls"]) > 1e-3
    assert tiny.largest_gap(gradients, other) > 1e-3
    monkeypatch.setattr(
        mixers, "sample_plan", lambda rows, *args, **kwargs: MixPlan(torch.arange(rows), torch.full((rows,), 0.3))
    )
    own = run(tmp_path, neftune_noise_alpha=5.0)
    assert own.state.log_history[0]["loss_sim"] < 1e-10
    assert not own.model.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize("switch", ["use_cache", "activation_checkpointing"])
def test_the_cache_of_a_decoder_changes_nothing(tmp_path, switch):
    options = {"data_collator": without_types, "remove_unused_columns": False}
    line, gradients = first_step(tmp_path, zoo.build("llama"), tiny.rows(8), **options)
    cached = {"use_cache": True, tiny.CHECKPOINTING: switch != "use_cache"}
    other, found = first_step(tmp_path, zoo.build("llama"), tiny.rows(8), **options, **cached)
    assert terms(other) == pytest.approx(terms(line), abs=1e-6)
    assert tiny.largest_gap(gradients, found) < 1e-6


def test_several_eval_sets_and_the_best_by_one_of_them(tmp_path):
    sets = {"near": ROWS[:6], "far": tiny.rows(6, seed=3)}
    one = tiny.trainer(
        tmp_path, ROWS, mix_site="layer:1", eval_dataset=sets, eval_strategy="epoch", save_strategy="epoch",
        num_train_epochs=2, load_best_model_at_end=True, metric_for_best_model="eval_far_nll",
    )  # fmt: skip
    one.compute_metrics = compute_metrics_for()
    one.train()
    found = [line["eval_far_nll"] for line in one.state.log_history if "eval_far_nll" in line]
    assert len([line for line in one.state.log_history if "eval_near_nll" in line]) == len(found) == 2
    assert one.state.best_metric == min(found) == pytest.approx(one.evaluate()["eval_far_nll"], abs=1e-6)


def test_metrics_get_the_inputs_and_the_clean_losses(tmp_path):
    seen = []
    one = tiny.trainer(tmp_path, ROWS, include_for_metrics=["inputs", "loss"], per_device_eval_batch_size=12)
    one.compute_metrics = lambda prediction: seen.append(prediction) or {}
    loss = one.evaluate(ROWS)["eval_loss"]
    assert seen[0].inputs.tolist() == tiny.collate(ROWS)["input_ids"].tolist()
    assert seen[0].losses == pytest.approx([loss] * 12)


@pytest.mark.parametrize("switch", ["bf16_full_eval", "fp16_full_eval"])
def test_an_evaluation_in_16_bits_is_near(tmp_path, switch):
    exact = tiny.trainer(tmp_path, ROWS).evaluate(ROWS)["eval_loss"]
    one = tiny.trainer(tmp_path, ROWS, **{switch: True})
    assert one.evaluate(ROWS)["eval_loss"] == pytest.approx(exact, rel=0.03)
    assert one.model.dtype != torch.float32


HERE = {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}


def test_every_optimizer_trains_or_names_its_package(tmp_path):
    trained, refused = set(), {}
    for name in OptimizerNames:
        options = {"optim_target_modules": ["query"]} if any(x in name for x in ("galore", "apollo")) else {}
        try:
            one = run(tmp_path, optim=name.value, max_steps=1, **options)
            assert one.state.log_history[0]["loss_sim"] > 0
            trained.add(name.value)
        except (ImportError, ValueError) as error:
            refused[name.value] = str(error)
    assert trained >= HERE
    assert [error for error in refused.values() if not re.search("install|import|upgrade", error.lower())] == []


KWARGS = {
    "cosine_with_min_lr": {"min_lr": 1e-4},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-4},
    "warmup_stable_decay": {"num_decay_steps": 1},
}


@pytest.mark.parametrize("name", [kind.value for kind in SchedulerType])
def test_every_schedule_trains(tmp_path, name):
    options = {"eval_strategy": "steps", "eval_steps": 1} if name in ("reduce_lr_on_plateau", "greedy") else {}
    kwargs = KWARGS.get(name)
    one = run(tmp_path, eval_dataset=ROWS[:4], lr_scheduler_type=name, lr_scheduler_kwargs=kwargs, **options)
    assert one.state.global_step == 3
    if kwargs:
        with pytest.raises(ValueError, match=f"lr_scheduler_type={name} cannot be made"):
            run(tmp_path, lr_scheduler_type=name)


@pytest.mark.parametrize(
    ("package", "options", "message"),
    [
        ("liger_kernel", {"use_liger_kernel": True}, "liger-kernel"),
        ("deepspeed", {"deepspeed": {"zero_optimization": {"stage": 2}}}, "deepspeed"),
        ("torch", {"tf32": True}, "tf32 requires Ampere"),
        ("torch", {"fsdp": "full_shard"}, "distributed training"),
    ],
)
def test_what_needs_other_machines_says_so(tmp_path, package, options, message):
    if package == "torch" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    if package != "torch" and importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises((ImportError, ValueError), match=message):
        run(tmp_path, **options)


@pytest.mark.parametrize("split", ["tp", "cp", "sp"])
def test_layers_or_texts_divided_over_processes_are_refused(tmp_path, monkeypatch, split):
    monkeypatch.setattr(tiny.LogitMixTrainer, f"get_{split}_size", lambda self: 2)
    with pytest.raises(ValueError, match=f"{split}_size=2 divides .* mix other rows"):
        tiny.trainer(tmp_path, ROWS)
