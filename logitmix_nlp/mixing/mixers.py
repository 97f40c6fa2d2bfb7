# SPDX-License-Identifier: Apache-2.0
"""How rows are mixed: what is drawn for a batch, and how it is applied to pixels or hidden states."""

from collections.abc import Callable, Mapping
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import nn

from logitmix_nlp.functional.cutmix import cutmix, sample_boxes
from logitmix_nlp.functional.lamix import lamix_shares
from logitmix_nlp.functional.mixing import MixPlan, mix, sample_plan, sent
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
from logitmix_nlp.functional.span import paste_spans, salient_spans, sample_spans, text_segments, token_saliency
from logitmix_nlp.mixing.outputs import SetupError
from logitmix_nlp.mixing.sites import INPUT, Site, find_sites, main_input

__all__ = [
    "INPUTS",
    "MIXERS",
    "PUZZLE_OPTIONS",
    "Blend",
    "Drawn",
    "Guide",
    "Mixer",
    "Mixture",
    "Start",
    "check_labels_mix",
    "check_mixer",
    "check_puzzle_options",
    "draw_mixture",
    "mix_rows",
    "mixing_sites",
    "pixel_scale",
    "special_ids",
    "unguided",
]

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


class Drawn(NamedTuple):
    """All that a mixer may need to make the [`Mixture`] of one batch.

    Args:
        plan (`MixPlan`): Pairs, and the shares that are aimed at, on the CPU.
        generator (`torch.Generator`): Source of all further draws, on the CPU.
        settings ([`MixSettings`]): Arguments of a run, or a method.
        clean_loss (`Guide`): Loss of clean logits, summed over the rows.
        inputs (`Mapping[str, Any]`): Keyword arguments of the model for the batch.
        processor (`Any`): Tokenizer or image processor, if there is one.
    """

    plan: MixPlan
    generator: torch.Generator
    settings: Any
    clean_loss: Guide
    inputs: Mapping[str, Any]
    processor: Any


class Mixer(NamedTuple):
    """A way to mix rows.

    Args:
        make (`Callable`): Makes the mixture of one batch.
        words (`str`): What it does, for model cards.
        papers (`tuple` of `str`): Entries of `BIBTEX`.
        exchanges (`str`, *optional*): The main input whose parts it exchanges, one of `INPUTS`, at the input alone.
            `None`: it averages real numbers, anywhere.
        guided (`bool`): Whether it needs the gradient of the clean loss, within the forward pass.
        own (`tuple` of `str`): Settings that have a meaning for this mixer alone.
    """

    make: Callable[[Drawn], Mixture]
    words: str
    papers: tuple[str, ...]
    exchanges: str | None = None
    guided: bool = False
    own: tuple[str, ...] = ()


def _average(drawn: Drawn) -> Mixture:
    return Mixture(drawn.plan)


def _cut_boxes(drawn: Drawn) -> Mixture:
    shares = drawn.plan.lam if drawn.settings.lam_per_sample else drawn.plan.lam[:1]
    return Mixture(drawn.plan, partial(_cut, generator=drawn.generator, shares=shares))


def _puzzle(drawn: Drawn) -> Mixture:
    puzzle = _Puzzle(drawn.generator, drawn.settings.puzzle_settings, pixel_scale(drawn.processor))
    return Mixture(drawn.plan, puzzle.blend, drawn.clean_loss, puzzle.start if puzzle.adversarial else None)


def _spans(drawn: Drawn) -> Mixture:
    mask, special = drawn.inputs.get("attention_mask"), special_ids(drawn.processor)
    blend = partial(_paste, mask=mask, special=special, generator=drawn.generator)
    return Mixture(drawn.plan, blend, drawn.clean_loss if MIXERS[drawn.settings.mixer].guided else None)


INPUTS = {"pixel_values": "pixels of images", "input_ids": "token ids of texts"}
MIXERS: dict[str, Mixer] = {
    "mixup": Mixer(_average, "λ · row + (1 − λ) · partner, at any site", ("mixup",)),
    "cutmix": Mixer(
        _cut_boxes,
        "a box of each image is replaced by that of its partner; λ is the share that stays",
        ("cutmix",),
        exchanges="pixel_values",
    ),
    "puzzlemix": Mixer(
        _puzzle,
        "what is salient in both images is kept; λ is the mean of the mask",
        ("puzzlemix",),
        exchanges="pixel_values",
        guided=True,
        own=("puzzle_options",),
    ),
    "span": Mixer(
        _spans,
        "a span of each text is replaced by one of its partner; λ is the share of the own tokens that stay",
        ("cutmix",),
        exchanges="input_ids",
    ),
    "ssmix": Mixer(
        _spans,
        "the least salient tenth of each text is replaced by the most salient span of its partner; λ is the share of "
        "the own tokens that stay",
        ("ssmix",),
        exchanges="input_ids",
        guided=True,
    ),
}


def unguided() -> str:
    """The mixers that take no gradient within the forward pass, as advice."""
    return "mixer=" + " or ".join(repr(name) for name, mixer in MIXERS.items() if not mixer.guided)


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


def mixing_sites(name: str, model: nn.Module, text: str) -> list[Site]:
    """Where a mixer mixes: at the input if it exchanges parts of that, else as [`find_sites`] reads `text`."""
    return [Site("input", INPUT)] if MIXERS[name].exchanges else find_sites(model, text)


def special_ids(processor: Any) -> torch.Tensor:
    """Ids of the tokens that spans leave where they are: all special ones but a token for unknown words.

    Raises:
        ValueError: If there is no tokenizer.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    if not hasattr(tokenizer, "all_special_ids"):
        raise ValueError(
            "Spans of tokens are mixed between special tokens, which the tokenizer knows: pass it as processing_class."
        )
    ends = {getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "cls", "sep", "pad")}
    return torch.tensor(
        [token for token in tokenizer.all_special_ids if token != tokenizer.unk_token_id or token in ends]
    )


def check_mixer(name: str, model: nn.Module, processor: Any, *, sharded: bool) -> None:
    """Refuse mixers of an input that the model does not take, and gradients within a pass of sharded parameters.

    Raises:
        ValueError: Saying which methods such a model can use, or that a tokenizer is missing.
    """
    mixer, main = MIXERS[name], main_input(model)
    if mixer.guided and sharded:
        raise ValueError(
            f"mixer={name!r} takes a gradient inside the forward pass, which FSDP and DeepSpeed do not allow: use "
            f"plain DDP (torchrun), or choose {unguided()}."
        )
    if mixer.exchanges not in (None, main):
        raise ValueError(
            f"mixer={name!r} mixes {INPUTS[mixer.exchanges]}, but {type(model).__name__} takes {main}: choose "
            "mix_method='mixup', 'manifold_mixup', 'logitmix' or 'lamix', which mix hidden states of any model."
        )
    if mixer.exchanges == "input_ids":
        special_ids(processor)


def check_labels_mix(name: str, labels: torch.Tensor) -> None:
    """Refuse mixers that move tokens from one place to another for labels of tokens, `(B, T)`, which would stay.

    Raises:
        SetupError: Saying what to choose.
    """
    if MIXERS[name].exchanges == "input_ids" and labels.dim() == 2 and not labels.is_floating_point():
        raise SetupError(
            f"mixer={name!r} moves tokens to other places of a text, and the labels of this data are those of tokens, "
            "which would stay where they are: choose mix_method='mixup', 'manifold_mixup', 'logitmix' or 'lamix'."
        )


def pixel_scale(processor: Any) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation by which an image processor normalises pixels in `[0, 1]`, for each channel.

    `None` for one that does not, and for tokenizers.
    """
    return (processor.image_mean, processor.image_std) if getattr(processor, "do_normalize", False) else None


def _cut(
    images: torch.Tensor, plan: MixPlan, gradient: None, *, generator: torch.Generator, shares: torch.Tensor
) -> tuple[torch.Tensor, MixPlan]:
    device = images.device if len(shares) > 1 else "cpu"  # one box for all is cut by the host
    return cutmix(images, plan, sample_boxes(shares, *images.shape[-2:], generator=generator, device=device))


def _paste(
    ids: torch.Tensor,
    plan: MixPlan,
    gradient: torch.Tensor | None,
    *,
    mask: torch.Tensor | None,
    special: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, MixPlan]:
    segments = text_segments(ids, mask, sent(special, ids.device))
    if gradient is None:
        spans = sample_spans(segments, plan, generator=generator)
    else:
        spans = salient_spans(segments, plan, token_saliency(gradient))
    return paste_spans(ids, segments, plan, spans)


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
        options, noise, pairs = dict(self._options), self._noise, plan
        if plan.own is not None:  # a batch of the rows that take part, own ones first; what is not wanted is cut off
            taken = torch.cat([plan.own, plan.index])
            images, gradient = images[taken], gradient[taken]
            noise = None if noise is None else noise[taken]
            pairs = MixPlan(torch.arange(len(taken), device=taken.device).roll(len(plan.own)), plan.lam.repeat(2))
        if "grid" not in options:
            options["grid"] = sample_grid(min(images.shape[-2:]), generator=self._generator)
        if noise is not None:
            noise = adversarial_noise(noise, gradient, self._adv_eps, self._draw.length)
            perturbed = perturb(images, noise, mean, std)
            options["first"] = perturbed if self._draw.first else None
            options["second"] = perturbed if self._draw.second else None
        mixed, true = puzzlemix(images, pairs, saliency(gradient), std=std, **options)
        return mixed[: len(plan.index)], plan._replace(lam=true.lam[: len(plan.index)])

    def _scale(self, images: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        return (None, None) if self._pixels is None else tuple(images.new_tensor(part) for part in self._pixels)


def draw_mixture(
    settings: Any,
    rows: int,
    generator: torch.Generator,
    clean_loss: Guide,
    inputs: Mapping[str, Any],
    processor: Any = None,
    device: torch.device | str = "cpu",
) -> tuple[Mixture, torch.Tensor | None]:
    """Draw the mixture of one batch.

    Args:
        settings ([`MixSettings`]): Arguments of a run, or a method.
        rows (`int`): Rows of the batch, `B`.
        generator (`torch.Generator`): Source of all draws, on the CPU.
        clean_loss (`Guide`): Loss of clean logits, summed over the rows.
        inputs (`Mapping[str, Any]`): Keyword arguments of the model for the batch.
        processor (`Any`): Tokenizer or image processor, if there is one.
        device (`torch.device` or `str`): Where the plan goes.

    Returns:
        `tuple`: The mixture, and the shares `(B,)` of the own labels if these are not those of the rows.

    Raises:
        ValueError: See [`functional.sample_plan`] and [`functional.lamix_shares`].
    """
    plan = sample_plan(
        rows, settings.mix_alpha, per_sample=settings.lam_per_sample, pairing=settings.mix_pairing,
        share=settings.mix_share, generator=generator,
    )  # fmt: skip
    plan, label_lam = lamix_shares(plan, mix_lam=settings.mix_lam, label_lam=settings.label_lam)
    drawn = Drawn(plan, generator, settings, clean_loss, inputs, processor)
    mixture = MIXERS[settings.mixer].make(drawn)
    return mixture._replace(plan=plan.to(device)), None if label_lam is None else sent(label_lam, device)
