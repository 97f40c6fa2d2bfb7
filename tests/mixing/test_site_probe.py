# SPDX-License-Identifier: Apache-2.0
"""What is learnt of a model before the first step: right sites pass, wrong ones do not, nothing of it remains."""

import pytest
import tiny
import torch
import zoo

from logitmix_nlp.mixing.model_modes import stirred
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites, list_sites

AFFINE = "similarity term is identically zero .* only affine maps follow"


def texts(count=4):
    inputs = tiny.collate(tiny.rows(count))
    del inputs["labels"]
    return inputs


def look(model, inputs, sites, needs_similarity=True, **options):
    mixer = SiteMixer(model)
    rows = len(next(iter(inputs.values())))
    with mixer.installed():
        probe(mixer, model, inputs, rows, find_sites(model, sites), needs_similarity=needs_similarity, **options)
    return mixer


def with_a_head_of_zeros(model=None):
    model = tiny.bert() if model is None else model
    torch.nn.init.zeros_(model.classifier.weight)
    return model


@pytest.mark.parametrize(
    ("name", "last"),
    [("mobilenet_v1", "pooler"), ("mobilenet_v2", "pooler"), ("mobilevitv2", "layer:4"), ("efficientnet", "pooler")],
)
def test_fresh_models_in_which_signals_vanish(name, last):
    model, inputs = zoo.build(name, fresh=True), zoo.batch(name)
    with torch.no_grad():
        assert model.eval()(**inputs).logits.abs().max() < 1e-3
    for site in list_sites(model)[:: 4 if len(list_sites(model)) > 10 else 1]:
        if site != last:
            look(model, inputs, site)
    with pytest.raises(ValueError, match=AFFINE):
        look(model, inputs, last)


def test_a_head_that_starts_at_zero():
    look(with_a_head_of_zeros(), texts(), "layer:1")
    with pytest.raises(ValueError, match=AFFINE):
        look(with_a_head_of_zeros(), texts(), "pooler")


@pytest.mark.parametrize("rows", ["equal", "equal but for padding"])
def test_rows_that_are_equal(rows):
    inputs = {name: x[:1].expand(4, -1).clone() for name, x in texts().items()}
    if rows != "equal":
        inputs["input_ids"][:] = 7
        inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1]) < torch.arange(2, 6)[:, None]).long()
    look(tiny.bert(), inputs, "layer:1")
    with pytest.raises(ValueError, match=AFFINE):
        look(tiny.bert(), inputs, "pooler")


def test_other_content_keeps_padding_and_special_tokens_and_is_of_the_vocabulary():
    model = tiny.bert(vocab_size=5, pad_token_id=0, eos_token_id=3)
    inputs = {"input_ids": torch.arange(30).remainder(5).expand(8, -1)}
    with stirred(model, inputs, "input_ids") as content:
        before, after = inputs["input_ids"], content["input_ids"]
    kept = (before == 0) | (before == 3)
    assert torch.equal(after[kept], before[kept])
    assert set(after[~kept].tolist()) == {1, 2, 4}
    assert not torch.equal(after[0], after[1])


def test_two_rows_are_enough_and_one_tells_nothing(caplog):
    with pytest.raises(ValueError, match=AFFINE):
        look(tiny.bert(), texts(2), "pooler")
    look(tiny.bert(), texts(1), "pooler")
    assert caplog.messages == []


def test_logits_of_another_shape_are_named():
    model = tiny.bert()
    model.classifier.register_forward_hook(lambda module, args, output: output if len(output) == 4 else output[:1])
    with pytest.raises(ValueError, match=r"it returns logits of \(1, 3\), expected \(8, 3\)"):
        look(model, texts(), "layer:1")


@pytest.mark.parametrize(("zeros", "rows"), [(True, 4), (True, 2), (False, 4)])
def test_a_block_that_swaps_rows_is_noticed(zeros, rows):
    model = with_a_head_of_zeros() if zeros else tiny.bert()
    model.bert.encoder.layer[2].register_forward_hook(lambda module, args, output: output.flip(0))
    with pytest.raises(ValueError, match="rows replaced by their partners do not have the logits they should"):
        look(model, texts(rows), "layer:1", needs_similarity=False)


def test_a_site_that_the_head_goes_around_is_refused():
    model, inputs = zoo.build("bert-mean-head"), zoo.batch("bert-mean-head")
    with pytest.raises(ValueError, match="BertMeanHead cannot be mixed at pooler: .* Try another site"):
        look(model, inputs, "pooler")


def test_blocks_that_need_all_rows_get_them_and_no_others():
    """PVT reshapes between its blocks by the number of images."""
    for keeps, whole in (((True,), True), ((False,), False)):
        model, inputs = zoo.build("pvt"), zoo.batch("pvt")
        mixer = look(model, inputs, "layer:0", keeps=keeps)
        assert mixer.runs_all_rows(*find_sites(model, "layer:0")) == whole


def test_methods_are_checked_as_they_mix(tmp_path):
    """`mixup` never runs clean and mixed rows side by side, so a model that could not is no reason to refuse."""

    def limited(module, args):
        if len(args[0]) > 4:
            raise RuntimeError("at most 4 rows, please")

    def train(method):
        model = tiny.bert()
        model.bert.encoder.layer[3].register_forward_pre_hook(limited)
        tiny.trainer(tmp_path, tiny.rows(4), model, mix_method=method, mix_site="layer:1").train()

    train("mixup")
    train("manifold_mixup")
    with pytest.raises(ValueError, match="cannot be mixed at layer:1: .*at most 4 rows, please"):
        train("logitmix")


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_a_look_remains(fails):
    model, calls = zoo.build("mobilenet_v2", fresh=True).train(), []
    model.mobilenet_v2.conv_stem.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    torch.nn.init.zeros_(model.classifier.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()

    def count(module, args):
        calls.append(len(args[0]))
        if fails and len(calls) == 8:
            raise KeyError("on purpose")

    handle = model.classifier.register_forward_pre_hook(count)
    try:
        look(model, zoo.batch("mobilenet_v2"), "layer:3")
    except KeyError:
        assert fails
    handle.remove()
    assert fails == (len(calls) == 8)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_cannot_be_checked_is_said_and_not_refused(caplog):
    model = tiny.bert()
    model.classifier.register_forward_hook(lambda module, args, output: output * 0 + 1)
    look(model, texts(), "layer:1")
    assert sum("mixing at layer:1 could not be checked" in message for message in caplog.messages) == 1


def test_sharded_weights_are_not_touched(caplog):
    model, calls = with_a_head_of_zeros(), []
    before = {name: p._version for name, p in model.named_parameters()}
    for inputs in (texts(), {name: x[:1].expand(4, -1) for name, x in texts().items()}):
        handle = model.register_forward_pre_hook(lambda module, args: calls[-1].append(1))
        calls.append([])
        look(model, inputs, "layer:1", sharded=True)
        handle.remove()
    assert len(calls[0]) == len(calls[1])
    assert {name: p._version for name, p in model.named_parameters()} == before
    assert "could not be checked" in caplog.text
