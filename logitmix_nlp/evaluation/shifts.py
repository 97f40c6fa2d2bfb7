# SPDX-License-Identifier: Apache-2.0
"""Inputs for a robustness check: noise, adversarial pixels and misspelt texts, as batches of the model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from logitmix_nlp.evaluation.classifier import Classifier
from logitmix_nlp.evaluation.data.labelled_rows import Rows
from logitmix_nlp.evaluation.robustness import fgsm, gaussian_noise_images, perturb_words, random_token_texts

__all__ = ["fgsm_batches", "noise_batches", "perturbed_rows"]


def noise_batches(classifier: Classifier, rows: Rows, batch_size: int, seed: int) -> tuple[str, list[dict[str, Any]]]:
    """As many rows of noise as there are rows: Gaussian pixels, or texts of random tokens of the mean length.

    Args:
        classifier (`Classifier`): Whose inputs they are.
        rows (`Rows`): Real rows, for their number, size and length.
        batch_size (`int`): Rows at a time.
        seed (`int`): Of the noise.

    Returns:
        `tuple[str, list[dict]]`: What the noise is, and its batches.
    """
    generator = torch.Generator().manual_seed(seed)
    if not classifier.is_text:
        size = tuple(classifier.inputs(rows.inputs[:1])["pixel_values"].shape[1:])
        noise = gaussian_noise_images(len(rows), size, generator)
        return "Gaussian noise", [{"pixel_values": images} for images in noise.split(batch_size)]
    columns = [
        random_token_texts(len(rows), _mean_length(classifier, column), classifier.processor, generator)
        for column in zip(*rows.inputs, strict=True)
    ]
    return "random tokens", list(classifier.batches(list(zip(*columns, strict=True)), batch_size))


def perturbed_rows(rows: Rows, rate: float, seed: int) -> Rows:
    """The texts with a share of their words changed; labels stay. See [`perturb_words`]."""
    return replace(rows, inputs=perturb_words(rows.inputs, rate, torch.Generator().manual_seed(seed)))


def fgsm_batches(
    classifier: Classifier, rows: Rows, epsilon: float, batch_size: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of images, each moved by `epsilon` to where the loss of its label rises. See [`fgsm`]."""
    labels, start = torch.as_tensor(rows.labels), 0
    for batch in classifier.batches(rows.inputs, batch_size):
        images = batch["pixel_values"]
        piece = labels[start : start + len(images)]
        yield {"pixel_values": fgsm(classifier.model, images, piece, epsilon, **classifier.pixel_statistics())}
        start += len(images)


def _mean_length(classifier: Classifier, texts: tuple[str, ...]) -> int:
    """Tokens of a text on the average, those cut off and special ones left out."""
    limit = {"truncation": classifier.max_length is not None, "max_length": classifier.max_length}
    pieces = classifier.processor(list(texts), add_special_tokens=False, **limit)["input_ids"]
    return max(1, round(sum(map(len, pieces)) / len(pieces)))
