# SPDX-License-Identifier: Apache-2.0
"""The adversarial option of PuzzleMix: a step against the model, made with the gradient that saliency needs anyway."""

from typing import NamedTuple

import torch

__all__ = [
    "AdversarialDraw",
    "adversarial_noise",
    "check_adv_eps",
    "check_adv_prob",
    "perturb",
    "sample_adversarial",
    "start_noise",
]


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


def sample_adversarial(adv_prob: float, *, generator: torch.Generator | None = None) -> AdversarialDraw:
    """Draw whether own images and partners are perturbed, and how far.

    Args:
        adv_prob (`float`): Probability of each of both, in `[0, 1]`; the authors use 0.1 for CIFAR and 0.15 for
            Tiny-ImageNet.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU. Defaults to the global one.

    Returns:
        `AdversarialDraw`: If neither is perturbed, nothing else needs to be done.

    Raises:
        ValueError: If `adv_prob` lies outside `[0, 1]`.
    """
    check_adv_prob(adv_prob)
    first, second, length = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    return AdversarialDraw(first < adv_prob, second < adv_prob, length)


def start_noise(
    images: torch.Tensor,
    adv_eps: float,
    mean: torch.Tensor | None = None,
    std: torch.Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw the noise at which the gradient is taken: `U(-adv_eps, adv_eps) / 255`, cut to keep pixels in `[0, 1]`.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): As the model sees them, not written to.
        adv_eps (`float`): Largest change of a pixel, in units of 1/255, above 0; the authors use 10.
        mean (`torch.Tensor` of shape `(C,)`, *optional*): What was subtracted from pixels in `[0, 1]`; 0 if not given.
        std (`torch.Tensor` of shape `(C,)`, *optional*): What they were then divided by; 1 if not given.
        generator (`torch.Generator`, *optional*): Source of randomness, on the device of the images.

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: In units of pixels in `[0, 1]`. [`perturb`] adds it.

    Raises:
        ValueError: If `adv_eps` is not a finite number above 0.
    """
    check_adv_eps(adv_eps)
    mean, std = _scale(images, mean, std)
    draw = torch.rand(images.shape, generator=generator, dtype=images.dtype, device=images.device)
    noise = draw.mul_(2.0).sub_(1.0).mul_(adv_eps / 255.0)
    pixels = torch.addcmul(mean, images, std)
    return noise.clamp_(-pixels, 1.0 - pixels)


def check_adv_prob(adv_prob: float) -> None:
    """Refuse a probability outside `[0, 1]`.

    Raises:
        ValueError: Naming it.
    """
    if not 0.0 <= adv_prob <= 1.0:
        raise ValueError(f"adv_prob must lie in [0, 1], got {adv_prob}.")


def check_adv_eps(adv_eps: float) -> None:
    """Refuse a size of the adversarial step that is not a finite number above 0.

    Raises:
        ValueError: Naming it.
    """
    if not 0.0 < adv_eps < float("inf"):
        raise ValueError(f"adv_eps must be a finite number above 0 (the authors use 10), got {adv_eps}.")


def adversarial_noise(noise: torch.Tensor, gradient: torch.Tensor, adv_eps: float, length: float) -> torch.Tensor:
    """Take a signed gradient step of `(adv_eps + 2) / 255` from the noise, stay within `adv_eps / 255`, shorten it.

    Args:
        noise (`torch.Tensor` of shape `(B, C, H, W)`): From [`start_noise`].
        gradient (`torch.Tensor` of shape `(B, C, H, W)`): Of the loss by the images, at `perturb(images, noise)`; its
            saliency is the one for [`puzzlemix`]. Entries that are not a number make no step.
        adv_eps (`float`): As for [`start_noise`].
        length (`float`): From [`sample_adversarial`].

    Returns:
        `torch.Tensor` of shape `(B, C, H, W)`: Noise for [`perturb`], in units of pixels in `[0, 1]`.
    """
    step = torch.add(noise, gradient.sign().nan_to_num_(0.0), alpha=(adv_eps + 2.0) / 255.0)
    return step.clamp_(-adv_eps / 255.0, adv_eps / 255.0).mul_(length)


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
    mean, std = _scale(images, mean, std)
    return torch.addcdiv(images, noise, std).clamp_(-mean / std, (1.0 - mean) / std)


def _scale(
    images: torch.Tensor, mean: torch.Tensor | None, std: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    mean = images.new_zeros(1) if mean is None else mean.to(images)
    std = images.new_ones(1) if std is None else std.to(images)
    return mean.view(-1, 1, 1), std.view(-1, 1, 1)
