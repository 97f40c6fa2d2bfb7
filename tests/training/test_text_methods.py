# SPDX-License-Identifier: Apache-2.0
"""Region mixing of texts in real trainings, against the rules written out row by row."""

import pytest
import texts
import tiny
import torch
import torch.nn.functional as F  # noqa: N812
import zoo
from ddp_methods_worker import compare
from span_oracles import runs, ssmix_loop
from transformers import BartConfig, BartForSequenceClassification, DataCollatorWithPadding

from logitmix_nlp import LogitMixTrainer
from logitmix_nlp.functional import MixPlan
from logitmix_nlp.mixing import mixers
from logitmix_nlp.training.methods import MIX_METHODS

METHODS = ("span", "ssmix", "logitmix_s")
INDEX = torch.tensor([1, 2, 3, 0])


@pytest.fixture
def fixed(monkeypatch):
    monkeypatch.setattr(mixers, "sample_plan", lambda *args, **kwargs: MixPlan(INDEX, torch.full((4,), 0.3)))


def shares(ids, mixed):
    """Share of each row's content tokens that were not replaced, counted where the ids tell."""
    content = [[place for text in runs(row, texts.SPECIAL) for place in text] for row in ids]
    return torch.tensor([(row[c] == new[c]).float().mean() for row, new, c in zip(ids, mixed, content, strict=True)])


def written_out(method, model, batch):
    """Loss of one batch with a forward pass for everything."""
    preset, labels = MIX_METHODS[method], batch.pop("labels")
    ids, embeddings = batch["input_ids"], []
    handle = model.get_input_embeddings().register_forward_hook(lambda m, args, out: embeddings.append(out))
    clean = model(**batch).logits
    handle.remove()
    loss = F.cross_entropy(clean, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, embeddings[0], retain_graph=True)
    mixed_ids, lam = ssmix_loop(ids, INDEX, gradient.norm(dim=-1), texts.SPECIAL)
    mixed = model(**{**batch, "input_ids": mixed_ids}).logits
    own, other = (
        F.cross_entropy(mixed, labels, reduction="none"),
        F.cross_entropy(mixed, labels[INDEX], reduction="none"),
    )
    target = lam[:, None] * clean + (1 - lam)[:, None] * clean[INDEX]
    return (
        preset.mix_weight * (lam * own + (1 - lam) * other).mean()
        + preset.cls_weight * loss / 4
        + preset.sim_weight * (mixed - target).square().mean()
    )


@pytest.mark.parametrize(
    ("name", "method", "side"),
    [
        (name, ("ssmix", "logitmix_s")[place % 2], ("right", "left")[place // 3])
        for place, name in enumerate(texts.MODELS)
    ],
)
def test_loss_and_gradient_are_those_written_out(tmp_path, fixed, name, method, side):
    data, recorder, model = texts.rows(4), tiny.GradientRecorder(), zoo.build(name)
    loss = written_out(method, model, texts.batch(data, side))
    loss.backward()
    run = texts.trainer(
        tmp_path, name, data, mix_method=method, callbacks=[recorder], processing_class=texts.tokenizer(side),
        learning_rate=0.0,
    )  # fmt: skip
    run.train()
    line = run.state.log_history[0]
    assert line["loss"] == pytest.approx(loss.item(), abs=1e-5)
    expected = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    scale = max(g.abs().max().item() for g in expected.values())
    assert tiny.largest_gap(expected, recorder.steps[0]) < 1e-5 * max(1.0, scale)


@pytest.mark.parametrize("pairs", [False, True])
def test_what_the_model_sees_of_a_span(tmp_path, monkeypatch, pairs):
    """Special tokens, unknown ones among content, padding and masks; λ is what the ids say."""
    data, seen, plans = texts.rows(40, pairs=pairs), [], []
    model = zoo.build("bert").train()
    model.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs) if m.training else None, with_kwargs=True
    )
    run = texts.trainer(tmp_path, "bert", data, model, mix_method="logitmix_s", mixer="span", lam_per_sample=True)
    forward = run._forward
    monkeypatch.setattr(run, "_forward", lambda *args: plans.append(forward(*args)) or plans[-1])
    run.train()
    assert len(seen) == len(plans) == 10
    replaced = 0
    for inputs, (*_, plan) in zip(seen, plans, strict=True):
        ids, mixed = inputs["input_ids"].split(4)
        mask, other = inputs["attention_mask"].split(4)
        assert torch.equal(mask, other)
        special = torch.isin(ids, torch.tensor(texts.SPECIAL))
        assert torch.equal(special, torch.isin(mixed, torch.tensor(texts.SPECIAL)))
        assert torch.equal(ids[special], mixed[special])
        assert (shares(ids, mixed) >= plan.lam - 1e-6).all()  # equal words may meet
        for row, partner, new in zip(ids, ids[plan.index], mixed, strict=True):
            assert set(new.tolist()) <= {*row.tolist(), *partner.tolist()}
        replaced += int((ids != mixed).sum())
    assert replaced > 20


EVERY = [(name, method) for name in texts.MODELS for method in (*METHODS, "tmix", "vwci")]
FEW = [("bert", "span"), ("gpt2", "ssmix"), ("deberta-v2", "logitmix_s"), ("modernbert", "logitmix_s")]


@pytest.mark.parametrize(
    ("name", "method"), [pytest.param(*case, marks=() if case in FEW else pytest.mark.slow) for case in EVERY]
)
def test_a_resumed_run_ends_with_bitwise_the_same_weights(tmp_path, name, method):
    settings = {
        "mix_method": method, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1,
        "max_steps": 3, "train_sampling_strategy": "random", "optim": "adamw_torch",
        "mix_share": 0.5 if name == "gpt2" else 1.0,
    }  # fmt: skip
    data = texts.rows(22)
    whole = texts.trainer(tmp_path / "whole", name, data, **settings)
    whole.train()
    again = texts.trainer(tmp_path / "again", name, data, zoo.build(name, seed=3), **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-1"))
    assert again.state.log_history[:-1] == whole.state.log_history[:-1]
    tiny.assert_same_learnt(whole, again)


@pytest.mark.parametrize(
    "cases", [[*FEW, ("roberta", "logitmix@0.5")], pytest.param(EVERY, marks=pytest.mark.slow)], ids=["few", "every"]
)
def test_two_processes_learn_what_one_does(tmp_path, monkeypatch, cases):
    """What DeBERTa-v2 has at padding, which is mixed between layers, depends on how far the batch is padded."""
    padded = [case for case in cases if case == ("deberta-v2", "tmix")]
    compare(tmp_path, monkeypatch.setattr, [case for case in cases if case not in padded], in_sync_only=(*padded,))


def test_tmix_mixes_at_one_of_its_layers_with_more_than_half_of_the_own_row(tmp_path):
    sites, shares = [], []

    class Watching(LogitMixTrainer):
        def _forward(self, model, inputs, rows, mixture, site, weights):
            sites.append(site.name)
            shares.append(mixture.plan.lam.unique().tolist())
            return super()._forward(model, inputs, rows, mixture, site, weights)

    tiny.trainer(tmp_path, tiny.rows(80), tiny.bert(layers=6), Watching, mix_method="tmix").train()
    assert set(sites) == {"layer:3", "layer:4", "layer:5"}
    assert all(len(lam) == 1 and 0.5 <= lam[0] < 1 for lam in shares)  # λ ~ Beta(16, 16), one per batch
    assert sum(lam[0] for lam in shares) / 20 == pytest.approx(0.5 + 0.07, abs=0.03)  # its mean distance from 1/2


# ---- What cannot work ----


def test_models_of_other_inputs_and_missing_tokenizers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mixes token ids of texts, but ViTForImageClassification takes pixel_values"):
        texts.trainer(tmp_path, "vit", texts.rows(4), mix_method="ssmix")
    with pytest.raises(ValueError, match="which the tokenizer knows: pass it as processing_class"):
        texts.trainer(tmp_path, "bert", texts.rows(4), mix_method="span", processing_class=None)
    with pytest.raises(ValueError, match="mixer='ssmix' takes a gradient .* torch_compile .* or 'span'"):
        tiny.arguments(tmp_path, mix_method="logitmix_s", torch_compile=True)
    with pytest.raises(ValueError, match="mixer='span' mixes the token ids of texts, but mix_site='layer:1'"):
        tiny.arguments(tmp_path, mix_method="span", mix_site="layer:1")
    run = texts.trainer(tmp_path, "xlnet", texts.rows(4), mix_method="ssmix")
    with pytest.raises(
        ValueError, match="XLNetFor.* hands its token ids to no embedding layer .* choose mixer='span'"
    ):
        run.train()
    texts.trainer(tmp_path, "xlnet", texts.rows(4), mix_method="span").train()


def test_the_tokenizer_may_be_that_of_the_collator(tmp_path):
    run = texts.trainer(tmp_path, "bert", texts.rows(8), mix_method="span", processing_class=None,
                        data_collator=DataCollatorWithPadding(texts.tokenizer()))  # fmt: skip
    run.train()
    assert run.state.log_history[0]["loss_mix"] > 0


def test_encoder_decoders_mix_their_ids(tmp_path):
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 40}
    config = BartConfig(**zoo.TEXT, **shape, **heads, decoder_start_token_id=2)
    run = texts.trainer(
        tmp_path, "bart", texts.rows(4), BartForSequenceClassification(config), mix_method="logitmix_s"
    )
    run.train()
    assert run.state.log_history[0]["loss_sim"] > 0
