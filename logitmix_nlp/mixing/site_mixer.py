# SPDX-License-Identifier: Apache-2.0
"""Mixing at a site inside one ordinary forward pass, at the arithmetic limit of its cost."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.mixing.guided_pass import GuidedPass
from logitmix_nlp.mixing.mixers import Blend, Guide, Mixture, Start, mix_rows
from logitmix_nlp.mixing.rows import Path, has_rows, join_rows, map_tensors, mixed_inputs, tensors
from logitmix_nlp.mixing.sites import INPUT, Site, find_blocks, find_pooler, main_input

__all__ = ["SiteMixer"]

Call = tuple[int, str]  # position of the call in the forward pass; "in" or "out"


class SiteMixer:
    """Mix rows inside a model's forward pass.

    The model is called once, with what [`activate`] returns: `B + M` rows of text, of which the last `M` hold the
    place of the mixed rows, or `B` images. Blocks before the site run on the `B` clean rows only. At the site the
    batch becomes clean and mixed rows, or mixed rows alone; blocks behind it run on those, mixed rows under the union
    of their masks. Which arguments of a block depend on the rows, and along which dimension, is learnt by [`learn`]
    from two small forward passes, so nothing about an architecture is written down here.

    Hooks stay on the model while `installed` is open and do nothing unless a plan is active: evaluation and the saved
    model are untouched.

    Args:
        model (`PreTrainedModel` or `PeftModel`): The model, not wrapped for distributed training.
    """

    def __init__(self, model: nn.Module):
        blocks, self._calls = find_blocks(model)
        pooler = find_pooler(model) if blocks else None
        self._model, self._main_input = model, main_input(model)
        self._modules = list(dict.fromkeys([*blocks, *([pooler] if pooler is not None else [])]))
        self._all_rows: set[int] = set()  # depths of the sites for which all rows run from the start
        self._positions: dict[nn.Module, list[int]] = {}
        self._dims: dict[tuple[Call, Path], tuple[int, int]] = {}  # dimension of the rows, entries per row
        self._counts: dict[nn.Module, int] = {}
        self._seen: list[tuple[Call, nn.Module, dict[Path, torch.Size]]] | None = None
        self._plan: MixPlan | None = None
        self._blend: Blend = mix_rows
        self._guided: GuidedPass | None = None
        self._depth = self._rows = 0
        self._keep_clean = True
        self._stacked = False
        self._whole = False
        self._mixed_rows = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Keep the hooks on the model while the context is open."""
        with ExitStack() as handles:
            handles.callback(self._model.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
            handles.callback(self._model.register_forward_hook(self._end).remove)
            for module in self._modules:
                handles.callback(module.register_forward_pre_hook(self._before, with_kwargs=True).remove)
                handles.callback(module.register_forward_hook(self._after).remove)
            try:
                yield
            finally:
                self.deactivate()

    def learn(self, forward: Callable[[int], Any], site_depths: list[int]) -> None:
        """Find out, in two forward passes without gradient, in which order blocks run and what depends on the rows.

        Args:
            forward (`Callable[[int], Any]`): Runs the model, in evaluation mode, on so many rows.
            site_depths (`list[int]`): Depths of the sites that will be used.

        Raises:
            ValueError: If the model does not call its blocks as [`find_blocks`] expects.
        """
        sizes, records = (2, 3), []
        self._positions.clear()
        for size in sizes:
            self._seen = []
            try:
                forward(size)
                records.append(self._seen)
            finally:
                self._seen = None
        few, many = records
        order = [module for (_, side), module, _ in few if side == "in"]
        expected = max(self._calls, *site_depths)
        if [entry[:2] for entry in few] != [entry[:2] for entry in many] or len(order) < expected:
            raise ValueError(
                f"{type(self._model).__name__} called its {len(self._modules)} blocks {len(order)} times in a "
                f"forward pass, expected {expected}: it can be mixed at its inputs only, if they are real numbers."
            )
        for position, module in enumerate(order):
            self._positions.setdefault(module, []).append(position)
        for (call, _, shapes), (_, _, others) in zip(few, many, strict=True):
            for path, shape in shapes.items():
                scaled = [dim for dim, size in enumerate(shape) if others[path][dim] * sizes[0] == size * sizes[1]]
                if scaled:
                    self._dims[call, path] = (scaled[0], shape[scaled[0]] // sizes[0])

    def run_all_rows(self, site: Site) -> None:
        """From now on let all `2B` rows run from the start for this site, for models whose blocks need them."""
        self._all_rows.add(site.depth)

    def runs_all_rows(self, site: Site) -> bool:
        """Whether [`run_all_rows`] was called for this site."""
        return site.depth in self._all_rows

    def activate(
        self,
        inputs: dict[str, Any],
        plan: MixPlan,
        site: Site,
        *,
        keep_clean: bool,
        blend: Blend = mix_rows,
        guide: Guide | None = None,
        start: Start | None = None,
    ) -> dict[str, Any]:
        """Mix by `plan` at `site` in every forward pass from now on; return what to call the model with.

        A plan stays active through the backward pass, since activation checkpointing may run modules again there.

        Args:
            inputs (`dict[str, Any]`): Keyword arguments of the model for `B` rows, without labels; not written to.
            plan (`MixPlan`): Pairs and shares of the `B` rows.
            site (`Site`): Where to mix, from [`find_sites`].
            keep_clean (`bool`): Whether the clean rows go on behind the site (after [`run_all_rows`] they always do).
                The last rows of the output are the mixed ones; if `keep_clean`, the first `B` are the clean ones.
            blend (`Blend`): How the plan is applied to rows.
            guide (`Guide`, *optional*): Clean loss whose gradient by the pixels `blend` needs; at the input only.
            start (`Start`, *optional*): Where `guide` takes it, if not at the pixels.

        Returns:
            `dict[str, Any]`: Keyword arguments of the model.
        """
        self._whole = self.runs_all_rows(site)
        self._plan, self._depth, self._keep_clean, self._blend = plan, site.depth, keep_clean or self._whole, blend
        self._mixed_rows = site.depth == INPUT
        main = self._main_input
        self._rows = len(plan.index) if plan.own is None else len(inputs[main])
        if guide is not None:
            self._guided = GuidedPass(Mixture(plan, blend, guide, start), main, keep_clean=keep_clean)
            return dict(inputs)
        if site.depth == INPUT:
            pixels, self._plan = blend(inputs[main], plan, None)
            mixed = mixed_inputs(inputs, plan, main, pixels)
            return join_rows(inputs, mixed, self._rows) if keep_clean else mixed
        rowwise = [value for value in inputs.values() if has_rows(value, self._rows)]
        self._stacked = self._whole or len(rowwise) > 1 or not rowwise[0].is_floating_point()
        if not self._stacked:  # images: blocks get nothing but hidden states, so the batch may grow at the site
            return dict(inputs)
        return join_rows(inputs, mixed_inputs(inputs, plan, main, None), self._rows)

    @property
    def plan(self) -> MixPlan | None:
        """The active plan; after the forward pass with the true shares of the rows, which every loss term must use."""
        return self._plan if self._guided is None else self._guided.plan

    def check_mixed(self) -> None:
        """Refuse a forward pass in which no rows were mixed.

        Raises:
            ValueError: If the block at the site was not called, as happens where blocks are skipped at random.
        """
        if not self._mixed_rows:
            raise ValueError(
                f"{type(self._model).__name__} skipped the block at the mixing site in this forward pass, so no rows "
                "were mixed: mix at another site."
            )

    def deactivate(self) -> None:
        """Stop mixing."""
        self._plan, self._guided = None, None

    # ---- Hooks ----

    def _begin(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        self._counts = dict.fromkeys(self._modules, 0)
        return None if self._guided is None else (args, self._guided.enter(module, kwargs))

    def _end(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return None if self._guided is None else self._guided.leave(module, output)

    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        return self._hook("in", module, (args, kwargs))

    def _after(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self._hook("out", module, output)

    def _hook(self, side: str, module: nn.Module, values: Any) -> Any:
        """Look at, or change, the arguments (`in`) or the output (`out`) of one call of a block."""
        if self._seen is not None:
            position = sum(call[1] == "in" for call, _, _ in self._seen) - (side == "out")
            self._seen.append(((position, side), module, {path: x.shape for path, x in tensors(values)}))
            return None
        if self._plan is None or self._depth == INPUT:
            return None
        positions = self._positions[module]
        position = positions[self._counts[module]] if len(positions) > 1 else positions[0]
        if side == "out":
            self._counts[module] += 1
            return self._leave(position, values)
        return self._enter(position, values)

    def _enter(self, position: int, values: Any) -> Any:
        call = (position, "in")
        if position < self._depth:
            return values if self._whole else map_tensors(values, partial(self._half, call, 0))
        if position == 0:
            path, hidden = self._hidden(call, values)
            mixed = self._mixed(self._half(call, 0, path, hidden), self._dims[call, path][0])
            values = map_tensors(values, lambda where, x: mixed if x is hidden else x)
        if self._keep_clean or position == self._calls:  # the pooler gets what the head gets
            return values
        return map_tensors(values, partial(self._half, call, 1))

    def _leave(self, position: int, output: Any) -> Any:
        call = (position, "out")
        path, hidden = self._hidden(call, output)
        dim, changed = self._dims[call, path][0], hidden
        if position == self._depth - 1:
            changed = self._mixed(self._half(call, 0, path, hidden), dim)
        if position == max(self._depth, self._calls) - 1 and self._stacked and not self._keep_clean:
            fill = torch.arange(self._rows, device=changed.device) % len(self._plan.index)
            changed = torch.cat([changed.index_select(dim, fill), changed], dim)  # the head may look at all inputs
        return map_tensors(output, lambda where, x: changed if where == path else x)

    def _hidden(self, call: Call, values: Any) -> tuple[Path, torch.Tensor]:
        """Find the hidden states: the first real-valued tensor that depends on the rows."""
        return next((path, x) for path, x in tensors(values) if (call, path) in self._dims and x.is_floating_point())

    def _half(self, call: Call, which: int, path: Path, x: torch.Tensor) -> torch.Tensor:
        """Take the clean (0) or the mixed rows (1) of a tensor that has both; leave every other tensor."""
        dim, per_row = self._dims.get((call, path), (0, 0))
        clean, mixed = per_row * self._rows, per_row * len(self._plan.index)
        if not clean or x.shape[dim] != clean + mixed:
            return x
        return x.narrow(dim, clean, mixed) if which else x.narrow(dim, 0, clean)

    def _mixed(self, hidden: torch.Tensor, dim: int) -> torch.Tensor:
        self._mixed_rows = True
        mixed, _ = self._blend(hidden.movedim(dim, 0), self._plan, None)
        mixed = mixed.movedim(0, dim)
        return torch.cat([hidden, mixed], dim) if self._keep_clean else mixed
