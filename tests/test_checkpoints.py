# SPDX-License-Identifier: Apache-2.0
"""Every weight of a checkpoint is found again, whatever name it was saved under."""

import pictures
import pytest
import torch
import zoo
from safetensors.torch import load_file
from transformers.trainer_utils import load_sharded_checkpoint

from logitmix_nlp.checkpoints import translated_names


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
