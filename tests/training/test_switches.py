# SPDX-License-Identifier: Apache-2.0
"""Whatever a user of Trainer switches on: mixing must still happen, and still be right."""

import copy

import pytest
import tiny
import torch
import zoo
from datasets import Dataset
from drawn import neighbours
from transformers import default_data_collator

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.mixing import mixers


@pytest.fixture(autouse=True)
def _pairs(monkeypatch):
    monkeypatch.setattr(mixers, "sample_plan", neighbours)


def first_step(tmp_path, model=None, data=None, **options):
    """Log line and gradients of the first step."""
    recorder = tiny.GradientRecorder()
    settings = {"mix_site": "layer:1", "max_grad_norm": 0.0, "optim": "sgd", "max_steps": 2, **options}
    run = tiny.trainer(tmp_path, data or tiny.rows(8), model, callbacks=[recorder], **settings)
    run.train()
    return run.state.log_history[0], recorder.steps[0]


def terms(line):
    return {name: value for name, value in line.items() if name.startswith("loss")}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of PyTorch, in its default back-end
@pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_models_mix_too(tmp_path, backend):
    torch._dynamo.reset()
    line, gradients = first_step(tmp_path)
    other, found = first_step(tmp_path, torch_compile=True, torch_compile_backend=backend)
    assert terms(other) == pytest.approx(terms(line), abs=1e-5)
    assert tiny.largest_gap(gradients, {name.removeprefix("_orig_mod."): g for name, g in found.items()}) < 1e-5


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", ["bert", "llama", "vit"])
def test_activation_checkpointing_changes_nothing(tmp_path, name, reentrant):
    data = images(name) if name in zoo.IMAGE_MODELS else tiny.rows(8)
    steps = []
    for switch in ({}, {f"{tiny.CHECKPOINTING}_kwargs": {"use_reentrant": reentrant}}):
        options = {tiny.CHECKPOINTING: bool(switch), "remove_unused_columns": False, **switch}
        steps.append(first_step(tmp_path, zoo.build(name), data, data_collator=without_types, **options))
    (line, gradients), (other, found) = steps
    assert terms(other) == pytest.approx(terms(line), abs=1e-6)
    assert tiny.largest_gap(gradients, found) < 1e-5


def without_types(rows):
    """Batch of images, or of texts for models without token types."""
    if "pixel_values" in rows[0]:
        return default_data_collator(rows)
    return {name: value for name, value in tiny.collate(rows).items() if name != "token_type_ids"}


def images(name, count=8):
    pixels = zoo.batch(name, count)["pixel_values"]
    return [{"pixel_values": x, "labels": row % 3} for row, x in enumerate(pixels)]


# L_sim is the mean square of differences d of about 0.1 between logits of about 2, each off by up to 2^-8 of itself
# (how much depends on the processor's bf16 instructions): off by about 2 * 0.1 * 2 * 2^-8.
BF16_SQUARES = 0.0016


def test_bf16_mixes_in_bf16_and_sums_in_float32(tmp_path):
    line, gradients = first_step(tmp_path)
    other, found = first_step(tmp_path, bf16=True)
    assert terms(other) == pytest.approx(terms(line), rel=0.03, abs=BF16_SQUARES)
    assert other["loss_sim"] != line["loss_sim"]
    largest = max(g.abs().max().item() for g in gradients.values())
    assert 0 < tiny.largest_gap(gradients, found) < 0.1 * largest


def test_models_that_are_bf16_throughout(tmp_path):
    line, _ = first_step(tmp_path)
    other, _ = first_step(tmp_path, tiny.bert().bfloat16())
    assert terms(other) == pytest.approx(terms(line), rel=0.06, abs=BF16_SQUARES)


def with_adapters():
    """Tiny BERT with random LoRA adapters."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"], init_lora_weights=False)
    torch.manual_seed(0)
    return peft.get_peft_model(tiny.bert(), config)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_lora_trains_adapters_on_mixed_rows(tmp_path):
    model = with_adapters()
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    line, gradients = first_step(tmp_path, model)
    assert set(terms(line)) == {"loss", "loss_mix", "loss_cls", "loss_sim"}
    assert line["loss_sim"] > 1e-4
    assert any("lora_" in name and g.abs().max() > 0 for name, g in gradients.items())
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)
    merged = model.merge_and_unload()
    reference, _ = first_step(tmp_path, merged)
    assert reference["loss"] != line["loss"]  # the merged model is one step further


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_lora_equals_the_merged_model_at_the_first_step(tmp_path):
    model = with_adapters()
    merged = copy.deepcopy(model).merge_and_unload()
    line, _ = first_step(tmp_path, model)
    reference, _ = first_step(tmp_path, merged)
    assert terms(line) == pytest.approx(terms(reference), abs=1e-5)


def test_hyperparameter_search_over_alpha_site_and_weights(tmp_path):
    pytest.importorskip("optuna")
    seen = []

    class Watching(LogitMixTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            if model.training:
                seen.append((self.args.mix_site, self.args.sim_weight))
            return super().compute_loss(model, inputs, *args, **kwargs)

    data = tiny.rows(8)
    run = Watching(
        args=tiny.arguments(tmp_path, max_steps=1, eval_strategy="steps", eval_steps=1),
        model_init=lambda trial: tiny.bert(),
        train_dataset=data,
        eval_dataset=data,
        data_collator=tiny.collate,
    )

    def space(trial):
        return {
            "mix_alpha": trial.suggest_float("mix_alpha", 0.1, 4.0, log=True),
            "mix_site": trial.suggest_categorical("mix_site", ["embeddings", "layer:1", "layer:-1"]),
            "sim_weight": trial.suggest_float("sim_weight", 0.1, 2.0),
        }

    best = run.hyperparameter_search(space, backend="optuna", n_trials=4, direction="minimize")
    assert set(best.hyperparameters) == {"mix_alpha", "mix_site", "sim_weight"}
    assert len(set(seen)) == 4


@pytest.mark.parametrize("strategy", ["group_by_length", "batch_rebalance", "random"])
def test_sampling_strategies(tmp_path, strategy):
    data = Dataset.from_list([{**row, "length": len(row["input_ids"])} for row in tiny.rows(16)])
    line, _ = first_step(tmp_path, data=data, train_sampling_strategy=strategy)
    assert line["loss_sim"] > 0


def test_auto_find_batch_size_starts_over_with_clean_counters(tmp_path):
    class Small(LogitMixTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            if model.training and len(inputs["labels"]) > 4:
                raise RuntimeError("CUDA out of memory.")
            return super().compute_loss(model, inputs, *args, **kwargs)

    run = tiny.trainer(
        tmp_path, tiny.rows(16), None, Small, auto_find_batch_size=True, per_device_train_batch_size=8, logging_steps=3
    )
    run.train()
    line = run.state.log_history[0]
    assert line["loss"] == pytest.approx(sum(line[name] for name in run.args.loss_terms), abs=1e-6)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in run.model.modules())


@pytest.mark.parametrize("name", ["vit", "resnet", "swin", "mobilenet_v2"])
@pytest.mark.parametrize("site", ["input", "stage:0"])
def test_image_classifiers_train_through_the_same_trainer(tmp_path, name, site):
    run = LogitMixTrainer(
        zoo.build(name), tiny.arguments(tmp_path, mix_site=site, max_steps=2), train_dataset=images(name)
    )
    run.train()
    line = run.state.log_history[0]
    assert min(line[term] for term in ("loss_mix", "loss_cls", "loss_sim")) > 0


def test_one_of_several_sites_is_drawn_per_step(tmp_path):
    drawn = []

    class Watching(LogitMixTrainer):
        def _forward(self, model, inputs, rows, plan, site, weights):
            drawn.append(site.name)
            return super()._forward(model, inputs, rows, plan, site, weights)

    tiny.trainer(tmp_path, tiny.rows(160), None, Watching, mix_site="embeddings,layer:1-2").train()
    assert set(drawn) == {"embeddings", "layer:1", "layer:2"}
    assert min(drawn.count(name) for name in set(drawn)) >= 6


def test_training_twice_goes_on_mixing(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(8), mix_site="layer:1")
    run.train()
    run.train()
    lines = [line for line in run.state.log_history if "loss" in line]
    assert all(line["loss_sim"] > 0 for line in lines)
