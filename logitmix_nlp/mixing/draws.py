# SPDX-License-Identifier: Apache-2.0
"""What one batch is mixed by: partners, shares and the mixer's own draws, in the order that training draws them."""

from typing import Any

import torch

from logitmix_nlp.functional.lamix import lamix_shares
from logitmix_nlp.functional.mixing import sample_plan
from logitmix_nlp.mixing.mixers import Guide, Mixture, make_mixture

__all__ = ["draw_mixture"]


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
