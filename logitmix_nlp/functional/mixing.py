# SPDX-License-Identifier: Apache-2.0
"""What is mixed with what, and how much: plans, and their use on tensors."""

import math
from typing import NamedTuple

import torch

from logitmix_nlp.functional.checks import check_out, check_pairs

__all__ = ["PAIRINGS", "MixPlan", "PartialPlan", "mix", "mixture_count", "sample_plan", "sent", "union_mask"]

PAIRINGS = ("permutation", "roll")


class MixPlan(NamedTuple):
    """Pairs and shares of one batch of `B` rows: row `i` becomes `lam[i] * x[i] + (1 - lam[i]) * x[index[i]]`.

    Args:
        index (`torch.LongTensor` of shape `(B,)`): Partner row of each row, in `[0, B)`. A row may be its own partner.
        lam (`torch.Tensor` of shape `(B,)`): Share of the row's own example, in `[0, 1]`; 1 leaves the row unmixed,
            0 replaces it by its partner.
    """

    index: torch.Tensor
    lam: torch.Tensor

    @property
    def own(self) -> torch.Tensor | None:
        """The rows that get a mixture; `None` for all, see [`PartialPlan`]."""
        return None

    def first(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of `x` that come first in each mixture."""
        return x if self.own is None else x[self.own]

    def to(self, device: torch.device | str) -> "MixPlan":
        """Return the plan with its tensors on `device`."""
        return self._replace(index=sent(self.index, device), lam=sent(self.lam, device))


class PartialPlan(MixPlan):
    """A [`MixPlan`] in which `M` of the `B` rows get a mixture: `lam[i] * x[own[i]] + (1 - lam[i]) * x[index[i]]`.

    Whatever is mixed by it, or counted by mixture, has `M` rows.

    Args:
        index (`torch.LongTensor` of shape `(M,)`): Partner rows, in `[0, B)`.
        lam (`torch.Tensor` of shape `(M,)`): Shares of the rows `own`.
        own (`torch.LongTensor` of shape `(M,)`): The rows that get a mixture, in `[0, B)`.
    """

    own = None

    def __new__(cls, index: torch.Tensor, lam: torch.Tensor, own: torch.Tensor) -> "PartialPlan":
        """Make the pair of index and shares, with the rows beside it."""
        plan = super().__new__(cls, index, lam)
        plan.own = own
        return plan

    def _replace(self, **changed: torch.Tensor) -> "PartialPlan":
        return PartialPlan(*super()._replace(**changed), self.own)

    def to(self, device: torch.device | str) -> "PartialPlan":
        """Return the plan with its tensors on `device`."""
        return PartialPlan(*super().to(device), sent(self.own, device))


def sent(x: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """What was drawn on the CPU, on `device`; the host does not wait for it to arrive."""
    device = torch.device(device)
    if device.type == "cpu" or x.device.type != "cpu":
        return x.to(device)
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


def mixture_count(rows: int, share: float) -> int:
    """How many rows get a mixture: the share of them, rounded up, so that half of an odd batch leaves no row out.

    Args:
        rows (`int`): Rows of a batch, at least 1.
        share (`float`): In `(0, 1]`.

    Returns:
        `int`: From 1 to `rows`.
    """
    return min(rows, math.ceil(round(rows * share, 9)))


def sample_plan(
    batch_size: int,
    alpha: float,
    *,
    per_sample: bool = False,
    pairing: str = "permutation",
    share: float = 1.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> MixPlan:
    """Draw pairs and λ ~ Beta(α, α) ([mixup](https://arxiv.org/abs/1710.09412), Eq. 1).

    Args:
        batch_size (`int`): Number of rows, at least 1.
        alpha (`float`): Shape of the Beta distribution, above 0: towards 0 rows stay almost unmixed, 1 is uniform,
            large values mix half and half.
        per_sample (`bool`): Draw one λ per row instead of one per batch.
        pairing (`str`): `"permutation"`, the paper's, where a row is its own partner once per batch on average; or
            `"roll"`, row `i` with row `(i + k) mod B` for one k ~ U{1, …, B - 1}: never with itself, as fair if the
            loader shuffles, and faster for images (see [`mix`]).
        share (`float`): Share of the rows that get a mixture, in `(0, 1]`, see [`mixture_count`]. Below 1 no row is
            its own partner; with ½ each takes part in one pair, or with an odd number of rows one of them in two.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU. Defaults to the global one.
        device (`torch.device`, *optional*): Where the plan is wanted; the draw itself is made on the CPU, so that it
            does not depend on the device.

    Returns:
        `MixPlan`: Permutation and float32 shares, both of shape `(batch_size,)`; or a [`PartialPlan`] of fewer.

    Raises:
        ValueError: If `batch_size < 1`, `alpha` is not a finite number above 0, `share` out of range, or `pairing`
            unknown.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if not 0.0 < alpha < float("inf"):
        raise ValueError(f"alpha must be a finite number above 0 (the paper's value is 3.0), got {alpha}.")
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing must be one of {', '.join(PAIRINGS)}, got {pairing!r}.")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must lie in (0, 1], got {share}.")
    count = mixture_count(batch_size, share)
    if pairing == "permutation":
        index = torch.randperm(batch_size, generator=generator)
    else:
        shift = torch.randint(int(count == batch_size), max(batch_size, 2), (1,), generator=generator)
        index = (torch.arange(batch_size) + shift) % batch_size
    lam = _sample_beta(float(alpha), count if per_sample else 1, generator).float()
    plan = MixPlan(index, lam.expand(count).contiguous())
    if count < batch_size:  # both pairings are an order of the rows, too: its first `count`, and those behind them
        plan = PartialPlan(index.roll(-count)[:count], plan.lam, index[:count])
    return plan.to(device or "cpu")


def _sample_beta(alpha: float, count: int, generator: torch.Generator | None) -> torch.Tensor:
    """Draw from Beta(α, α) as a ratio of Gamma draws in log space, which does not underflow for tiny α.

    G ~ Gamma(α + 1) and U ~ U(0, 1] make G * U^(1/α) a draw from Gamma(α). `torch.distributions` takes no generator,
    hence the sampler below it.
    """
    shape = torch.full((2, count), alpha + 1.0, dtype=torch.float64)
    gamma = torch._standard_gamma(shape, generator=generator)
    uniform = 1.0 - torch.rand((2, count), dtype=torch.float64, generator=generator)
    first, second = gamma.log() + uniform.log() / alpha
    return torch.sigmoid(first - second)


def mix(x: torch.Tensor, plan: MixPlan, *, out: torch.Tensor | None = None) -> torch.Tensor:
    """Mix each row with its partner: `lam * x + (1 - lam) * x[index]` (LogitMix, Eq. 1). `x` is not written to.

    A share of 1 or 0 copies one of the two rows bitwise, whatever is in the other (infinite values, NaN).

    Fresh memory for a batch of images costs several times what mixing them does, so image loops should keep one buffer
    and pass it as `out`. With a buffer and a rolled pairing on the CPU, `x` is read in order and nothing is gathered.

    Args:
        x (`torch.Tensor` of shape `(B, ...)`): Anything that may be averaged: pixels, hidden states, logits, targets.
        plan (`MixPlan`): Pairs and shares for the `B` rows. λ is cast to the dtype of `x`.
        out (`torch.Tensor`, *optional*): Written to and returned; shape, dtype and device of the result, no memory
            shared with `x`. Not for tensors that need a gradient. Safe to use again once the backward pass is done.

    Returns:
        `torch.Tensor`: Same shape, dtype and device as `x`; of `M` rows for a [`PartialPlan`].

    Raises:
        TypeError: If `x` is not floating point (token ids cannot be averaged).
        ValueError: If `x` has not as many rows as the plan, or `out` does not fit.
    """
    if not x.is_floating_point():
        raise TypeError(f"mix needs a floating point tensor, got {x.dtype}: mix embeddings, not ids or class indices.")
    check_pairs(x, plan)
    lam = plan.lam.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
    own = plan.first(x)
    if out is not None:
        check_out(out, own)
    if not _all_strictly_between(lam):  # 0 * NaN is NaN: a row without a share must not be looked at
        source = torch.where(lam.flatten() == 1, plan.first(torch.arange(len(x), device=x.device)), plan.index)
        only = x[source]
        mixed = torch.lerp(only, own, lam, out=out)
        return torch.where((lam == 0) | (lam == 1), only, mixed, out=out)
    if out is None:
        return x[plan.index].lerp_(own, lam)
    shift = None if plan.own is not None else _rolled_by(plan.index)
    if shift is None:
        torch.index_select(x, 0, plan.index, out=out)
        return torch.lerp(out, own, lam, out=out)
    split = len(x) - shift
    torch.lerp(x[shift:], x[:split], lam[:split], out=out[:split])
    torch.lerp(x[:shift], x[split:], lam[split:], out=out[split:])
    return out


def _all_strictly_between(lam: torch.Tensor) -> bool:
    """Whether no share is 0 or 1; `False` as well where looking would stall the device or a compiler."""
    return lam.device.type == "cpu" and not torch.compiler.is_compiling() and bool(lam.frac().all())


def _rolled_by(index: torch.Tensor) -> int | None:
    """How far a rolled pairing is rolled; `None` for others, and off the CPU, where looking would stall the device."""
    if index.device.type != "cpu" or not len(index):
        return None
    shift = int(index[0])
    return shift if torch.equal(index, (torch.arange(len(index)) + shift) % len(index)) else None


def union_mask(mask: torch.Tensor, plan: MixPlan) -> torch.Tensor:
    """Attention mask of the mixed rows: a position counts if it is real in the row or in its partner.

    A mixed hidden state has content wherever one of its two sources has, so the model must see the union.

    Args:
        mask (`torch.Tensor` of shape `(B, ...)`): Boolean, 0/1, or additive mask (larger means visible).
        plan (`MixPlan`): Pairs for the `B` rows; λ is not used.

    Returns:
        `torch.Tensor`: Same shape and dtype as `mask`; of `M` rows for a [`PartialPlan`].
    """
    return torch.maximum(plan.first(mask), mask[plan.index])
