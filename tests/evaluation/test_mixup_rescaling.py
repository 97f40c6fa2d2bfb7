# SPDX-License-Identifier: Apache-2.0
"""Prediction-time rescaling of whole models, with hooks and closed forms as references."""

import pytest
import tiny
import torch
import zoo
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from logitmix_nlp.evaluation.mixup_rescaling import mean_at_site, rescaled_logits
from logitmix_nlp.functional import truncated_beta_mean

THETA = truncated_beta_mean(0.4)


class Linear(PreTrainedModel):
    """Logistic regression on pixels, as a Transformers model."""

    config_class, main_input_name = PretrainedConfig, "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(12, 2)
        self.post_init()

    def forward(self, pixel_values):
        """Logits of images of 3 x 2 x 2 pixels."""
        return ImageClassifierOutput(logits=self.head(pixel_values.flatten(1)))


def text(count: int, seed: int = 0, width: int = 8) -> dict[str, torch.Tensor]:
    """Texts of one length without padding."""
    ids = torch.randint(1, tiny.VOCABULARY, (count, width), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 3}


def without_labels(batch: dict) -> dict:
    return {name: value for name, value in batch.items() if name != "labels"}


@torch.no_grad()
def test_images_are_shrunk_towards_their_mean_and_logits_are_divided():
    model = zoo.build("resnet").eval()
    train, test = zoo.batch("resnet", 10)["pixel_values"] + 1, zoo.batch("resnet", 5, seed=7)["pixel_values"]
    mean = mean_at_site(model, [{"pixel_values": train[:7]}, {"pixel_values": train[7:]}])
    torch.testing.assert_close(mean, train.mean(0))
    expected = model(mean + THETA * (test - mean)).logits / THETA
    found = rescaled_logits(model, [{"pixel_values": test[:2]}, {"pixel_values": test[2:]}], THETA, mean)
    torch.testing.assert_close(found, expected)
    shares = torch.tensor([0.5, 0.3, 0.2])
    found = rescaled_logits(model, [{"pixel_values": test}], THETA, mean, label_mean=shares)
    torch.testing.assert_close(found, expected + (1 - 1 / THETA) * shares)


@pytest.mark.parametrize("block", [0, 2])
@torch.no_grad()
def test_hidden_states_are_shrunk_at_the_site(block):
    model, train, test = tiny.bert().eval(), text(9), text(4, seed=3)
    seen = []
    layer = model.bert.encoder.layer[block]
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(output))
    model(**without_labels(train))
    handle.remove()
    mean = mean_at_site(model, [train], f"layer:{block}")
    torch.testing.assert_close(mean, seen[0].mean(0))
    handle = layer.register_forward_hook(lambda module, args, output: mean + THETA * (output - mean))
    expected = model(**without_labels(test)).logits / THETA
    handle.remove()
    found = rescaled_logits(model, [test], THETA, mean, f"layer:{block}")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (found - model(**without_labels(test)).logits).abs().max() > 0.05


@torch.no_grad()
def test_theta_of_one_is_plain_prediction_even_with_padding():
    model, batch = tiny.bert().eval(), tiny.collate(tiny.rows(6))
    mean = mean_at_site(model, [batch], "embeddings")
    found = rescaled_logits(model, [batch], 1.0, mean, "embeddings")
    torch.testing.assert_close(found, model(**without_labels(batch)).logits)


def test_an_affine_model_moves_by_a_constant_alone():
    """There the two steps cancel: `g(x) - f(x) = (1 / t - 1) (f(xbar) - ybar)`, and one step alone does not do."""
    torch.manual_seed(0)
    model = Linear(PretrainedConfig(num_labels=2))
    images, shares = torch.randn(20, 3, 2, 2) + 1, torch.tensor([0.75, 0.25])
    mean = mean_at_site(model, [{"pixel_values": images}])
    found = rescaled_logits(model, [{"pixel_values": images}], THETA, mean, label_mean=shares)
    with torch.no_grad():
        plain, center = model(images).logits, model(mean[None]).logits
    expected = (plain + (1 / THETA - 1) * (center - shares)).expand_as(plain)
    torch.testing.assert_close(found, expected)


def test_modes_hooks_and_gradients_stay_as_they_were():
    model, batch = tiny.bert(dropout=0.3).train(), text(4)
    model.dropout.eval()
    mean = mean_at_site(model, [batch], "layer:1")
    found = rescaled_logits(model, [batch], THETA, mean, "layer:1")
    assert found.equal(rescaled_logits(model, [batch], THETA, mean, "layer:1"))  # no dropout
    assert not found.requires_grad
    assert model.training
    assert not model.dropout.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_impossible_input_is_refused():
    model, batch = tiny.bert(), text(4)
    mean = mean_at_site(model, [batch], "layer:1")
    with pytest.raises(ValueError, match="has no mix_site 'input'"):
        mean_at_site(model, [batch])
    with pytest.raises(ValueError, match="got layer:0, layer:1, layer:2"):
        rescaled_logits(model, [batch], THETA, mean, "layer:0-2")
    with pytest.raises(ValueError, match=r"padding='max_length'"):
        mean_at_site(model, [batch, text(4, width=6)], "layer:1")
    with pytest.raises(ValueError, match="does not fit rows of shape"):
        rescaled_logits(model, [text(4, width=6)], THETA, mean, "layer:1")
    with pytest.raises(ValueError, match=r"theta must lie in \(0, 1\]"):
        rescaled_logits(model, [batch], 1.5, mean, "layer:1")
    with pytest.raises(ValueError, match="No batches"):
        mean_at_site(model, [], "layer:1")
