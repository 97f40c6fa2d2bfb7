# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import samples
import torch
import zoo
from PIL import Image
from transformers import AutoTokenizer, GPT2Config, GPT2ForSequenceClassification, ViTImageProcessor

from logitmix_nlp.evaluation.classifier import load_classifier
from logitmix_nlp.evaluation.data.columns import Columns
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.robustness import fgsm_batches, noise_batches, perturbed_rows

TEXTS = [("a fine cat sat on it",), ("it",), ("the dog ran , not the cat",)]


def alone(classifier, rows) -> torch.Tensor:
    return torch.cat([classifier.logits(classifier.batches([row], 1)) for row in rows])


def test_logits_do_not_depend_on_the_batch(tmp_path):
    classifier = load_classifier(str(samples.write_model(tmp_path, 3)))
    assert classifier.is_text
    assert classifier.max_length == 32
    with pytest.raises(ValueError, match="shorter"):
        classifier.inputs([("a cat", "it sat"), ("a cat",)])
    together = classifier.logits(classifier.batches(TEXTS, 2))
    torch.testing.assert_close(together, alone(classifier, TEXTS), atol=1e-5, rtol=1e-5)


def test_a_model_without_a_padding_token_takes_texts_one_by_one(tmp_path):
    samples.write_model(tmp_path)
    config = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=1, n_head=2, num_labels=3)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    classifier = load_classifier(str(tmp_path))
    assert [len(batch["input_ids"]) for batch in classifier.batches(TEXTS, 8)] == [1, 1, 1]
    assert classifier.logits(classifier.batches(TEXTS, 8)).shape == (3, 3)


def test_long_texts_are_cut_to_the_smallest_limit(tmp_path):
    folder = str(samples.write_model(tmp_path, max_position_embeddings=12))
    long = [("cat " * 50,)]
    assert load_classifier(folder).inputs(long)["input_ids"].shape == (1, 12)
    assert load_classifier(folder, max_length=5).inputs(long)["input_ids"].shape == (1, 5)
    assert load_classifier(folder, max_length=500).inputs(long)["input_ids"].shape == (1, 12)
    assert load_classifier(folder, max_length=3).inputs(long)["input_ids"].shape == (1, 3)
    for texts, least in ((long, 3), ([("cat", "it")], 5)):
        with pytest.raises(ValueError, match=f"max_seq_length must be at least {least} for"):
            next(load_classifier(folder, max_length=least - 1).batches(texts, 1))


def with_config(folder, **settings) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return str(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label2id": {"good": 0, "bad": 1}}, "label2id .good: 0, bad: 1. contradicts id2label .0: bad, 1: good."),
        ({"id2label": {"0": "bad", "1": "bad"}}, "gives two classes one name"),
        ({"id2label": {"1": "bad", "2": "good"}}, "must name the classes 0 to 1"),
        ({"label2id": {"bad": "0", "good": "1"}}, None),
        ({"label2id": {"LABEL_0": 0, "LABEL_1": 1}}, None),
    ],
)
def test_classes_are_named_by_id2label(tmp_path, settings, message):
    folder = samples.write_model(tmp_path)
    folder = with_config(folder, **{"id2label": {"0": "bad", "1": "good"}, **settings})
    if message is None:
        assert load_classifier(folder).label2id == {"bad": 0, "good": 1}
    else:
        with pytest.raises(ValueError, match=message):
            load_classifier(folder)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(tmp_path, device):
    with pytest.raises(ValueError, match=f"device '{device}'"):
        load_classifier(str(samples.write_model(tmp_path)), device=device)


def test_pairs_go_to_the_tokenizer_as_pairs(tmp_path):
    folder = samples.write_model(tmp_path)
    expected = AutoTokenizer.from_pretrained(folder)("a cat", "it ran", return_tensors="pt")
    found = load_classifier(str(folder)).inputs([("a cat", "it ran")])
    assert {name: value.tolist() for name, value in found.items()} == {k: v.tolist() for k, v in expected.items()}


@pytest.fixture
def vit(tmp_path):
    zoo.build("vit").save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.4] * 3, image_std=[0.2] * 3).save_pretrained(
        tmp_path
    )
    return load_classifier(str(tmp_path))


def image_rows(count: int) -> Rows:
    random = np.random.default_rng(0)
    pictures = [Image.fromarray(random.integers(0, 255, (9, 12, 3), dtype=np.uint8)) for _ in range(count)]
    return Rows("x", pictures, np.arange(count) % 3, Columns((), "image", "label"))


def test_fgsm_moves_each_pixel_by_epsilon_in_its_own_range(vit):
    rows = image_rows(5)
    clean = torch.cat([batch["pixel_values"] for batch in vit.batches(rows.inputs, 2)])
    moved = torch.cat([batch["pixel_values"] for batch in fgsm_batches(vit, rows, 0.01, 2)])
    step = (moved - clean) * 0.2  # in units of pixels in [0, 1]
    pixels = moved * 0.2 + 0.4
    inside = (pixels > 1e-4) & (pixels < 1 - 1e-4)
    assert inside.float().mean() > 0.9
    assert step[inside].abs().max().item() == pytest.approx(0.01, abs=1e-5)
    assert (pixels.min() >= -1e-5, pixels.max() <= 1 + 1e-5) == (True, True)
    losses = [
        torch.nn.functional.cross_entropy(vit.logits([{"pixel_values": x}]), torch.tensor(rows.labels))
        for x in (clean, moved)
    ]
    assert losses[1] > losses[0]


@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize("rescale", [{"do_rescale": False}, {"rescale_factor": 1 / 127.5}])
def test_fgsm_knows_the_range_of_the_pixels(vit, rescale, normal):
    numbers = {"image_mean": [0.4] * 3, "image_std": [0.2] * 3} if normal else {"do_normalize": False}
    plain = vit._replace(processor=ViTImageProcessor(size={"height": 16, "width": 16}, do_normalize=False))
    other = vit._replace(processor=ViTImageProcessor(size={"height": 16, "width": 16}, **rescale, **numbers))
    pixels, seen = (one.inputs(image_rows(2).inputs)["pixel_values"] for one in (plain, other))
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in other.pixel_statistics().values())
    torch.testing.assert_close(seen * std + mean, pixels, atol=1e-5, rtol=1e-5)


def test_noise_has_the_shape_of_the_rows(vit, tmp_path):
    name, batches = noise_batches(vit, image_rows(5), 2, seed=1)
    assert name == "Gaussian noise"
    assert [tuple(batch["pixel_values"].shape) for batch in batches] == [
        (2, 3, 16, 16),
        (2, 3, 16, 16),
        (1, 3, 16, 16),
    ]
    again = noise_batches(vit, image_rows(5), 5, seed=1)[1]
    assert torch.equal(again[0]["pixel_values"], torch.cat([batch["pixel_values"] for batch in batches]))
    text = load_classifier(str(samples.write_model(tmp_path / "text")))
    pairs = Rows("x", [("a cat", "it ran on it")] * 6, None, Columns(("a", "b"), None, None))
    name, batches = noise_batches(text, pairs, 4, seed=1)
    assert name == "random tokens"
    assert [len(batch["input_ids"]) for batch in batches] == [4, 2]
    assert batches[0]["token_type_ids"].max() == 1


def test_perturbed_rows_keep_their_labels():
    rows = Rows("x", [("a fine cat sat", "it ran")] * 4, np.array([0, 1, 2, 0]), Columns(("a", "b"), None, None))
    changed = perturbed_rows(rows, 1.0, seed=0)
    assert changed.labels is rows.labels
    assert all(len(texts) == 2 for texts in changed.inputs)
    assert changed.inputs != rows.inputs
    assert perturbed_rows(rows, 0.0, seed=0).inputs == rows.inputs
