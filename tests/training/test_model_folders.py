# SPDX-License-Identifier: Apache-2.0
"""Damaged model folders are one line that names the file; whatever a model takes is not refused."""

import json
import logging

import pytest
import samples
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BartConfig,
    BartForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTImageProcessor,
)

from logitmix_nlp.evaluation.classifier import load_classifier
from logitmix_nlp.training.model_folders import check_model_name, load_config, load_image_processor, load_weights
from logitmix_nlp.training.tokenizers import load_tokenizer, position_limit

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20}


@pytest.fixture
def folder(tmp_path):
    return samples.write_model(tmp_path / "model")


def load(folder, **options):
    return load_weights(AutoModelForSequenceClassification, str(folder), config=load_config(str(folder)), **options)


def set_values(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"version https://git-lfs.github.com/spec/v1\n", None])
def test_damaged_weights_are_named(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    for read in (load, lambda folder: load_classifier(str(folder))):
        with pytest.raises(ValueError, match=rf"^{path} is missing or damaged \(.*\): save the model again\.$"):
            read(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": "16"}, "its config.json cannot be used .*'hidden_size' expected int, got str"),
        ({"id2label": ["a", "b"]}, "its config.json cannot be used"),
        ({"id2label": {"a": "x", "b": "y"}}, "its config.json cannot be used"),
        ({"model_type": 3}, "its config.json cannot be used"),
        ({"num_hidden_layers": -1}, "num_hidden_layers in its config.json must be at least 0, got -1"),
        ({"architectures": 3}, "architectures in its config.json must be a list, got 3"),
        ({"hidden_act": "foo"}, "no model with these weights can be made of its config.json .*'foo'"),
        ({"num_attention_heads": 0}, "no model with these weights"),
        ({"pad_token_id": 5000}, "no model with these weights"),
        ({"dtype": "foo"}, "no model with these weights|its config.json cannot be used"),
        ({"hidden_size": 24}, "is 16 in its weights, but 24 in its config.json"),
        ({"vocab_size": 50}, "word_embeddings.weight is 101 x 16 in its weights, but 50 x 16 in its config.json"),
    ],
)
def test_values_that_do_not_fit(folder, values, message, caplog):
    set_values(folder / "config.json", **values)
    with pytest.raises(ValueError, match=f"^{folder}: .*{message}") as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert "MISMATCH" not in caplog.text  # the table of all weights, which would say it again


def test_weights_of_another_size_start_anew_on_request(folder, caplog):
    set_values(folder / "config.json", id2label={0: "a", 1: "b", 2: "c"}, label2id={"a": 0, "b": 1, "c": 2})
    model = load(folder, ignore_mismatched_sizes=True)
    assert model.config.num_labels == 3
    assert "classifier.weight" in caplog.text


def test_a_bare_encoder_gets_its_head_and_the_log_says_so(tmp_path, caplog):
    tiny.bert().bert.save_pretrained(tmp_path)
    logging.getLogger("transformers").setLevel("WARNING")
    assert load(tmp_path).classifier.weight.isfinite().all()
    assert sum("classifier.weight" in message for message in caplog.messages) == 1


def test_weights_that_diverged(folder):
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"][0, 0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"^{folder}: classifier.weight holds NaN or infinite weights"):
        load(folder)


@pytest.mark.parametrize("name", ["./nope", "nope/", "/nope/nope", "../nope", "a/b/c", ""])
def test_names_of_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (check_model_name, load_config, load_tokenizer):
        with pytest.raises(FileNotFoundError, match=f"^model '{name}': there is no such folder, and it is no name on"):
            read(name)


def test_names_of_something(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in ("model", "./model", "model/", str(folder), "model/config.json", "bert-base-uncased", "me/my.model_1"):
        check_model_name(name)
    assert load_config("model/config.json").to_dict() == AutoConfig.from_pretrained("model/config.json").to_dict()
    for read in (load_config, load_tokenizer):
        with pytest.raises(OSError, match="connect"):
            read("me/my.model_1")


def test_a_limit_of_the_tokenizer_that_is_none(folder):
    for value in ("x", 0):
        set_values(folder / "tokenizer_config.json", model_max_length=value)
        with pytest.raises(ValueError, match=f"model_max_length of its tokenizer_config.json .* got {value!r}"):
            load_tokenizer(str(folder))


def test_damaged_image_processors(tmp_path):
    ViTImageProcessor().save_pretrained(tmp_path)
    assert load_image_processor(str(tmp_path)).size == {"height": 224, "width": 224}
    set_values(tmp_path / "preprocessor_config.json", size="x")
    with pytest.raises(ValueError, match=f"^{tmp_path}: its preprocessor_config.json cannot be used"):
        load_image_processor(str(tmp_path))


BART = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 20}  # fmt: skip


@pytest.mark.parametrize(
    ("model_class", "config", "longest"),
    [
        (RobertaForSequenceClassification, RobertaConfig(**SMALL, max_position_embeddings=18, pad_token_id=1), 16),
        (GPT2ForSequenceClassification, GPT2Config(n_embd=8, n_layer=1, n_head=2, n_positions=16, vocab_size=20), 16),
        (BartForSequenceClassification, BartConfig(**BART, max_position_embeddings=16), 16),
        (
            DebertaV2ForSequenceClassification,
            DebertaV2Config(**SMALL, max_position_embeddings=16, relative_attention=True, position_biased_input=False),
            None,
        ),
    ],
)
@torch.no_grad()
def test_positions_of_a_model(model_class, config, longest):
    """So many tokens go through it, and one more does not, if there is a limit."""
    config.eos_token_id = 2
    config.pad_token_id = 1
    model = model_class(config).eval()
    assert position_limit(model) == longest
    ids = torch.full((1, longest or 40), 5)
    ids[:, -1] = 2
    assert model(input_ids=ids).logits.shape == (1, model.config.num_labels)
    if longest is not None:
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.cat([ids[:, :1], ids], dim=1))
