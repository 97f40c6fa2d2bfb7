# SPDX-License-Identifier: Apache-2.0
"""Resuming, evaluating in between and running on several processes must not change what is learnt."""

import ddp_worker
import fsdp_worker
import kill_worker
import pytest
import tiny
import torch
from processes import launch
from safetensors.torch import load_file

from logitmix_nlp.functional import sample_plan
from logitmix_nlp.mixing import mixers
from logitmix_nlp.mixing.rng import step_generator
from logitmix_nlp.training.checkpoints import last_complete_checkpoint

METHODS = [
    {"mix_method": "logitmix", "mix_site": "layer:1"},
    {"mix_method": "mixup", "mix_prob": 0.6, "lam_per_sample": True, "mix_share": 0.5},
    {"mix_method": "lamix"},
    {"mix_method": "vanilla"},
]


@pytest.fixture
def drawn(monkeypatch):
    """Plans in the order they are drawn."""
    plans = []

    def spy(*args, **kwargs):
        plans.append(sample_plan(*args, **kwargs))
        return plans[-1]

    monkeypatch.setattr(mixers, "sample_plan", spy)
    return plans


@pytest.mark.parametrize("options", METHODS)
@pytest.mark.parametrize("stopped_at", [2, 5, 6])
def test_a_resumed_run_ends_with_bitwise_the_same_weights(tmp_path, options, stopped_at):
    """Dropout on, two batches per step, three steps per epoch: stopped within an epoch and at its end."""
    settings = {
        "num_train_epochs": 3, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1,
        "train_sampling_strategy": "random", **options,
    }  # fmt: skip
    data = tiny.rows(22)
    whole = tiny.trainer(tmp_path / "whole", data, tiny.bert(dropout=0.1), **settings)
    whole.train()
    again = tiny.trainer(tmp_path / "again", data, tiny.bert(dropout=0.1, seed=3), **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stopped_at}"))
    assert again.state.global_step == whole.state.global_step == 9
    tiny.assert_same_learnt(whole, again)
    first = {line["step"]: line for line in whole.state.log_history if "loss" in line}
    second = {line["step"]: line for line in again.state.log_history if "loss" in line}
    assert first == second


@pytest.mark.parametrize("eval_steps", [1, 4])
def test_evaluation_does_not_change_the_plans(tmp_path, drawn, eval_steps):
    data = tiny.rows(22)
    tiny.trainer(tmp_path, data, num_train_epochs=2).train()
    undisturbed = list(drawn)
    drawn.clear()
    tiny.trainer(
        tmp_path, data, eval_dataset=tiny.rows(9), num_train_epochs=2, eval_strategy="steps", eval_steps=eval_steps
    ).train()
    assert len(drawn) == len(undisturbed) == 12
    for one, other in zip(undisturbed, drawn, strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.lam, other.lam)


def test_every_batch_has_a_plan_of_its_own(tmp_path, drawn):
    tiny.trainer(tmp_path, tiny.rows(32), gradient_accumulation_steps=2, num_train_epochs=2).train()
    assert len({plan.lam[0].item() for plan in drawn}) == len(drawn) == 16


def test_streams_depend_on_each_counter_and_on_nothing_else():
    def draw(*counters):
        return torch.rand((), generator=step_generator(*counters)).item()

    streams = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 0, 0)]
    assert len({draw(*counters) for counters in streams}) == len(streams)
    assert [draw(*counters) for counters in streams] == [draw(*counters) for counters in streams]


SWITCHES = {
    "average_tokens_across_devices": False, "ddp_find_unused_parameters": True, "ddp_broadcast_buffers": True,
    "ddp_bucket_cap_mb": 1, "accelerator_config": {"dispatch_batches": True, "split_batches": True},
}  # fmt: skip


@pytest.mark.parametrize(("method", "switches"), [("vanilla", {}), ("logitmix", SWITCHES)])
def test_two_processes_learn_what_one_does(tmp_path, method, switches):
    """24 rows, a step of 16 and a short one of 8: 2 processes x 2 batches x 4 rows against one x 16."""
    one = launch(1, ddp_worker.main, tmp_path / "one", method, 16, 1)
    rows = 8 if switches else 4  # with split_batches of all processes together
    two = launch(2, ddp_worker.main, tmp_path / "two", method, rows, 2, switches)
    assert two["world_size"] == 2
    assert two["ranks_in_sync"]
    assert len(one["log"]) == len(two["log"]) == 2
    for line, other in zip(one["log"], two["log"], strict=True):
        assert other == pytest.approx(line, abs=1e-5)
    for step in range(2):
        expected, found = (load_file(tmp_path / name / f"gradients-{step}.safetensors") for name in ("one", "two"))
        assert tiny.largest_gap(expected, found) < 1e-5


def test_sharded_parameters_mix_too(tmp_path):
    report = launch(2, fsdp_worker.main, tmp_path / "out")
    assert report["world_size"] == 2
    assert report["gap"] < 1e-5


@pytest.mark.parametrize(
    ("kills", "seed"), [pytest.param(1, 0, id="1-kill"), pytest.param(10, 1, id="10-kills", marks=pytest.mark.slow)]
)
def test_killed_runs_end_with_bitwise_the_same_weights(tmp_path, kills, seed):
    """SIGKILL while a checkpoint is written, in three places, and at random moments; then the same command again."""
    report = launch(1, kill_worker.main, tmp_path, kills, seed)
    assert report["equal"] == report["killed"] == kills + 3
    assert report["resumed"] >= 3  # at least those that died while saving step 3 had a checkpoint to go on from


def test_a_half_written_checkpoint_is_skipped(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(12), save_strategy="steps", save_steps=1)
    run.train()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text('{"global_step": 3, ')
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    again = tiny.trainer(tmp_path, tiny.rows(12))
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 3
    for number in (1, 2, 3):
        (tmp_path / f"checkpoint-{number}" / "trainer_state.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="no complete checkpoint: start without it"):
        again.train(resume_from_checkpoint=True)
