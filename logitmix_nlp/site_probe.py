# SPDX-License-Identifier: Apache-2.0
"""Look before you mix: learn how a model passes rows through its blocks, and check that mixing there is right."""

from typing import Any

import torch
from torch import nn

from logitmix_nlp.functional.losses import logit_similarity
from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.outputs import logits_of
from logitmix_nlp.rows import take_rows
from logitmix_nlp.site_mixer import SiteMixer
from logitmix_nlp.sites import INPUT, Site

__all__ = ["probe"]


@torch.no_grad()
def probe(
    mixer: SiteMixer, model: nn.Module, inputs: dict[str, Any], rows: int, sites: list[Site], *, needs_similarity: bool
) -> None:
    """Prepare `mixer` for `model` with a few rows of a real batch, in evaluation mode; no random number is drawn.

    Args:
        mixer (`SiteMixer`): Installed on the model.
        model (`nn.Module`): What to call; the model as wrapped for training where its parameters are sharded.
        inputs (`dict[str, Any]`): Keyword arguments for a batch, without labels.
        rows (`int`): Rows in the batch.
        sites (`list[Site]`): Where rows will be mixed.
        needs_similarity (`bool`): Whether the similarity term has a weight.

    Raises:
        ValueError: If the architecture does not allow mixing at a site, since rows that are their own partners do not
            come out unchanged; or if the similarity term vanishes at every site, since only affine maps follow.
    """
    training = model.training
    model.eval()
    try:
        if any(site.depth != INPUT for site in sites):
            mixer.learn(lambda size: model(**_padded(inputs, rows, size)), [site.depth for site in sites])
        few = min(rows, 4)
        some = take_rows(inputs, rows, torch.arange(few))
        gaps = [_check(mixer, model, some, few, site) for site in sites]
    finally:
        mixer.deactivate()
        model.train(training)
    if needs_similarity and few > 1 and max(gaps) < 1e-5:
        names = ", ".join(site.name for site in sites)
        raise ValueError(
            f"At {names} the similarity term is identically zero in {type(model).__name__}: only affine maps follow. "
            "Choose an earlier site, or set sim_weight to 0."
        )


def _padded(inputs: dict[str, Any], rows: int, size: int) -> dict[str, Any]:
    """`size` copies of the first row, with one masked position so that masks are not optimised away."""
    copies = take_rows(inputs, rows, torch.zeros(size, dtype=torch.long))
    mask = copies.get("attention_mask")
    if mask is not None and mask.shape[-1] > 1:
        mask = mask.clone()
        mask[..., -1] = 0
        copies["attention_mask"] = mask
    return copies


def _check(mixer: SiteMixer, model: nn.Module, inputs: dict[str, Any], rows: int, site: Site) -> float:
    """Refuse a site that changes unmixed rows; return how far from affine the rest of the model is."""
    expected = logits_of(model(**inputs), model)
    selves = MixPlan(torch.arange(rows), torch.full((rows,), 0.5)).to(expected.device)
    found = logits_of(model(**mixer.activate(inputs, selves, site, keep_clean=True)), model)
    mixer.deactivate()
    off = (found - torch.cat([expected, expected])).abs().max() / expected.abs().max().clamp(min=1e-30)
    if not off < (1e-3 if expected.dtype == torch.float32 else 5e-2):
        raise ValueError(
            f"{type(model).__name__} cannot be mixed at {site.name}: rows that are their own partners change their "
            f"logits by {off:.2g} of the largest, so something besides the blocks depends on the batch. Try another "
            "site; mix_method='vanilla' trains any classifier."
        )
    others = MixPlan(selves.index.roll(1), torch.linspace(0.35, 0.65, rows).to(expected.device))
    found = logits_of(model(**mixer.activate(inputs, others, site, keep_clean=True)), model)
    mixer.deactivate()
    spread = (expected - expected.mean(0)).abs().max().clamp(min=1e-30)
    return (logit_similarity(found[:rows], found[rows:], others, norm="l2") / spread).item()
