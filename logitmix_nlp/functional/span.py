# SPDX-License-Identifier: Apache-2.0
"""Mixing of texts by regions: a span of tokens is replaced by one of the partner's; λ is what is left, counted."""

from typing import NamedTuple

import torch

from logitmix_nlp.functional.checks import check_pairs
from logitmix_nlp.functional.mixing import MixPlan, sent

__all__ = ["Spans", "paste_spans", "salient_spans", "sample_spans", "text_segments", "token_saliency"]


class Spans(NamedTuple):
    """What is replaced in each of `B` rows: one span in each of `S` segments.

    Args:
        own (`torch.LongTensor` of shape `(B, S)`): First position that is replaced.
        partner (`torch.LongTensor` of shape `(B, S)`): First position of the partner's span that takes its place.
        width (`torch.LongTensor` of shape `(B, S)`): Tokens of both spans; 0 replaces nothing.
    """

    own: torch.Tensor
    partner: torch.Tensor
    width: torch.Tensor


def text_segments(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, special_ids: torch.Tensor
) -> torch.Tensor:
    """Number the texts of each row: special tokens and padding end one, whatever side is padded.

    Args:
        input_ids (`torch.LongTensor` of shape `(B, T)`): Token ids.
        attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 0 at padding. `None`: no padding.
        special_ids (`torch.LongTensor` of shape `(K,)`): Ids of the special tokens; may be empty.

    Returns:
        `torch.LongTensor` of shape `(B, T)`: 1 at the tokens of the first text of a row, 2 at those of the second (the
        other of a pair), …; 0 at special tokens and padding.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if input_ids.dim() != 2 or (attention_mask is not None and attention_mask.shape != input_ids.shape):
        mask = None if attention_mask is None else tuple(attention_mask.shape)
        raise ValueError(
            f"Spans need token ids and an attention mask of shape (B, T), got {tuple(input_ids.shape)} and {mask}."
        )
    content = ~torch.isin(input_ids, special_ids)
    if attention_mask is not None:
        content = content & attention_mask.bool()
    before = torch.nn.functional.pad(content[:, :-1], (1, 0))
    return (content & ~before).long().cumsum(1) * content


def sample_spans(segments: torch.Tensor, plan: MixPlan, *, generator: torch.Generator | None = None) -> Spans:
    """Draw a span of each row and one of its partner, of `round((1 - lam) * length)` tokens in each segment.

    A span is at most as long as the shorter of the two segments; both starts are uniform.

    Args:
        segments (`torch.LongTensor` of shape `(B, T)`): From [`text_segments`].
        plan (`MixPlan`): Pairs, and the wanted share of a row's own tokens.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU. Defaults to the global one.

    Returns:
        `Spans`: For [`paste_spans`], which counts the true shares.
    """
    start, length, starts, others, limit = _bounds(segments, plan)
    wanted = ((1.0 - plan.lam.to(segments.device).double())[:, None] * length).round().long()
    width = wanted.minimum(limit)
    # Text by text, so that the draws of the first ones do not depend on how many there might be.
    draws = torch.rand(length.shape[1], 2, len(length), dtype=torch.float64, generator=generator)
    draws = sent(draws.permute(1, 2, 0), segments.device)
    own = start + (draws[0] * (length - width + 1)).long()
    partner = starts + (draws[1] * (others - width + 1)).long()
    return Spans(own, partner, width)


def token_saliency(gradient: torch.Tensor) -> torch.Tensor:
    """Saliency of each token: the norm of the clean loss's gradient by its embedding (SSMix).

    Args:
        gradient (`torch.Tensor` of shape `(B, T, D)`): Gradient of the loss, summed over rows, by the embeddings.

    Returns:
        `torch.Tensor` of shape `(B, T)`: At least 0.
    """
    return torch.linalg.vector_norm(gradient.float(), dim=-1)


def salient_spans(segments: torch.Tensor, plan: MixPlan, saliency: torch.Tensor, *, window: float = 0.1) -> Spans:
    """Choose the least salient span of each row and the most salient one of its partner (SSMix).

    Spans have `max(1, floor(window * length))` tokens of the row's own segment; a segment whose partner is shorter
    than that stays as it is (the authors' code). Of several equal ones the first is taken.

    [SSMix](https://arxiv.org/abs/2106.08062): Yoon et al., Findings of ACL 2021.

    Args:
        segments (`torch.LongTensor` of shape `(B, T)`): From [`text_segments`].
        plan (`MixPlan`): Pairs; λ is not used.
        saliency (`torch.Tensor` of shape `(B, T)`): From [`token_saliency`].
        window (`float`): Share of a segment that is replaced, in `(0, 1]`.

    Returns:
        `Spans`: For [`paste_spans`].

    Raises:
        ValueError: If `window` is out of range or the shapes differ.
    """
    if not 0.0 < window <= 1.0:
        raise ValueError(f"window must lie in (0, 1], got {window}.")
    if saliency.shape != segments.shape:
        raise ValueError(f"saliency must have shape {tuple(segments.shape)}, got {tuple(saliency.shape)}.")
    start, length, starts, others, limit = _bounds(segments, plan)
    wanted = (length.double() * window).floor().long().clamp(min=1)
    width = torch.where(wanted <= limit, wanted, 0)
    own = _extreme_window(plan.first(saliency), plan.first(segments), start + length, width, largest=False)
    partner = _extreme_window(saliency[plan.index], segments[plan.index], starts + others, width, largest=True)
    return Spans(own, partner, width)


def paste_spans(
    input_ids: torch.Tensor, segments: torch.Tensor, plan: MixPlan, spans: Spans
) -> tuple[torch.Tensor, MixPlan]:
    """Replace spans of each row by those of its partner; special tokens, padding and lengths stay.

    Args:
        input_ids (`torch.LongTensor` of shape `(B, T)`): Token ids, not written to.
        segments (`torch.LongTensor` of shape `(B, T)`): From [`text_segments`].
        plan (`MixPlan`): Pairs; its λ is not used here.
        spans (`Spans`): From [`sample_spans`] or [`salient_spans`].

    Returns:
        `tuple[torch.LongTensor, MixPlan]`: Mixed ids, and the plan with the true share of each row's own content
        tokens, for every term of the loss; 1 for rows without content.

    Raises:
        ValueError: If the plan has other rows than the ids.
    """
    check_pairs(input_ids, plan)
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)[None, :, None]
    first, width = spans.own[:, None], spans.width[:, None]
    inside = (positions >= first) & (positions < first + width)  # (B, T, S); at most one segment holds a position
    shift = (inside * (spans.partner - spans.own)[:, None]).sum(-1)
    source = positions[..., 0] + shift
    mixed = torch.where(inside.any(-1), input_ids[plan.index].gather(1, source), plan.first(input_ids))
    content = (plan.first(segments) > 0).sum(1)
    lam = 1.0 - spans.width.sum(1).double() / content.clamp(min=1)
    return mixed, plan._replace(lam=lam.to(plan.lam.device, torch.float32))


def _bounds(segments: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, ...]:
    """Starts and lengths `(B, S)` of the own segments, the same of the partners', and the shorter lengths of both."""
    positions = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    count = max((segments.shape[1] + 1) // 2, 1)  # as many as fit; the CPU may be asked how many there are
    if segments.device.type == "cpu" and segments.numel():
        count = max(int(segments.max()), 1)
    length = _of_segments(torch.ones_like(segments), segments, count, "sum", 0)
    start = _of_segments(positions, segments, count, "amin", segments.shape[1]) * (length > 0)
    own, others = plan.first(length), length[plan.index]
    return plan.first(start), own, start[plan.index], others, own.minimum(others)


def _of_segments(x: torch.Tensor, segments: torch.Tensor, count: int, reduce: str, start: float) -> torch.Tensor:
    """Values of the tokens `(B, T)` put together for each segment: `(B, S)`."""
    whole = x.new_full((len(x), count + 1), start)
    return whole.scatter_reduce(1, segments, x, reduce)[:, 1:]


def _of_tokens(x: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """For each token `(B, T)` what is known of its segment; of the first, where a token is in none."""
    return x.gather(1, (segments - 1).clamp(min=0))


def _extreme_window(
    saliency: torch.Tensor, segments: torch.Tensor, end: torch.Tensor, width: torch.Tensor, *, largest: bool
) -> torch.Tensor:
    """First position `(B, S)` of the window with the largest or smallest sum inside each segment."""
    tokens, count = saliency.shape[1], width.shape[1]
    finite = torch.where(saliency.isfinite(), saliency, 0).double()
    sums = torch.nn.functional.pad(finite.cumsum(1), (1, 0))
    first = torch.arange(tokens, device=saliency.device).expand_as(segments)
    last = first + _of_tokens(width, segments)
    fits = (segments > 0) & (last <= _of_tokens(end, segments))
    worst = float("-inf") if largest else float("inf")
    window = torch.where(fits, sums.gather(1, last.clamp(max=tokens)) - sums[:, :-1], worst)
    best = _of_segments(window, segments, count, "amax" if largest else "amin", worst)
    hit = fits & (window == _of_tokens(best, segments))
    place = _of_segments(torch.where(hit, first, tokens), segments, count, "amin", tokens)
    return torch.where(place < tokens, place, 0)
