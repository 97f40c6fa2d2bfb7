# SPDX-License-Identifier: Apache-2.0
"""The adversarial option of PuzzleMix: a step against the model, made with the gradient that saliency needs anyway."""

from typing import NamedTuple

import torch

__all__ = ["AdversarialDraw", "adversarial_noise", "perturb", "sample_adversarial", "start_noise"]


class AdversarialDraw(NamedTuple):
    """What one batch does with its adversarial noise.

    Args:
        first (`bool`): Whether own images get it.
        second (`bool`): Whether partners get it.
        length (`float`): Share of the full step, in `[0, 1)`.
    """

    first: bool
    second: bool
    length: float


def sample_adversarial(probability: float, *, generator: torch.Generator | None = None) -> AdversarialDraw:
    """Draw whether own images and partners are perturbed, and how far.

    Args:
        probability (`float`): Of each of both, in `[0, 1]`; the authors use 0.1 (CIFAR) or 0.15 (Tiny-ImageNet).
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU. Defaults to the global one.

    Returns:
        `AdversarialDraw`: If neither is perturbed, nothing else needs to be done.

    Raises:
        ValueError: If `probability` lies outside `[0, 1]`.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability must lie in [0, 1], got {probability}.")
    first, second, length = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    return AdversarialDraw(first < probability, second < probability, length)


def start_noise(images: torch.Tensor, epsilon: float, *, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw the noise at which the gradient is taken: `U(-epsilon, epsilon) / 255`.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Give shape, dtype and device.
        epsilon (`float`): Largest change of a pixel, in units of 1/255; the authors use 10.
        generator (`torch.Generator`, *optional*): Source of randomness, on the device of the images.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: In units of pixels in `[0, 1]`. [`perturb`] adds it.
    """
    draw = torch.rand(images.shape, generator=generator, dtype=images.dtype, device=images.device)
    return draw.mul_(2.0).sub_(1.0).mul_(epsilon / 255.0)


def adversarial_noise(noise: torch.Tensor, gradient: torch.Tensor, epsilon: float, length: float) -> torch.Tensor:
    """Take a signed gradient step of `(epsilon + 2) / 255` from the noise, stay within `epsilon / 255`, shorten it.

    Args:
        noise (`torch.Tensor` of shape `(B, C, H, W)`): From [`start_noise`].
        gradient (`torch.Tensor` of shape `(B, C, H, W)`): Of the loss by the images, at `perturb(images, noise)`; its
            saliency is the one for [`puzzlemix`].
        epsilon (`float`): As for [`start_noise`].
        length (`float`): From [`sample_adversarial`].

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: Noise for [`perturb`], in units of pixels in `[0, 1]`.
    """
    step = noise + (epsilon + 2.0) / 255.0 * gradient.sign()
    return step.clamp_(-epsilon / 255.0, epsilon / 255.0).mul_(length)


def perturb(
    images: torch.Tensor, noise: torch.Tensor, mean: torch.Tensor | None = None, std: torch.Tensor | None = None
) -> torch.Tensor:
    """Add noise to images and keep their pixels in `[0, 1]`. Pass the result to [`puzzlemix`] as `first` or `second`.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): As the model sees them, not written to.
        noise (`torch.Tensor` of shape `(B, C, H, W)`): In units of pixels in `[0, 1]`.
        mean (`torch.Tensor` of shape `(C,)`, *optional*): What was subtracted from pixels in `[0, 1]`; 0 if not given.
        std (`torch.Tensor` of shape `(C,)`, *optional*): What they were then divided by; 1 if not given.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: `((images * std + mean + noise).clamp(0, 1) - mean) / std`.
    """
    mean = images.new_zeros(1) if mean is None else mean.to(images)
    std = images.new_ones(1) if std is None else std.to(images)
    mean, std = mean.view(-1, 1, 1), std.view(-1, 1, 1)
    return torch.addcdiv(images, noise, std).clamp_(-mean / std, (1.0 - mean) / std)
