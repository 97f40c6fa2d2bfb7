# SPDX-License-Identifier: Apache-2.0
"""Every weight of a checkpoint is found again, whatever its name there; damaged checkpoints are passed over."""

import json
import os
import shutil

import pictures
import pytest
import tiny
import torch
import zoo
from safetensors.torch import load_file
from transformers.trainer_utils import load_sharded_checkpoint

from logitmix_nlp.training.checkpoints import checkpoint_damage, last_complete_checkpoint, translated_names


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", [*zoo.TEXT_MODELS, *zoo.IMAGE_MODELS])
def test_each_architecture_finds_its_weights_again(tmp_path, name):
    saved, other = zoo.build(name, seed=0), zoo.build(name, seed=1)
    saved.save_pretrained(tmp_path)
    assert not same(saved, other)
    with translated_names(other, tmp_path):
        missing, unexpected = other.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert not unexpected
    assert set(missing) <= set(other.all_tied_weights_keys)
    other.tie_weights()
    assert same(saved, other)
    assert not other._load_state_dict_pre_hooks


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_the_names_differ_where_the_translation_is_needed(tmp_path, name):
    """When this fails, the installed transformers saves these layers under their own names."""
    saved = zoo.build(name)
    saved.save_pretrained(tmp_path)
    names, written = saved.state_dict().keys(), load_file(tmp_path / "model.safetensors").keys()
    assert not names >= written
    assert not names <= written


def test_weights_that_are_nowhere_are_named(tmp_path):
    zoo.build("vit").save_pretrained(tmp_path)
    other = zoo.build("vit")
    other.extra = torch.nn.Linear(2, 2)
    state = load_file(tmp_path / "model.safetensors")
    with translated_names(other, tmp_path):
        missing, _ = other.load_state_dict(state, strict=False)
    assert missing == ["extra.weight", "extra.bias"]
    deeper = zoo.build("vit", num_hidden_layers=5)
    with translated_names(deeper, tmp_path), pytest.raises(ValueError, match=r"does not hold vit\.layers\.4\."):
        deeper.load_state_dict(state, strict=False)


def test_checkpoints_in_several_files(tmp_path):
    saved, other = zoo.build("vit", seed=0), zoo.build("vit", seed=1)
    saved.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    with translated_names(other, tmp_path):
        load_sharded_checkpoint(other, str(tmp_path), strict=False)
    assert same(saved, other)


def test_a_state_dict_of_the_callers_own_stays_as_it_is(tmp_path):
    saved, other = zoo.build("vit", seed=0), zoo.build("vit", seed=1)
    saved.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    names = list(state)
    with translated_names(other, tmp_path):
        other.load_state_dict(state)
        assert list(state) == names
        other.load_state_dict(zoo.build("vit", seed=2).state_dict())  # its own names: not read from the folder
    assert same(other, zoo.build("vit", seed=2))


def test_modules_that_are_no_transformers_models_are_left_alone(tmp_path):
    layer = torch.nn.Linear(2, 3)
    with translated_names(layer, tmp_path):
        missing, unexpected = layer.load_state_dict({"w": torch.zeros(3, 2), "bias": torch.zeros(3)}, strict=False)
    assert (missing, unexpected) == (["weight"], ["w"])


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_the_best_model_is_loaded_at_the_end(tmp_path, name):
    """A learning rate far too high from the second step on: the first checkpoint is the best."""
    run = pictures.trainer(
        tmp_path, name, 12, mix_method="mixup", max_steps=3, save_strategy="steps", save_steps=1, eval_steps=1,
        eval_strategy="steps", load_best_model_at_end=True, metric_for_best_model="loss", learning_rate=5.0,
        lr_scheduler_type="constant", eval_dataset=pictures.rows(name, 4),
    )  # fmt: skip
    run.train()
    losses = [line["eval_loss"] for line in run.state.log_history if "eval_loss" in line]
    best = losses.index(min(losses)) + 1
    assert run.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{best}")
    assert same(run.model, type(run.model).from_pretrained(tmp_path / f"checkpoint-{best}"))
    assert run.evaluate()["eval_loss"] == pytest.approx(min(losses), rel=1e-6)
    assert best < 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of eleven steps with a checkpoint of each of the last three: 9, 10, 11."""
    folder = tmp_path_factory.mktemp("trained")
    tiny.trainer(folder, tiny.rows(4), max_steps=11, save_strategy="steps", save_steps=1, save_total_limit=3).train()
    return folder


@pytest.fixture
def run_folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_checkpoint_10_comes_after_checkpoint_9(run_folder):
    shutil.rmtree(run_folder / "checkpoint-11")
    assert {path.name for path in run_folder.glob("checkpoint-*")} == {"checkpoint-9", "checkpoint-10"}
    os.utime(run_folder / "checkpoint-9")
    assert last_complete_checkpoint(run_folder) == str(run_folder / "checkpoint-10")


FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def flipped(content):
    """The content with one wrong byte within its pickle, as a bad disk leaves it."""
    place = content.index(b"\x80\x02") + 20
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


DAMAGE = {
    "missing": None,
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "another kind": lambda content: b"[]",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(run_folder, caplog, name, damage):
    path = run_folder / "checkpoint-11" / name
    if DAMAGE[damage] is None:
        path.unlink()
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert last_complete_checkpoint(run_folder) == str(run_folder / "checkpoint-10")
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert f"{run_folder / 'checkpoint-11'} is incomplete and not used: " in warning
    assert name in warning


@pytest.mark.parametrize("name", FILES[1:4])
def test_a_wrong_byte_in_a_pickle_is_noticed(run_folder, name):
    path = run_folder / "checkpoint-11" / name
    path.write_bytes(flipped(path.read_bytes()))
    assert last_complete_checkpoint(run_folder) == str(run_folder / "checkpoint-10")


@pytest.mark.parametrize(
    "state", [{"global_step": "11"}, {"log_history": 3}, {"log_history": [1]}, {"of_next_year": 1, "global_step": 11}]
)
def test_a_state_of_wrong_types_is_damage(run_folder, state):
    path = run_folder / "checkpoint-11" / "trainer_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **state}))
    assert "trainer_state.json is damaged" in checkpoint_damage(path.parent)


def test_shards_and_adapters_are_models_too(run_folder):
    folder = run_folder / "checkpoint-11"
    weights = (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    assert "it has no model" in checkpoint_damage(folder)
    index = {"metadata": {}, "weight_map": {"x": weights.name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert checkpoint_damage(folder) is None
    weights.unlink()
    assert f"{weights.name} is missing" in checkpoint_damage(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "default").mkdir()
    (folder / "default" / "adapter_model.safetensors").write_bytes(b"")
    assert checkpoint_damage(folder) is None


def test_training_goes_on_from_the_checkpoint_before_with_the_same_weights(trained, run_folder):
    (run_folder / "checkpoint-11" / "optimizer.pt").write_bytes(b"PK")
    options = {"max_steps": 11, "save_strategy": "no"}
    again = tiny.trainer(run_folder, tiny.rows(4), tiny.bert(seed=3), **options)
    again.train(resume_from_checkpoint=True)
    saved = load_file(trained / "checkpoint-11" / "model.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in again.model.state_dict().items())
    for path in run_folder.glob("checkpoint-*/scheduler.pt"):
        path.unlink()
    with pytest.raises(ValueError, match="no complete checkpoint: start without it"):
        again.train(resume_from_checkpoint=True)


def test_the_second_head_of_lamix_belongs_to_its_checkpoints(tmp_path):
    options = {"mix_method": "lamix", "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    run = tiny.trainer(tmp_path, tiny.rows(4), **options)
    run.train()
    (head,) = (tmp_path / "checkpoint-2").glob("lamix*")
    head.unlink()
    assert last_complete_checkpoint(tmp_path, run.checkpoint_files) == str(tmp_path / "checkpoint-1")
    assert last_complete_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
