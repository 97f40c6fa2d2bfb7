# SPDX-License-Identifier: Apache-2.0
"""Adversarial pixels, noise, random tokens and MC dropout, with finite differences and plain loops as references."""

import pytest
import samples
import tiny
import torch
import zoo
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer

from logitmix_nlp.evaluation.robustness import (
    fgsm,
    gaussian_noise_images,
    mc_dropout_logits,
    ood_table,
    random_token_texts,
)
from logitmix_nlp.functional import auroc, ensemble_scores, false_positive_rate, ood_scores

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, size: int = 16, **kind) -> torch.Tensor:
    """Pixels in [0, 1], none nearer than 0.1 to the ends."""
    return torch.rand(count, 3, size, size, generator=seeded(2), **kind) * 0.8 + 0.1


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


# ---- FGSM ----


def test_fgsm_steps_along_the_sign_of_finite_differences():
    model, labels = zoo.build("vit").double().eval(), torch.tensor([0, 2])
    pixels = images(2, dtype=torch.float64)
    step = (fgsm(model, pixels, labels, 0.03) - pixels) / 0.03
    assert torch.allclose(step.abs(), torch.ones_like(step))
    generator = seeded()
    for row in range(2):
        for place in torch.randint(3 * 16 * 16, (12,), generator=generator).tolist():
            nudge = torch.zeros(3 * 16 * 16, dtype=torch.float64)
            nudge[place] = 1e-5
            nudge = nudge.view(1, 3, 16, 16)
            with torch.no_grad():
                ends = [F.cross_entropy(model(x).logits, labels[row : row + 1]) for x in (
                    pixels[row : row + 1] + nudge, pixels[row : row + 1] - nudge)]  # fmt: skip
            slope = (ends[0] - ends[1]) / 2e-5
            assert abs(slope) > 1e-8
            assert step[row].flatten()[place].sign() == slope.sign()


def test_fgsm_raises_the_loss_in_the_units_of_the_processor():
    model, labels = zoo.build("resnet").eval(), torch.arange(6) % 3
    pixels = normalised(images(6, 32))
    before = pixels.clone()
    found = fgsm(model, pixels, labels, 8 / 255, mean=MEAN, std=STD)
    moved = ((found - pixels) * torch.tensor(STD).view(3, 1, 1)).abs()
    assert (moved - 8 / 255).abs()[moved > 1e-6].max() < 1e-6
    assert pixels.equal(before)
    with torch.no_grad():
        assert F.cross_entropy(model(found).logits, labels) > F.cross_entropy(model(pixels).logits, labels) + 0.01
    torch.testing.assert_close(fgsm(model, pixels, labels, 0.0, mean=MEAN, std=STD), pixels)


def test_fgsm_stays_within_valid_pixels():
    model = zoo.build("vit")
    pixels = normalised(torch.rand(4, 3, 16, 16, generator=seeded()).round())  # all of them black or white
    found = fgsm(model, pixels, torch.arange(4) % 3, 0.3, mean=MEAN, std=STD)
    back = found * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert back.min() > -1e-6
    assert back.max() < 1 + 1e-6
    steps = (back - (pixels * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1))).abs()
    fgsm(model, pixels[:1], torch.tensor([0]), 1.0, mean=MEAN, std=STD)
    assert (torch.minimum(steps, (steps - 0.3).abs()) < 1e-6).all()  # the whole step, or none where it leads outside
    assert 0.2 < (steps > 0.15).float().mean() < 0.8


def test_fgsm_of_a_row_does_not_depend_on_the_others_not_even_with_batch_normalisation():
    model, pixels, labels = zoo.build("resnet").train(), images(5, 32), torch.arange(5) % 3
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    together = fgsm(model, pixels, labels, 0.05)
    apart = torch.cat([fgsm(model, pixels[i : i + 1], labels[i : i + 1], 0.05) for i in range(5)])
    assert (together != apart).float().mean() < 1e-3  # signs of slopes of rounding size
    assert all(buffer.equal(statistics[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_fgsm_leaves_the_model_as_it_was(context):
    model = zoo.build("vit").train()
    model.classifier.eval()
    parameter = model.classifier.weight
    parameter.grad = torch.full_like(parameter, 7.0)
    with context():
        pixels, labels = images(2), torch.tensor([1, 2])
        found = fgsm(model, pixels, labels, 0.1)
    assert not found.requires_grad
    assert found.equal(fgsm(model, pixels, labels, 0.1))
    assert model.training
    assert not model.classifier.training
    assert (parameter.grad == 7).all()
    assert all(p.grad is None for p in model.parameters() if p is not parameter)


def test_fgsm_restores_modes_after_an_error():
    model = zoo.build("vit").train()
    with pytest.raises(ValueError, match=r"Training labels must be in \[0, 3\), got 3 in row 1"):
        fgsm(model, images(2), torch.tensor([0, 3]), 0.1)
    assert all(module.training for module in model.modules())


def test_fgsm_refuses_impossible_input():
    model, labels = zoo.build("vit"), torch.tensor([0, 1])
    for epsilon in (-0.1, 8, float("nan")):
        with pytest.raises(ValueError, match=r"epsilon must lie in \[0, 1\]"):
            fgsm(model, images(2), labels, epsilon)
    with pytest.raises(ValueError, match=r"lie in \[-.*give image_mean"):
        fgsm(model, normalised(images(2)), labels, 0.1)
    with pytest.raises(ValueError, match="one number for each of 3 channels"):
        fgsm(model, images(2), labels, 0.1, mean=[0.5])
    with pytest.raises(ValueError, match="std must be above 0"):
        fgsm(model, images(2), labels, 0.1, std=[1, 0, 1])
    with pytest.raises(ValueError, match="do not fit logits"):
        fgsm(model, images(2), labels[:1], 0.1)
    with pytest.raises(TypeError, match="scale bytes by 1/255"):
        fgsm(model, torch.zeros(2, 3, 16, 16, dtype=torch.uint8), labels, 0.1)


# ---- Noise ----


def test_noise_images_have_the_mean_and_deviation_asked_for():
    noise = gaussian_noise_images(200, (3, 16, 16), seeded(), mean=0.4, std=0.2)
    assert noise.shape == (200, 3, 16, 16)
    count = noise.numel()
    assert noise.mean().item() == pytest.approx(0.4, abs=4 * 0.2 / count**0.5)
    assert noise.std().item() == pytest.approx(0.2, abs=4 * 0.2 / (2 * count) ** 0.5)
    assert gaussian_noise_images(2, (1, 4, 4), seeded()).equal(gaussian_noise_images(2, (1, 4, 4), seeded()))
    for size in ((4, 4), (3, 0, 4)):
        with pytest.raises(ValueError, match="channels, height, width"):
            gaussian_noise_images(2, size)
    with pytest.raises(ValueError, match="n >= 1"):
        gaussian_noise_images(0, (3, 4, 4))
    for numbers in ({"std": 0.0}, {"std": float("inf")}, {"mean": float("inf")}, {"mean": -float("inf")}):
        with pytest.raises(ValueError, match="mean must be finite, and std finite and above 0"):
            gaussian_noise_images(2, (3, 4, 4), **numbers)
    torch.testing.assert_close(
        gaussian_noise_images(1, (1, 2, 2), seeded()), torch.randn(1, 1, 2, 2, generator=seeded())
    )


def test_random_tokens_come_from_the_whole_vocabulary_without_special_tokens(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(samples.write_model(tmp_path))
    plain = sorted(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens))
    texts = random_token_texts(200, 12, tokenizer, seeded())
    assert texts == random_token_texts(200, 12, tokenizer, seeded())
    assert len(set(texts)) == 200
    drawn = [token for text in texts for token in tokenizer.tokenize(text)]
    assert set(drawn) == set(plain)
    assert len(drawn) / 200 == pytest.approx(12, rel=0.2)
    for n, length in ((3, 0), (0, 3)):
        with pytest.raises(ValueError, match=f"must be at least 1, got {n} and {length}"):
            random_token_texts(n, length, tokenizer)


def test_table_has_one_line_per_set():
    inside = torch.randn(50, 3, generator=seeded(1)) * 4
    sets = {"other": torch.randn(40, 3, generator=seeded(2)), "noise": torch.randn(30, 3, generator=seeded(3)) * 2}
    table = ood_table(inside, sets)
    assert [line["data"] for line in table] == ["in distribution", "other", "noise"]
    assert [line["rows"] for line in table] == [50, 40, 30]
    own = ood_scores(inside)
    assert set(table[0]) == {"data", "rows", "confidence", "entropy"}
    assert table[0]["entropy"] == own.entropy.mean().item()
    for line, logits in zip(table[1:], sets.values(), strict=True):
        scores = ood_scores(logits)
        assert line["confidence"] == scores.confidence.mean().item()
        assert line["auroc"] == auroc(own.confidence, scores.confidence).item()
        assert line["fpr95"] == false_positive_rate(own.confidence, scores.confidence).item()
    with pytest.raises(ValueError, match="No rows from outside"):
        ood_table(inside, {})


# ---- MC dropout ----


def halves(count: int) -> list[dict]:
    examples = tiny.rows(count)
    return [tiny.collate(examples[: count // 2]), tiny.collate(examples[count // 2 :])]


def test_mc_dropout_averages_passes_with_dropout_modules_alone_in_training_mode():
    model = tiny.bert(dropout=0.3).eval()
    batches = halves(6)
    scores = mc_dropout_logits(model, iter(batches), 5, seeded(4))
    for module in model.modules():
        module.training = isinstance(module, nn.Dropout)
    torch.manual_seed(int(torch.randint(2**62, (), generator=seeded(4))))
    expected = []
    with torch.no_grad():
        for batch in batches:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            expected.append(ensemble_scores(torch.stack([model(**inputs).logits for _ in range(5)])))
    for found, parts in zip(scores, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(found, torch.cat(parts), rtol=1e-9, atol=1e-12)
    assert scores.log_probs.shape == (6, 3)
    assert (scores.mutual_information > 0).all()
    torch.testing.assert_close(scores.log_probs.exp().sum(-1), torch.ones(6, dtype=torch.float64))


def test_mc_dropout_approaches_the_plain_prediction_as_dropout_vanishes():
    model, batches = tiny.bert(dropout=1e-6).eval(), halves(4)
    model.dropout.p = 0.05  # that of the head drops something, but hardly moves the mean
    scores = mc_dropout_logits(model, batches, 200, seeded())
    with torch.no_grad():
        plain = torch.cat([model(**{k: v for k, v in b.items() if k != "labels"}).logits for b in batches])
    assert (scores.log_probs.exp() - plain.double().softmax(-1)).abs().max() < 0.05
    assert scores.mutual_information.max() < 0.1


def test_mc_dropout_gives_modes_and_random_state_back():
    model, batches = tiny.bert(dropout=0.2).train(), halves(4)
    model.bert.encoder.layer[1].eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    first = mc_dropout_logits(model, batches, 3, seeded(1))
    assert torch.get_rng_state().equal(state)
    assert [module.training for module in model.modules()] == modes
    torch.manual_seed(99)
    assert first.log_probs.equal(mc_dropout_logits(model, batches, 3, seeded(1)).log_probs)
    assert not first.log_probs.equal(mc_dropout_logits(model, batches, 3, seeded(2)).log_probs)
    unlabelled = [{**batch, "labels": torch.full_like(batch["labels"], -1)} for batch in batches]  # GLUE's test sets
    assert first.log_probs.equal(mc_dropout_logits(model, unlabelled, 3, seeded(1)).log_probs)
    with pytest.raises(ValueError, match="No batches"):
        mc_dropout_logits(model, [], 3)
    assert [module.training for module in model.modules()] == modes


def test_batch_normalisation_keeps_its_statistics():
    model = zoo.build("mobilenet_v2", classifier_dropout_prob=0.5).train()
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    batch = zoo.batch("mobilenet_v2", 4)
    together = mc_dropout_logits(model, [batch], 2, seeded())
    assert all(buffer.equal(statistics[name]) for name, buffer in model.named_buffers())
    assert together.log_probs.isfinite().all()


def test_mc_dropout_without_dropout_is_refused():
    with pytest.raises(ValueError, match="no dropout module with a probability above 0"):
        mc_dropout_logits(tiny.bert(), halves(4), 3)
    attention_only = tiny.bert(attention_probs_dropout_prob=0.5)
    with pytest.raises(ValueError, match="All 3 passes .* are alike: it calls none of its 4 dropout modules"):
        mc_dropout_logits(attention_only, halves(4), 3)
    with pytest.raises(ValueError, match="passes must be at least 1"):
        mc_dropout_logits(tiny.bert(dropout=0.1), halves(4), 0)
