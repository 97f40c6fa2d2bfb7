# SPDX-License-Identifier: Apache-2.0
"""Look before you mix: learn how a model passes rows through its blocks, and check that mixing there is right."""

from typing import Any

import torch
from torch import nn

from logitmix_nlp.functional.losses import logit_similarity
from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.outputs import SetupError, logits_of
from logitmix_nlp.rows import take_rows
from logitmix_nlp.site_mixer import SiteMixer
from logitmix_nlp.sites import INPUT, Site

__all__ = ["probe"]

ROW_NOTES = ("token_type_ids", "position_ids")
LAYERDROP = ("layerdrop", "encoder_layerdrop")


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
) -> None:
    """Prepare `mixer` for `model` with a few rows of a real batch, in evaluation mode; no random number is drawn.

    Args:
        mixer (`SiteMixer`): Installed on the model.
        model (`nn.Module`): What to call; the model as wrapped for training where its parameters are sharded.
        inputs (`dict[str, Any]`): Keyword arguments for a batch, without labels.
        rows (`int`): Rows in the batch.
        sites (`list[Site]`): Where rows will be mixed.
        needs_similarity (`bool`): Whether the similarity term has a weight.
        needs_bends (`bool`): Whether a nonlinearity must follow each site, as where one is drawn (Manifold Mixup).

    Raises:
        SetupError: If the architecture does not allow mixing at a site: rows that are their own partners do not come
            out unchanged, or rows replaced by their partners do not come out as these; or blocks are skipped at
            random; or the similarity term vanishes at every site, since only affine maps follow; or, with
            `needs_bends`, only affine maps follow one of them.
    """
    if getattr(model.config, "_attn_implementation", None) == "flex_attention":
        raise SetupError("Mixing needs masks as tensors: load the model with attn_implementation='sdpa' or 'eager'.")
    dropped = [name for name in LAYERDROP if getattr(model.config, name, 0.0)]
    if dropped and any(site.depth != INPUT for site in sites):
        raise SetupError(
            f"{type(model).__name__} skips blocks at random, and mixing needs each of them: set "
            f"config.{dropped[0]} to 0."
        )
    training = model.training
    model.eval()
    try:
        if any(site.depth != INPUT for site in sites):
            mixer.learn(lambda size: model(**_padded(inputs, rows, size)), [site.depth for site in sites])
        few = min(rows, 4)
        some = take_rows(inputs, rows, torch.arange(few))
        gaps = [_examine(mixer, model, some, few, site) for site in sites]
    finally:
        mixer.deactivate()
        model.train(training)
    flat = [site.name for site, gap in zip(sites, gaps, strict=True) if gap < 1e-5]
    if needs_bends and few > 1 and flat and len(flat) < len(sites):
        raise SetupError(
            f"One of {len(sites)} sites is drawn per step, but behind {', '.join(flat)} of {type(model).__name__} "
            "only affine maps follow, so that mixing there teaches hidden layers nothing (Manifold Mixup): leave "
            "it out of mix_site."
        )
    if needs_similarity and few > 1 and len(flat) == len(sites):
        names = ", ".join(site.name for site in sites)
        raise SetupError(
            f"At {names} the similarity term is identically zero in {type(model).__name__}: only affine maps follow. "
            "Choose an earlier site, or set sim_weight to 0."
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


def _examine(mixer: SiteMixer, model: nn.Module, inputs: dict[str, Any], rows: int, site: Site) -> float:
    """Refuse a site at which mixing is not what it should be; return how far from affine the rest of the model is."""
    try:
        expected = logits_of(model(**inputs), model)
        index = torch.arange(rows, device=expected.device)
        half, zero = torch.full_like(index, 0.5, dtype=torch.float32), torch.zeros(rows, device=expected.device)
        selves, swap = MixPlan(index, half), MixPlan(index.roll(1), zero)
        found = _logits(mixer, model, inputs, selves, site)
        _compare(found, torch.cat([expected, expected]), model, site, "rows that are their own partners")
        _compare(
            _logits(mixer, model, inputs, selves, site, keep_clean=False), expected, model, site, "mixed rows alone"
        )
        alike = _alike(inputs)
        if alike is not None:
            whole = logits_of(model(**alike), model)
            found = _logits(mixer, model, alike, swap, site)[rows:]
            _compare(found, whole[swap.index], model, site, "rows replaced by their partners")
        others = MixPlan(swap.index, torch.linspace(0.35, 0.65, rows, device=expected.device))
        found = _logits(mixer, model, inputs, others, site)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise SetupError(f"{type(model).__name__} cannot be mixed at {site.name}: {error}") from error
    spread = (expected - expected.mean(0)).abs().max().clamp(min=1e-30)
    return (logit_similarity(found[:rows], found[rows:], others, norm="l2") / spread).item()


def _logits(
    mixer: SiteMixer, model: nn.Module, inputs: dict[str, Any], plan: MixPlan, site: Site, *, keep_clean: bool = True
) -> torch.Tensor:
    logits = logits_of(model(**mixer.activate(inputs, plan, site, keep_clean=keep_clean)), model)
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


def _compare(found: torch.Tensor, expected: torch.Tensor, model: nn.Module, site: Site, what: str) -> None:
    if found.shape != expected.shape:
        raise SetupError(
            f"{type(model).__name__} cannot be mixed at {site.name}: it returns logits of {tuple(found.shape)}, "
            f"expected {tuple(expected.shape)}."
        )
    off = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    if not off < (1e-3 if expected.dtype == torch.float32 else 5e-2):
        raise SetupError(
            f"{type(model).__name__} cannot be mixed at {site.name}: {what} do not have the logits they should, off "
            f"by {off:.2g} of the largest, so something besides the blocks carries the rows. Try another site; "
            "mix_method='vanilla' trains any classifier."
        )
