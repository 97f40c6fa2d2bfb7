# SPDX-License-Identifier: Apache-2.0
import pytest
import tiny
import torch
import zoo
from transformers import BartConfig, BartForSequenceClassification

from logitmix_nlp.functional import MixPlan, mix, sample_plan, union_mask
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.rows import join_rows, mixed_inputs
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites, list_sites
from logitmix_nlp.training.methods import MIX_METHODS


def batch(count=5):
    inputs = tiny.collate(tiny.rows(count))
    del inputs["labels"]
    return inputs


def plan(count=5):
    return MixPlan(torch.arange(count).roll(2), torch.linspace(0.15, 0.85, count))


def ready(model, inputs, site, needs_similarity=False):
    """Mixer that has looked at the model; the caller installs it again."""
    mixer = SiteMixer(model)
    rows = len(next(iter(inputs.values())))
    with mixer.installed():
        probe(mixer, model, inputs, rows, find_sites(model, site), needs_similarity=needs_similarity)
    return mixer


def names(model, text):
    return [site.name for site in find_sites(model, text)]


def test_sites_are_listed_in_order():
    assert list_sites(tiny.bert()) == ["embeddings", "layer:0", "layer:1", "layer:2", "layer:3", "pooler"]
    assert list_sites(zoo.build("distilbert")) == ["embeddings", "layer:0", "layer:1", "layer:2", "layer:3"]
    assert list_sites(zoo.build("albert"))[1:5] == ["layer:0", "layer:1", "layer:2", "layer:3"]
    assert list_sites(zoo.build("resnet")) == ["input", "embeddings", *[f"layer:{k}" for k in range(4)], "pooler"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layer:-1", ["layer:3"]),
        ("layer:-4", ["layer:0"]),
        ("stage:2", ["layer:2"]),
        ("layer:0-2", ["layer:0", "layer:1", "layer:2"]),
        ("layer:-3--1", ["layer:1", "layer:2", "layer:3"]),
        ("embeddings, layer:1", ["embeddings", "layer:1"]),
        ("layer:7/12,layer:9/12,layer:12/12", ["layer:1", "layer:2", "layer:3"]),
    ],
)
def test_layers_may_be_counted_from_the_end_ranged_and_listed(text, expected):
    assert names(tiny.bert(), text) == expected


def test_the_layers_of_tmix_scale_with_the_depth():
    deep = {depth: names(tiny.bert(layers=depth), MIX_METHODS["tmix"].mix_site) for depth in (2, 6, 12, 24)}
    places = {depth: [int(name.removeprefix("layer:")) for name in found] for depth, found in deep.items()}
    assert places == {2: [0, 1, 1], 6: [3, 4, 5], 12: [6, 8, 11], 24: [13, 17, 23]}  # 12: layers 7, 9 and 12


@pytest.mark.parametrize(
    "name",
    [
        "layer:4",
        "layer:-5",
        "layer:",
        "layer:x",
        "layer:1.5",
        "head",
        "",
        "layer:2-9",
        "layer:2-1",
        "input",
        "layer:13/12",
    ],
)
def test_an_unknown_site_lists_those_that_exist(name):
    with pytest.raises(ValueError, match=r"no mix_site .*Available: embeddings, layer:0, .*layer:3, pooler"):
        find_sites(tiny.bert(), name)


def test_an_encoder_decoder_says_why_it_has_no_site():
    shape = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    config = BartConfig(vocab_size=50, encoder_attention_heads=1, decoder_attention_heads=1, **shape)
    with pytest.raises(ValueError, match="no site to mix at: it is an encoder-decoder"):
        list_sites(BartForSequenceClassification(config))


def test_similarity_vanishes_at_the_pooler_and_nowhere_else():
    model, inputs = tiny.bert().eval(), batch()
    for name in list_sites(model):
        mixer = ready(model, inputs, name)
        with mixer.installed():
            logits = model(**mixer.activate(inputs, plan(), *find_sites(model, name), keep_clean=True)).logits
        gap = (logits[5:] - mix(logits[:5], plan())).abs().max().item()
        assert gap < 1e-6 if name == "pooler" else gap > 1e-3


@pytest.mark.parametrize(("name", "site"), [("resnet", "layer:-1"), ("resnet", "pooler"), ("bert", "pooler")])
def test_a_site_before_affine_maps_only_is_refused_for_similarity(name, site):
    model = zoo.build(name)
    ready(model, zoo.batch(name), site)
    with pytest.raises(ValueError, match="similarity term is identically zero .* only affine maps follow"):
        ready(model, zoo.batch(name), site, needs_similarity=True)


def test_a_model_that_tells_rows_apart_by_their_place_is_refused():
    model = tiny.bert().eval()
    model.dropout.register_forward_hook(lambda module, args, output: output + torch.arange(len(output))[:, None])
    with pytest.raises(ValueError, match="rows that are their own partners do not have the logits they should"):
        ready(model, batch(), "layer:1")


@pytest.mark.parametrize("site", ["embeddings", "layer:1"])
def test_a_model_whose_head_looks_at_the_inputs_again_is_refused(site):
    """Rows that are their own partners come out right there; only rows replaced by their partners tell."""
    model = tiny.bert().eval()
    seen = []
    model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True)
    model.dropout.register_forward_hook(lambda module, args, output: output + seen[-1][:, :1] / tiny.VOCABULARY)
    with pytest.raises(ValueError, match="rows replaced by their partners do not have the logits they should"):
        ready(model, batch(), site)


@pytest.mark.parametrize("site", ["embeddings", "layer:0"])
def test_a_model_with_a_way_around_its_blocks_is_refused(site):
    """The convolution of DeBERTa-v2-xlarge reads the embeddings beside the first layer."""
    model = zoo.build("deberta-v2", conv_kernel_size=3, conv_act="gelu")
    with pytest.raises(ValueError, match="cannot be mixed at"):
        ready(model, zoo.batch("deberta-v2"), site)


def test_a_skipped_block_is_noticed():
    model, inputs = tiny.bert(), {"input_ids": batch()["input_ids"]}
    mixer = ready(model, inputs, "layer:1")
    model.bert.encoder.layer = torch.nn.ModuleList([model.bert.encoder.layer[0], *model.bert.encoder.layer[2:]])
    with mixer.installed():
        model(**mixer.activate(inputs, plan(), *find_sites(tiny.bert(), "layer:1"), keep_clean=True))
        with pytest.raises(ValueError, match="skipped the block at the mixing site"):
            mixer.check_mixed()


def test_layerdrop_is_refused():
    model = tiny.bert()
    model.config.layerdrop = 0.1
    with pytest.raises(ValueError, match="set config.layerdrop to 0"):
        ready(model, batch(), "layer:1")


def test_masks_as_objects_are_refused():
    model = tiny.bert()
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="attn_implementation='sdpa'"):
        ready(model, batch(), "layer:1")


@pytest.mark.parametrize(
    ("site", "keep_clean", "share", "rows"),
    [
        ("embeddings", True, 1.0, [10] * 4),
        ("layer:1", True, 1.0, [5, 5, 10, 10]),
        ("layer:-1", True, 1.0, [5] * 4),
        ("embeddings", False, 1.0, [5] * 4),
        ("layer:1", False, 1.0, [5] * 4),
        ("embeddings", True, 0.5, [8] * 4),
        ("layer:1", True, 0.5, [5, 5, 8, 8]),
        ("embeddings", False, 0.5, [3] * 4),
        ("layer:1", False, 0.5, [5, 5, 3, 3]),
    ],
)
def test_blocks_run_on_the_rows_they_must_and_no_more(site, keep_clean, share, rows):
    model, seen, plan = tiny.bert(), [], sample_plan(5, 1.0, share=share)
    mixer = ready(model, batch(), site)
    for layer in model.bert.encoder.layer:
        layer.attention.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    with mixer.installed():
        model(**mixer.activate(batch(), plan, *find_sites(model, site), keep_clean=keep_clean))
    assert seen == rows


def test_images_are_not_doubled_before_the_site():
    model, inputs, seen = zoo.build("resnet"), zoo.batch("resnet"), []
    mixer = ready(model, inputs, "layer:1")
    model.resnet.embedder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    with mixer.installed():
        model(**mixer.activate(inputs, plan(4), *find_sites(model, "layer:1"), keep_clean=True))
    assert seen == [4]


def test_looking_draws_no_random_number_and_keeps_the_mode():
    model = tiny.bert(dropout=0.3).train()
    state = torch.get_rng_state()
    ready(model, batch(), "layer:1", needs_similarity=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_what_mixed_rows_bring_along_and_that_inputs_stay():
    inputs, mixing = {**batch(), "flag": True}, plan()
    before = {name: value.clone() for name, value in batch().items()}
    second = mixed_inputs(inputs, mixing, "input_ids", None)
    doubled = join_rows(inputs, second, 5)
    assert doubled["flag"] is True
    assert all(len(doubled[name]) == 10 for name in before)
    assert torch.equal(doubled["attention_mask"][5:], union_mask(inputs["attention_mask"], mixing))
    assert torch.equal(doubled["input_ids"][5:] != 0, doubled["attention_mask"][5:].bool())
    assert all(torch.equal(inputs[name], before[name]) for name in before)


def test_idle_hooks_change_nothing_and_go_away_even_after_an_error():
    model = tiny.bert().eval()
    inputs = batch()
    expected = model(**inputs).logits
    mixer = ready(model, inputs, "layer:1")

    def fail_while_mixing():
        with mixer.installed():
            assert torch.equal(model(**inputs).logits, expected)
            mixer.activate(inputs, plan(), *find_sites(model, "layer:1"), keep_clean=True)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_while_mixing()
    assert torch.equal(model(**inputs).logits, expected)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
