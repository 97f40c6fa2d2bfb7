# SPDX-License-Identifier: Apache-2.0
"""Look before you mix: run a few rows through a model, and check that mixing at the chosen sites is right."""

from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from logitmix_nlp.functional.losses import logit_similarity
from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.mixing.guided_pass import check_embedding
from logitmix_nlp.mixing.model_modes import evaluation_mode, stirred
from logitmix_nlp.mixing.outputs import SetupError, logits_of
from logitmix_nlp.mixing.rows import take_rows
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import INPUT, Site, main_input

__all__ = ["probe"]

ROW_NOTES = ("token_type_ids", "position_ids")
LAYERDROP = ("layerdrop", "encoder_layerdrop")
FLAT = 1e-5  # below this share of the spread of the logits, the rest of the model is affine

logger = logging.get_logger(__name__)


@torch.no_grad()
def probe(
    mixer: SiteMixer,
    model: nn.Module,
    inputs: dict[str, Any],
    rows: int,
    sites: list[Site],
    *,
    needs_similarity: bool,
    needs_bends: bool = False,
    keeps: Collection[bool] = (True, False),
    guided: bool = False,
    sharded: bool = False,
) -> None:
    """Prepare `mixer` for `model` with a few rows of a real batch, in evaluation mode; no random number is drawn.

    Where all rows have the same logits, which would prove nothing, it looks at [`stirred`] weights and rows; if
    that does not help either, it warns.

    Args:
        mixer (`SiteMixer`): Installed on the model.
        model (`nn.Module`): What to call; the model as wrapped for training where its parameters are sharded.
        inputs (`dict[str, Any]`): Keyword arguments for a batch, without labels.
        rows (`int`): Rows in the batch.
        sites (`list[Site]`): Where rows will be mixed.
        needs_similarity (`bool`): Whether the similarity term has a weight.
        needs_bends (`bool`): Whether a nonlinearity must follow each site, as where one is drawn (Manifold Mixup).
        keeps (`Collection[bool]`): The values of `keep_clean` that will be used, see [`SiteMixer.activate`].
        guided (`bool`): Whether mixtures need the gradient of the clean loss by the input.
        sharded (`bool`): Whether the parameters are sharded. All processes then make the same forward passes, whatever
            they see, and change no weight.

    Raises:
        SetupError: If the architecture does not allow mixing at a site: rows that are their own partners do not come
            out unchanged, or rows replaced by their partners do not come out as these; or blocks are skipped at
            random; or the similarity term vanishes at every site, since only affine maps follow; or, with
            `needs_bends`, only affine maps follow one of them.
    """
    main = main_input(model)
    if not inputs[main].is_floating_point() and all(site.depth == INPUT for site in sites):
        if guided:  # else mixed ids are ids like any others, and there is nothing to look at
            with evaluation_mode(model):
                check_embedding(model, take_rows(inputs, rows, torch.arange(min(rows, 2))), main)
        return
    if getattr(model.config, "_attn_implementation", None) == "flex_attention":
        raise SetupError("Mixing needs masks as tensors: load the model with attn_implementation='sdpa' or 'eager'.")
    dropped = [name for name in LAYERDROP if getattr(model.config, name, 0.0)]
    if dropped and any(site.depth != INPUT for site in sites):
        raise SetupError(
            f"{type(model).__name__} skips blocks at random, and mixing needs each of them: set "
            f"config.{dropped[0]} to 0."
        )
    few = min(rows, 4)
    some = take_rows(inputs, rows, torch.arange(few))
    look = partial(_examine, mixer, model, rows=few, keeps=keeps, retry=not sharded)
    with evaluation_mode(model), ExitStack() as stack:
        if any(site.depth != INPUT for site in sites):
            mixer.learn(lambda size: model(**_padded(inputs, rows, size)), [site.depth for site in sites])
        told = few == 1 or _tells_rows_apart(model, some)
        gaps = [look(some, site) for site in sites] if told or sharded else []
        doubtful = not gaps or (min(gaps) < FLAT and (needs_similarity or needs_bends))
        if doubtful and few > 1 and not sharded:
            other = stack.enter_context(stirred(model, some, main))
            seen = _tells_rows_apart(model, other)
            if seen or not gaps:
                told, gaps = seen, [look(other, site) for site in sites]
    if few == 1:
        return
    if not told:
        logger.warning(
            f"{type(model).__name__} gives all rows the same logits, also with other inputs, so that its mixing at "
            f"{', '.join(site.name for site in sites)} could not be checked. This is no problem if it learns."
        )
        return
    flat = [site.name for site, gap in zip(sites, gaps, strict=True) if gap < FLAT]
    if needs_bends and flat and len(flat) < len(sites):
        raise SetupError(
            f"One of {len(sites)} sites is drawn per step, but behind {', '.join(flat)} of {type(model).__name__} "
            "only affine maps follow, so that mixing there teaches hidden layers nothing (Manifold Mixup): leave "
            "it out of mix_site."
        )
    if needs_similarity and len(flat) == len(sites):
        names = ", ".join(site.name for site in sites)
        raise SetupError(
            f"At {names} the similarity term is identically zero in {type(model).__name__}: only affine maps follow. "
            "Choose an earlier site, or set sim_weight to 0."
        )


def _tells_rows_apart(model: nn.Module, inputs: dict[str, Any]) -> bool:
    """Whether logits differ between rows by more than the tolerance of the checks, with padding and without."""
    batches = [batch for batch in (inputs, _alike(inputs)) if batch is not None]
    outputs = [logits_of(model(**batch), model) for batch in batches]  # all of them, as sharded models need it
    spreads = [(logits - logits.mean(0)).abs().max() for logits in outputs]
    return all(
        spread > 1e-4 and spread > max(3e-3, 3 * torch.finfo(logits.dtype).eps) * logits.abs().max()
        for spread, logits in zip(spreads, outputs, strict=True)
    )


def _padded(inputs: dict[str, Any], rows: int, size: int) -> dict[str, Any]:
    """`size` copies of the first row, half of them masked so that masks are not optimised away."""
    copies = take_rows(inputs, rows, torch.zeros(size, dtype=torch.long))
    mask = copies.get("attention_mask")
    if mask is not None and mask.shape[-1] > 1:
        mask = mask.clone()
        mask[..., mask.shape[-1] // 2 :] = 0
        copies["attention_mask"] = mask
    return copies


def _examine(
    mixer: SiteMixer,
    model: nn.Module,
    inputs: dict[str, Any],
    site: Site,
    *,
    rows: int,
    keeps: Collection[bool],
    retry: bool,
) -> float:
    """Refuse a site at which mixing is not what it should be; return how far from affine the rest of the model is."""
    try:
        return _check_and_measure(mixer, model, inputs, rows, site, keeps)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        if not retry or site.depth == INPUT or mixer.runs_all_rows(site):
            raise _refusal(model, site, error) from error
    mixer.run_all_rows(site)
    return _examine(mixer, model, inputs, site, rows=rows, keeps=keeps, retry=False)


def _check_and_measure(
    mixer: SiteMixer, model: nn.Module, inputs: dict[str, Any], rows: int, site: Site, keeps: Collection[bool]
) -> float:
    expected = logits_of(model(**inputs), model)
    index = torch.arange(rows, device=expected.device)
    half, zero = torch.full_like(index, 0.5, dtype=torch.float32), torch.zeros(rows, device=expected.device)
    selves, swap = MixPlan(index, half), MixPlan(index.roll(1), zero)
    others = MixPlan(swap.index, torch.linspace(0.35, 0.65, rows, device=expected.device))
    alike = _alike(inputs)
    whole = None if alike is None else logits_of(model(**alike), model)
    for keep in keeps:
        run = partial(_logits, mixer, model, site=site, keep_clean=keep)
        _compare(run(inputs, selves), torch.cat([expected] * (1 + keep)), "rows that are their own partners")
        if alike is not None:
            _compare(run(alike, swap)[-rows:], whole[swap.index], "rows replaced by their partners")
        mixed = run(inputs, others)[-rows:]
    spread = (expected - expected.mean(0)).abs().max().clamp(min=1e-30)
    return (logit_similarity(expected, mixed, others, norm="l2") / spread).item()


def _refusal(model: nn.Module, site: Site, error: Exception) -> SetupError:
    why = str(error) if isinstance(error, SetupError) else f"its own code fails on a batch with mixed rows ({error})"
    return SetupError(
        f"{type(model).__name__} cannot be mixed at {site.name}: {why}. Try another site; mix_method='vanilla' trains "
        "any classifier."
    )


def _logits(
    mixer: SiteMixer, model: nn.Module, inputs: dict[str, Any], plan: MixPlan, *, site: Site, keep_clean: bool
) -> torch.Tensor:
    try:
        logits = logits_of(model(**mixer.activate(inputs, plan, site, keep_clean=keep_clean)), model)
    finally:
        mixer.deactivate()
    return logits if keep_clean else logits[-len(plan.index) :]


def _alike(inputs: dict[str, Any]) -> dict[str, Any] | None:
    """Inputs whose rows differ in their content alone: no padding, and token types and positions of the first row.

    `None` for texts without a mask, where padding cannot be told from content.
    """
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if ids is None:
        return inputs if mask is None else None
    if mask is None or mask.shape != ids.shape:
        return None
    first = ids.gather(1, mask.argmax(1, keepdim=True))  # a real token of each row, in place of padding
    same = {name: inputs[name][:1].expand_as(inputs[name]) for name in ROW_NOTES if name in inputs}
    return {
        **inputs,
        **same,
        "input_ids": torch.where(mask.bool(), ids, first),
        "attention_mask": torch.ones_like(mask),
    }


def _compare(actual: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    if actual.shape != expected.shape:
        raise SetupError(f"it returns logits of {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    off = (actual - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    if not off < (1e-3 if expected.dtype == torch.float32 else 5e-2):
        raise SetupError(
            f"{what} do not have the logits they should, off by {off:.2g} of the largest, so something besides the "
            "blocks carries the rows"
        )
