# SPDX-License-Identifier: Apache-2.0
"""What a method makes of some images, to look at."""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from transformers import BaseImageProcessor, PreTrainedModel

from logitmix_nlp.mixing.mixers import draw_mixture
from logitmix_nlp.mixing.rng import step_generator
from logitmix_nlp.training.methods import get_method

__all__ = ["MixedExamples", "mixed_examples"]


class MixedExamples(NamedTuple):
    """Mixed images and the shares of their labels.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Mixed images, normalised as the given ones.
        index (`torch.Tensor` of shape `(B,)`): Row of each image's partner.
        lam (`torch.Tensor` of shape `(B,)`): Share of the own label; the partner's has the rest.
    """

    images: torch.Tensor
    index: torch.Tensor
    lam: torch.Tensor


def mixed_examples(
    method: str,
    model: PreTrainedModel,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    processor: BaseImageProcessor | None = None,
    seed: int = 0,
) -> MixedExamples:
    """Mix a batch as a method does in training, with a λ for each row and partners that are never the row itself.

    Args:
        method (`str`): One of `MIX_METHODS` that mixes pixels.
        model (`PreTrainedModel`): Classifier in evaluation mode; PuzzleMix takes the saliency of its loss.
        images (`torch.Tensor` of shape `(B, C, H, W)`): As the model sees them; not written to.
        labels (`torch.Tensor` of shape `(B,)`): Classes.
        processor (`BaseImageProcessor`, *optional*): Says how the images were normalised.
        seed (`int`): Of all draws.

    Returns:
        `MixedExamples`: One mixture for each image.

    Raises:
        ValueError: If the method is unknown or does not mix pixels.
    """
    preset, generator = get_method(method), step_generator(seed, 0, 0, rank=0)
    if not preset.mixes or not preset.mix_site.startswith("input"):
        raise ValueError(f"mix_method={method!r} does not mix pixels.")
    mixture, label_lam = draw_mixture(
        replace(preset, lam_per_sample=True, mix_pairing="roll"),
        len(images),
        generator,
        lambda logits: F.cross_entropy(logits, labels, reduction="sum"),
        {"pixel_values": images},
        processor,
    )
    gradient = None
    if mixture.guide is not None:
        pixels = images.detach().clone().requires_grad_()
        gradient = torch.autograd.grad(mixture.guide(model(pixels).logits), pixels)[0]
    mixed, true = mixture.blend(images, mixture.plan, gradient)
    return MixedExamples(mixed, true.index, true.lam if label_lam is None else label_lam)
