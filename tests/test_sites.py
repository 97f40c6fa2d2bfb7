# SPDX-License-Identifier: Apache-2.0
import pytest
import tiny
import torch
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from logitmix_nlp.functional import MixPlan, mix, union_mask
from logitmix_nlp.sites import SiteMixer, duplicate_rows, find_site, list_sites

SMALL = {"vocab_size": tiny.VOCABULARY, "num_labels": 3, "max_position_embeddings": 40}
BERT_LIKE = {**SMALL, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}


def models():
    torch.manual_seed(0)
    distil = {**SMALL, "dim": 16, "n_layers": 4, "n_heads": 2, "hidden_dim": 32}
    return {
        "bert": tiny.bert(),
        "roberta": RobertaForSequenceClassification(RobertaConfig(**BERT_LIKE, pad_token_id=0)),
        "electra": ElectraForSequenceClassification(ElectraConfig(**BERT_LIKE, embedding_size=8)),
        "distilbert": DistilBertForSequenceClassification(DistilBertConfig(**distil)),
    }


def batch(model, count=5):
    inputs = tiny.collate(tiny.rows(count))
    del inputs["labels"]
    if model.config.model_type in ("distilbert", "roberta"):
        del inputs["token_type_ids"]
    return inputs


def plan(count=5):
    return MixPlan(torch.arange(count).roll(2), torch.linspace(0.15, 0.85, count))


def explicit(model, inputs, plan, depth):
    """Logits of mixed rows from two plain passes: the hidden state behind `depth` layers replaced by the mixture."""
    stages, _ = find_site(model, "embeddings")
    seen = {}

    def keep(position):
        return lambda module, args: seen.__setitem__(position, args[0])

    def keep_output(module, args, output):
        seen["out"] = output[0] if isinstance(output, tuple) else output

    handles = [stage.register_forward_pre_hook(keep(position)) for position, stage in enumerate(stages)]
    layers = model.config.num_hidden_layers
    handles.append(stages[layers - 1].register_forward_hook(keep_output))
    model(**inputs)
    for handle in handles:
        handle.remove()
    hidden = mix(seen[depth] if depth < layers else seen["out"], plan)
    second = {**inputs, "attention_mask": union_mask(inputs["attention_mask"], plan)}
    if depth < layers:
        handle = stages[depth].register_forward_pre_hook(lambda module, args: (hidden, *args[1:]))
    else:
        handle = stages[layers - 1].register_forward_hook(
            lambda module, args, output: (hidden, *output[1:]) if isinstance(output, tuple) else hidden
        )
    try:
        return model(**second).logits
    finally:
        handle.remove()


@pytest.mark.parametrize("keep_clean", [True, False])
@pytest.mark.parametrize("site", ["embeddings", "layer:0", "layer:1", "layer:2", "layer:-1"])
@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "distilbert"])
def test_one_pass_equals_the_explicit_reference(name, site, keep_clean):
    model = models()[name].eval()
    inputs, mixing = batch(model), plan()
    _, depth = find_site(model, site)
    clean, reference = model(**inputs).logits, explicit(model, inputs, mixing, depth)
    weights = torch.randn(10, 3)
    (weights[:5] * clean * keep_clean + weights[5:] * reference).sum().backward()
    expected = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    mixer = SiteMixer(model, site)
    with mixer.installed():
        mixer.activate(mixing, keep_clean=keep_clean)
        logits = model(**duplicate_rows(inputs, 5, mixing)).logits
        (weights[-len(logits) :] * logits).sum().backward()
    torch.testing.assert_close(logits[-5:], reference, atol=1e-5, rtol=0)
    if keep_clean:
        torch.testing.assert_close(logits[:5], clean, atol=1e-5, rtol=0)
    else:
        assert len(logits) == 5
    found = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    assert tiny.largest_gap(expected, found) < 1e-5


def test_sites_differ():
    model, logits = tiny.bert().eval(), []
    inputs = batch(model)
    for site in list_sites(model):
        mixer = SiteMixer(model, site)
        with mixer.installed():
            mixer.activate(plan(), keep_clean=False)
            logits.append(model(**duplicate_rows(inputs, 5, plan())).logits)
    gaps = [(one - other).abs().max() for i, one in enumerate(logits) for other in logits[:i]]
    assert min(gaps) > 1e-3


def test_similarity_vanishes_at_the_pooler_and_nowhere_else():
    model = tiny.bert().eval()
    inputs = batch(model)
    for site in list_sites(model):
        mixer = SiteMixer(model, site)
        with mixer.installed():
            mixer.activate(plan(), keep_clean=True)
            logits = model(**duplicate_rows(inputs, 5, plan())).logits
        gap = (logits[5:] - mix(logits[:5], plan())).abs().max().item()
        assert gap < 1e-6 if site == "pooler" else gap > 1e-3


@pytest.mark.parametrize(
    ("site", "rows"), [("embeddings", [10] * 4), ("layer:1", [5, 5, 10, 10]), ("layer:-1", [5] * 4)]
)
def test_layers_before_the_site_run_on_clean_rows_only(site, rows):
    model, seen = tiny.bert(), []
    mixer = SiteMixer(model, site)
    with mixer.installed():
        for layer in model.bert.encoder.layer:
            layer.attention.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
        mixer.activate(plan(), keep_clean=True)
        model(**duplicate_rows(batch(model), 5, plan()))
    assert seen == rows


def test_mixing_leaves_the_inputs_alone():
    model = tiny.bert()
    inputs = batch(model)
    before = {name: value.clone() for name, value in inputs.items()}
    doubled = duplicate_rows({**inputs, "flag": True}, 5, plan())
    assert doubled["flag"] is True
    assert all(len(doubled[name]) == 10 for name in inputs)
    assert torch.equal(doubled["attention_mask"][5:], union_mask(inputs["attention_mask"], plan()))
    assert all(torch.equal(inputs[name], before[name]) for name in inputs)


def test_idle_hooks_change_nothing_and_go_away_even_after_an_error():
    model = tiny.bert().eval()
    inputs = batch(model)
    expected = model(**inputs).logits
    mixer = SiteMixer(model, "layer:1")

    def fail_while_mixing():
        with mixer.installed():
            assert torch.equal(model(**inputs).logits, expected)
            mixer.activate(plan(), keep_clean=True)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_while_mixing()
    assert torch.equal(model(**inputs).logits, expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_sites_are_listed_in_order_and_negative_layers_count_from_the_end():
    model = tiny.bert()
    assert list_sites(model) == ["embeddings", "layer:0", "layer:1", "layer:2", "layer:3", "pooler"]
    assert find_site(model, "layer:-1") == find_site(model, "layer:3")
    assert find_site(model, "layer:-4") == find_site(model, "layer:0")


@pytest.mark.parametrize("name", ["layer:4", "layer:-5", "layer:", "layer:x", "layer:1.5", "head", "", "stage:1"])
def test_an_unknown_site_lists_those_that_exist(name):
    with pytest.raises(ValueError, match=r"no mix_site .*Available: embeddings, layer:0, .*layer:3, pooler"):
        find_site(tiny.bert(), name)


def test_a_model_without_pooler_has_no_pooler_site():
    assert "pooler" not in list_sites(models()["distilbert"])


def test_an_unsupported_architecture_says_what_is_supported():
    model = GPT2ForSequenceClassification(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1, num_labels=2))
    with pytest.raises(ValueError, match=r"'gpt2'\) is not supported; supported model types: bert"):
        list_sites(model)
