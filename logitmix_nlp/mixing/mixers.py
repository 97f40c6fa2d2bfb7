# SPDX-License-Identifier: Apache-2.0
"""How rows are mixed: what is drawn for a batch, and how it is applied to pixels or hidden states."""

from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import nn

from logitmix_nlp.functional.cutmix import cutmix, sample_boxes
from logitmix_nlp.functional.lamix import lamix_shares
from logitmix_nlp.functional.mixing import MixPlan, mix, sample_plan
from logitmix_nlp.functional.puzzlemix import (
    adversarial_noise,
    check_settings,
    perturb,
    puzzlemix,
    saliency,
    sample_adversarial,
    sample_grid,
    start_noise,
)
from logitmix_nlp.functional.puzzlemix.adversarial import check_adv_eps, check_adv_prob
from logitmix_nlp.mixing.sites import main_input

__all__ = [
    "MIXERS",
    "PUZZLE_OPTIONS",
    "Blend",
    "Guide",
    "Mixture",
    "Start",
    "check_mixer",
    "check_puzzle_options",
    "draw_mixture",
    "make_mixture",
    "mix_rows",
    "pixel_scale",
]

MIXERS = ("mixup", "cutmix", "puzzlemix")
ADVERSARIAL_OPTIONS = ("adv_prob", "adv_eps")
PUZZLE_OPTIONS = (
    "grid", "n_labels", "beta", "gamma", "eta", "neigh_size", "t_eps", "t_size", "quality", *ADVERSARIAL_OPTIONS,
)  # fmt: skip
ADV_EPS = 10.0  # in units of 1/255, as the authors
PIXEL_SLACK = 0.01  # how far beyond [0, 1] pixels may lie, for images resized or rounded
Blend = Callable[[torch.Tensor, MixPlan, torch.Tensor | None], tuple[torch.Tensor, MixPlan]]
Guide = Callable[[torch.Tensor], torch.Tensor]
Start = Callable[[torch.Tensor], torch.Tensor]


def mix_rows(x: torch.Tensor, plan: MixPlan, gradient: torch.Tensor | None = None) -> tuple[torch.Tensor, MixPlan]:
    """Mixup of rows of any shape, as a [`Blend`]: the mixed rows, and the plan, whose λ is true as it is."""
    return mix(x, plan), plan


class Mixture(NamedTuple):
    """All that is drawn for one batch.

    Args:
        plan (`MixPlan`): Pairs, and the shares that are aimed at.
        blend (`Blend`): Takes rows, the plan and the gradient of `guide` by the rows; returns the mixed rows and the
            plan with the true share of each row, which every term of the loss must use.
        guide (`Guide`, *optional*): Clean loss as a function of the clean logits, if `blend` needs its gradient.
        start (`Start`, *optional*): Where that gradient is taken, as a function of the rows; at the rows if not given.
    """

    plan: MixPlan
    blend: Blend = mix_rows
    guide: Guide | None = None
    start: Start | None = None


def make_mixture(
    name: str,
    plan: MixPlan,
    generator: torch.Generator,
    clean_loss: Guide,
    *,
    per_sample: bool,
    puzzle_options: dict[str, Any],
    pixels: tuple[list[float], list[float]] | None,
) -> Mixture:
    """Draw what a mixer needs besides the plan.

    Args:
        name (`str`): One of `MIXERS`.
        plan (`MixPlan`): Pairs and shares.
        generator (`torch.Generator`): Source of the boxes and grids, on the CPU.
        clean_loss (`Guide`): Loss of clean logits, summed over the rows.
        per_sample (`bool`): Whether each row has a λ of its own, and so a box of its own.
        puzzle_options (`dict[str, Any]`): Arguments of [`functional.puzzlemix`] out of `PUZZLE_OPTIONS`; a grid that
            is not given is drawn for each batch. `adv_prob` above 0 switches on the adversarial option, with steps of
            `adv_eps / 255` (10 if not given).
        pixels (pair of `list[float]`, *optional*): How pixels were normalised, see [`pixel_scale`].

    Returns:
        `Mixture`: For one batch.
    """
    if name == "cutmix":
        return Mixture(plan, partial(_cut, generator=generator, per_sample=per_sample))
    if name == "puzzlemix":
        puzzle = _Puzzle(generator, puzzle_options, pixels)
        return Mixture(plan, puzzle.blend, clean_loss, puzzle.start if puzzle.adversarial else None)
    return Mixture(plan)


def check_puzzle_options(options: dict[str, Any]) -> None:
    """Check options of PuzzleMix by name, as far as that can be done without images.

    Raises:
        ValueError: If one is of another type or out of range, or `adv_eps` is given without `adv_prob`.
    """
    check_settings({name: value for name, value in options.items() if name not in ADVERSARIAL_OPTIONS})
    for name in ADVERSARIAL_OPTIONS:
        if not isinstance(options.get(name, 0.0), Real):
            raise ValueError(f"{name} must be a number, got {options[name]!r}.")
    if "adv_eps" in options and "adv_prob" not in options:
        raise ValueError(f"adv_eps={options['adv_eps']} has no meaning without adv_prob (the authors use 0.1).")
    check_adv_prob(options.get("adv_prob", 0.0))
    check_adv_eps(options.get("adv_eps", ADV_EPS))


def check_mixer(name: str, model: nn.Module, *, sharded: bool) -> None:
    """Refuse mixers of pixels for models that take none, and gradients within the forward pass of sharded parameters.

    Raises:
        ValueError: Saying which methods such a model can use.
    """
    if name == "puzzlemix" and sharded:
        raise ValueError(
            "mixer='puzzlemix' takes a gradient inside the forward pass, which FSDP and DeepSpeed do not allow: use "
            "plain DDP (torchrun), or choose mixer='cutmix' or 'mixup'."
        )
    if name != "mixup" and main_input(model) != "pixel_values":
        raise ValueError(
            f"mixer={name!r} mixes pixels, but {type(model).__name__} takes {main_input(model)}: choose "
            "mix_method='mixup', 'manifold_mixup', 'logitmix' or 'lamix', which mix hidden states of any model."
        )


def pixel_scale(processor: Any) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation by which an image processor normalises pixels in `[0, 1]`, for each channel.

    `None` for one that does not, and for tokenizers.
    """
    return (processor.image_mean, processor.image_std) if getattr(processor, "do_normalize", False) else None


def _cut(
    images: torch.Tensor, plan: MixPlan, gradient: None, *, generator: torch.Generator, per_sample: bool
) -> tuple[torch.Tensor, MixPlan]:
    shares, device = (plan.lam, images.device) if per_sample else (plan.lam[:1], "cpu")
    return cutmix(images, plan, sample_boxes(shares, *images.shape[-2:], generator=generator, device=device))


class _Puzzle:
    """PuzzleMix of one batch; with the adversarial option, noise is drawn in `start` and spent in `blend`."""

    def __init__(
        self,
        generator: torch.Generator,
        options: dict[str, Any],
        pixels: tuple[list[float], list[float]] | None,
    ):
        self._generator, self._pixels = generator, pixels
        self._options = {name: value for name, value in options.items() if name not in ADVERSARIAL_OPTIONS}
        self._adv_eps, self.adversarial = options.get("adv_eps", ADV_EPS), bool(options.get("adv_prob", 0.0))
        self._draw = sample_adversarial(options["adv_prob"], generator=generator) if self.adversarial else None
        self._noise: torch.Tensor | None = None

    def start(self, images: torch.Tensor) -> torch.Tensor:
        """Images with noise at which the gradient is taken, in the batches that are perturbed."""
        mean, std = self._scale(images)
        bounds = torch.stack([images.amin((0, 2, 3)), images.amax((0, 2, 3))])
        bounds = bounds if mean is None else bounds * std + mean
        low, high = bounds.min().item(), bounds.max().item()
        if low < -PIXEL_SLACK or high > 1.0 + PIXEL_SLACK:
            raise ValueError(
                f"adv_prob keeps perturbed pixels in [0, 1], but those of a batch lie in [{low:.3g}, {high:.3g}]: "
                "pass the image processor that normalised them as processing_class, or set adv_prob to 0."
            )
        if not (self._draw.first or self._draw.second):
            return images
        seed = int(torch.randint(2**62, (), generator=self._generator))
        local = torch.Generator(images.device).manual_seed(seed)  # drawn where the images are, which is faster
        self._noise = start_noise(images, self._adv_eps, mean, std, generator=local)
        return perturb(images, self._noise, mean, std)

    def blend(self, images: torch.Tensor, plan: MixPlan, gradient: torch.Tensor) -> tuple[torch.Tensor, MixPlan]:
        """Mix, with own images or partners a step against the model away where the draw says so."""
        mean, std = self._scale(images)
        options = dict(self._options)
        if "grid" not in options:
            options["grid"] = sample_grid(min(images.shape[-2:]), generator=self._generator)
        if self._noise is not None:
            noise = adversarial_noise(self._noise, gradient, self._adv_eps, self._draw.length)
            perturbed = perturb(images, noise, mean, std)
            options["first"] = perturbed if self._draw.first else None
            options["second"] = perturbed if self._draw.second else None
        return puzzlemix(images, plan, saliency(gradient), std=std, **options)

    def _scale(self, images: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        return (None, None) if self._pixels is None else tuple(images.new_tensor(part) for part in self._pixels)


def draw_mixture(
    settings: Any,
    rows: int,
    generator: torch.Generator,
    clean_loss: Guide,
    *,
    per_sample: bool,
    pairing: str,
    puzzle_options: dict[str, Any],
    pixels: tuple[list[float], list[float]] | None,
    device: torch.device | str = "cpu",
) -> tuple[Mixture, torch.Tensor | None]:
    """Draw the mixture of one batch.

    Args:
        settings ([`LogitMixTrainingArguments`] or [`MixMethod`]): `mixer`, `mix_alpha`, `mix_lam` and `label_lam` are
            read.
        rows (`int`): Rows of the batch, `B`.
        generator (`torch.Generator`): Source of all draws, on the CPU.
        clean_loss (`Guide`): Loss of clean logits, summed over the rows.
        per_sample (`bool`): Whether each row has a λ of its own.
        pairing (`str`): Partners within the batch, one of `PAIRINGS`.
        puzzle_options (`dict[str, Any]`): See [`make_mixture`].
        pixels (pair of `list[float]`, *optional*): How pixels were normalised, see [`pixel_scale`].
        device (`torch.device` or `str`): Where the plan goes.

    Returns:
        `tuple`: The mixture, and the shares `(B,)` of the own labels if these are not those of the rows.

    Raises:
        ValueError: See [`functional.sample_plan`] and [`functional.lamix_shares`].
    """
    drawn = sample_plan(
        rows, settings.mix_alpha, per_sample=per_sample, pairing=pairing, generator=generator, device=device
    )
    plan, label_lam = lamix_shares(drawn, mix_lam=settings.mix_lam, label_lam=settings.label_lam)
    mixture = make_mixture(
        settings.mixer,
        plan,
        generator,
        clean_loss,
        per_sample=per_sample,
        puzzle_options=puzzle_options,
        pixels=pixels,
    )
    return mixture, label_lam
