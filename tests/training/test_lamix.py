# SPDX-License-Identifier: Apache-2.0
"""LaMix in the Trainer: what it computes, when it mixes, and that its second head is there in training only."""

import pictures
import pytest
import tiny
import torch
import zoo
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, DeiTConfig, DeiTForImageClassificationWithTeacher

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.functional import MixPlan, mix
from logitmix_nlp.mixing import mixers
from logitmix_nlp.training.methods import MIX_METHODS
from logitmix_nlp.training.soft_head import SoftLabelHead, check_soft_head, find_classifier, soft_head

INDEX, LAM = torch.tensor([1, 2, 3, 0]), torch.tensor([0.3, 0.9, 0.5, 0.2])
FROZEN = {"learning_rate": 0.0, "optim": "sgd", "max_grad_norm": 0.0}


@pytest.fixture
def fixed(monkeypatch):
    """One pairing, and one λ for each row."""
    monkeypatch.setattr(mixers, "sample_plan", lambda *args, **kwargs: MixPlan(INDEX, LAM))


def lines(run) -> list[dict[str, float]]:
    return [line for line in run.state.log_history if "loss" in line]


def written_out(classifier, twin, features, labels, shares) -> torch.Tensor:
    """`-sum (beta y + (1 - beta) p) log q` with beta 0.5 (Eq. 7, 9-11); `shares` are those of own labels."""
    onehot = torch.eye(classifier.out_features)[labels]
    y = shares[:, None] * onehot + (1 - shares)[:, None] * onehot[INDEX]
    p = torch.softmax(torch.sigmoid(features @ twin["weight"].T + twin["bias"]), 1)
    return -((0.5 * y + 0.5 * p) * classifier(features).log_softmax(1)).sum(1).mean()


@pytest.mark.parametrize("name", ["bert", "vit"])
def test_clean_and_mixed_steps_have_the_loss_and_gradient_written_out(tmp_path, fixed, name):
    """Eight rows, no step taken: a clean step on the first four, a mixed one on the others."""
    recorder = tiny.GradientRecorder()
    if name == "bert":
        data, model = tiny.rows(8), tiny.bert()
        run = tiny.trainer(tmp_path, data, tiny.bert(), mix_method="lamix", callbacks=[recorder], **FROZEN)
    else:
        data, model = pictures.rows("vit", 8), pictures.model("vit")
        run = pictures.trainer(tmp_path, "vit", 8, mix_method="lamix", callbacks=[recorder], learning_rate=0.0)
    run.train()
    values = dict(run._soft_head.linear.named_parameters())
    for step, (line, found) in enumerate(zip(lines(run), recorder.steps, strict=True)):
        twin = {key: p.detach().clone().requires_grad_() for key, p in values.items()}
        rows = data[4 * step : 4 * step + 4]
        labels, shares = torch.tensor([row["labels"] for row in rows]), LAM if step else torch.ones(4)
        plan = MixPlan(INDEX, torch.full((4,), 0.5 if step else 1.0))
        if name == "bert":  # the last hidden states are mixed, then pooled
            batch = {key: value for key, value in tiny.collate(rows).items() if key != "labels"}
            features = model.bert.pooler(mix(model.bert(**batch).last_hidden_state, plan))
        else:
            pixels = mix(torch.stack([row["pixel_values"] for row in rows]), plan)
            features = model.vit(pixels).last_hidden_state[:, 0]
        model.zero_grad()
        loss = written_out(model.classifier, twin, features, labels, shares)
        loss.backward()
        assert line["loss"] == pytest.approx(loss.item(), abs=1e-5)
        assert line["loss"] == pytest.approx(sum(line[term] for term in run.args.loss_terms), abs=1e-6)
        expected = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        expected |= {f"lamix_head.{key}": p.grad for key, p in twin.items()}
        assert tiny.largest_gap(expected, found) < 1e-5 * max(1.0, max(g.abs().max() for g in expected.values()))
        assert twin["weight"].grad.abs().max() > 1e-4


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_the_head_has_a_gradient_if_and_only_if_beta_is_below_one(tmp_path, beta):
    recorder = tiny.GradientRecorder()
    run = tiny.trainer(tmp_path, tiny.rows(16), mix_method="lamix", lamix_beta=beta, callbacks=[recorder])
    run.train()
    learnt = [step.get("lamix_head.weight") for step in recorder.steps]
    assert len(learnt) == 4
    assert all(g is not None and g.abs().max() > 0 for g in learnt) if beta < 1 else learnt == [None] * 4
    assert (run._soft_head is None) == (beta == 1.0)
    assert ("loss_soft" in lines(run)[0]) == (beta < 1)


def test_detached_features_learn_from_the_classifier_alone(tmp_path):
    steps = []
    for detach in (False, True):
        recorder = tiny.GradientRecorder()
        options = {"mix_method": "lamix", "lamix_detach_features": detach, "callbacks": [recorder], **FROZEN}
        tiny.trainer(tmp_path, tiny.rows(4), **options).train()
        steps.append(recorder.steps[0])
    full, detached = steps
    for name in ("lamix_head.weight", "classifier.weight"):
        torch.testing.assert_close(full[name], detached[name])
    name = "bert.pooler.dense.weight"
    assert (full[name] - detached[name]).abs().max() > 1e-4


def test_clean_and_mixed_steps_take_turns(tmp_path):
    """Two batches per step, an evaluation behind each; and the option that flips a coin for each batch."""
    options = {"eval_dataset": tiny.rows(4), "eval_strategy": "steps", "eval_steps": 1}
    run = tiny.trainer(tmp_path, tiny.rows(40), mix_method="lamix", gradient_accumulation_steps=2, **options)
    run.train()
    assert [line["loss_mix"] > 0 for line in lines(run)] == [False, True, False, True, False]
    assert [line["loss_cls"] > 0 for line in lines(run)] == [True, False, True, False, True]
    run = tiny.trainer(tmp_path, tiny.rows(80), mix_method="lamix", mix_schedule="random", mix_prob=0.5)
    run.train()
    mixed = [line["loss_mix"] > 0 for line in lines(run)]
    assert 5 <= sum(mixed) <= 15
    assert mixed != [False, True] * 10


def test_the_loss_falls(tmp_path):
    run = pictures.trainer(tmp_path, "vit", 16, mix_method="lamix", num_train_epochs=15, optim="adamw_torch")
    run.train()
    clean = [line["loss"] for line in lines(run)[::2]]
    assert sum(clean[-5:]) < 0.8 * sum(clean[:5])
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


@pytest.mark.parametrize("method", ["mixup", "cutmix", "logitmix_p"])
def test_any_method_may_have_global_soft_labels(tmp_path, method):
    """At the first step its own terms keep the share beta, L_sim stays, and the mixture is the same."""
    one, half = (
        lines_of(pictures.trainer(tmp_path, "resnet", 4, mix_method=method, lamix_beta=beta)) for beta in (1.0, 0.5)
    )
    preset = MIX_METHODS[method]
    assert half["loss_mix"] == pytest.approx(0.5 * one["loss_mix"], rel=1e-6)
    assert half["loss_soft"] > 0.3
    if preset.sim_weight:
        assert half["loss_sim"] == pytest.approx(one["loss_sim"], rel=1e-6)
        assert half["loss_cls"] == pytest.approx(0.5 * one["loss_cls"], rel=1e-6)


def lines_of(run) -> dict[str, float]:
    run.train()
    return lines(run)[0]


# ---- The head comes and goes ----


def test_nothing_of_the_head_is_left_in_the_model_or_in_what_is_saved(tmp_path):
    stock = tiny.bert()
    names, keys = [name for name, _ in stock.named_parameters()], list(stock.state_dict())
    reports = []

    class Watching(LogitMixTrainer):
        def _issue_warnings_after_load(self, load_result):
            reports.append(load_result)
            return super()._issue_warnings_after_load(load_result)

    run = tiny.trainer(
        tmp_path, tiny.rows(16), tiny.bert(), Watching, mix_method="lamix", save_strategy="steps", save_steps=1,
        eval_strategy="steps", eval_steps=1, eval_dataset=tiny.rows(4), load_best_model_at_end=True,
    )  # fmt: skip
    run.train()
    assert [(report.missing_keys, report.unexpected_keys) for report in reports] == [([], [])]
    assert [name for name, _ in run.model.named_parameters()] == names
    assert list(run.model.state_dict()) == keys
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in run.model.modules())
    run.save_model(tmp_path / "end")
    for folder in (tmp_path / "end", tmp_path / "checkpoint-2"):
        assert sorted(load_file(folder / "model.safetensors")) == sorted(keys)
        loaded, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
        assert type(loaded) is type(stock)
        assert not any(report.values())
    assert set(load_file(tmp_path / "checkpoint-2" / "lamix_head.safetensors")) == {"weight", "bias"}
    assert not (tmp_path / "end" / "lamix_head.safetensors").exists()


def test_making_the_head_draws_no_global_random_number():
    model = tiny.bert()
    before = torch.get_rng_state()
    one, same, other = (SoftLabelHead(model, 3, seed=seed).linear.weight for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == model.classifier.weight.shape
    assert one.abs().max() <= 1 / 16**0.5


def test_training_again_goes_on_with_the_same_head(tmp_path):
    run = tiny.trainer(tmp_path, tiny.rows(8), mix_method="lamix")
    run.train()
    head, weight = run._soft_head, run._soft_head.linear.weight.detach().clone()
    run.train()
    assert run._soft_head is head
    assert not torch.equal(head.linear.weight, weight)


@pytest.mark.parametrize("name", [*zoo.TEXT_MODELS, *zoo.IMAGE_MODELS])
def test_each_architecture_has_a_layer_that_makes_its_logits(name):
    model, inputs = zoo.build(name), zoo.batch(name)
    expected = model.eval()(**inputs).logits
    head = SoftLabelHead(model, 3, seed=0)
    check_soft_head(head, inputs, 4)
    with head.installed(detach_features=False):
        assert torch.equal(model(**inputs).logits, expected)
        wide = model.train()(**inputs).logits
        assert wide.shape == (4, 6)
        wide[:, 3:].sum().backward()
    assert head.linear.weight.grad.abs().max() > 0
    assert head.classifier.weight.grad.abs().max() == 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_adapters_are_saved_without_the_head(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    run = tiny.trainer(tmp_path, tiny.rows(8), peft.get_peft_model(tiny.bert(), config), mix_method="lamix")
    run.train()
    assert all(line["loss_soft"] > 0 for line in lines(run))
    run.save_model()
    assert not [key for key in load_file(tmp_path / "adapter_model.safetensors") if "lamix" in key]
    assert find_classifier(run.model, 3) is run.model.base_model.model.classifier.modules_to_save["default"]


# ---- What cannot work ----


def test_labels_that_are_no_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="beta=0.5 .* has no meaning for regression"):
        tiny.trainer(tmp_path, tiny.rows(4, kind="regression"), tiny.bert(num_labels=1), mix_method="lamix")
    run = tiny.trainer(tmp_path, tiny.rows(4, kind="multi"), mix_method="lamix")
    with pytest.raises(ValueError, match="beta=0.5 .* has no meaning for multi_label_classification"):
        run.train()


@pytest.mark.parametrize("plain", [{"mix_prob": 0.9}, {"mix_warmup": "step"}, {"mix_schedule": "alternate"}, {}])
def test_soft_labels_need_a_term_or_plain_steps(tmp_path, plain):
    options = {"mix_method": "logitmix", "lamix_beta": 0.5, "mix_weight": 0.0, "cls_weight": 0.0, **plain}
    if plain:
        assert tiny.arguments(tmp_path, **options).sim_weight == 1.0
    else:
        with pytest.raises(ValueError, match="lamix_beta=0.5 changes the targets .* no step is plain: weight one"):
            tiny.arguments(tmp_path, **options)


def test_models_without_one_last_linear_layer_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"ends in nn.Linear with 7 outputs, but the last layers of .*classifier \(Lin"
    ):
        find_classifier(tiny.bert(), 7)
    settings = {**zoo.VIT, "num_hidden_layers": 1}
    teacher = DeiTForImageClassificationWithTeacher(DeiTConfig(**settings))
    message = "outputs are the logits, but those of distillation_classifier in DeiTForImage.* set lamix_beta to 1"
    run = pictures.trainer(tmp_path, "vit", 4, model=teacher, mix_method="lamix", remove_unused_columns=False)
    with pytest.raises(ValueError, match=message):
        run.train()


def test_sharded_models_and_optimizers_made_before_the_head_are_refused(tmp_path):
    args = tiny.arguments(tmp_path, mix_method="lamix")
    with pytest.raises(ValueError, match="lamix_beta=0.5 adds a second head .* use plain DDP"):
        soft_head(tiny.bert(), args, known=None, sharded=True)
    model = tiny.bert()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = LogitMixTrainer(
        model, args, train_dataset=tiny.rows(4), data_collator=tiny.collate, optimizers=(optimizer, None)
    )
    with pytest.raises(ValueError, match="made before the second head of LaMix .* pass optimizer_cls_and_kwargs"):
        run.train()


def test_a_checkpoint_without_the_head_is_refused(tmp_path):
    tiny.trainer(tmp_path, tiny.rows(8), mix_method="vanilla", save_strategy="steps", save_steps=1).train()
    run = tiny.trainer(tmp_path, tiny.rows(8), mix_method="lamix")
    with pytest.raises(ValueError, match=r"checkpoint-1 has no lamix_head.safetensors: .* Start without it"):
        run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lamix_beta": 0.0}, r"beta \(lamix_beta\) must lie in \(0, 1\], got 0.0"),
        ({"mix_prob": 0.5}, "mix_prob=0.5 has no meaning: leave it out, or set mix_schedule='random'"),
        ({"mix_schedule": "even"}, "mix_schedule must be one of random, alternate, got 'even'"),
        ({"mix_lam": "0.5"}, "mix_lam must be one of drawn, half, dominant, got '0.5'"),
        ({"label_lam": "mask"}, "label_lam must be one of mixed, drawn, half, got 'mask'"),
    ],
)
def test_impossible_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.arguments(tmp_path, mix_method="lamix", **options)
