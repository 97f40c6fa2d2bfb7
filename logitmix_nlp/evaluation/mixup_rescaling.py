# SPDX-License-Identifier: Apache-2.0
"""Predict with a model that was trained with mixup as that training suggests, see [`functional.rescaling`].

What is exact: for images mixed at `input` by `mixup` with no clean term in the loss (not LogitMix, whose `L_cls`
trains on inputs that are not shrunk), this is the rescaling of Carratino et al., Eq. 15. At a hidden site the same
derivation holds for the network above it, with hidden states in the place of pixels, if rows are not padded: where
they are, training mixed real tokens with padding and took the union of the masks, which no shrinking of one row can
copy. The two steps belong together: shrunk inputs make a model less sure, divided logits make it surer, and for an
affine model they cancel but for a constant. Logits divided by `theta` alone are a temperature below 1, which suits a
model that is under-confident; `TemperatureScaler` finds a fitting one from held-out rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.functional.rescaling import rescale_inputs, rescale_logits
from logitmix_nlp.mixing.model_modes import evaluation_mode, inputs_of
from logitmix_nlp.mixing.outputs import logits_of
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import find_sites, main_input

__all__ = ["mean_at_site", "rescaled_logits"]

Change = Callable[[torch.Tensor, MixPlan, None], tuple[torch.Tensor, MixPlan]]


def mean_at_site(model: nn.Module, batches: Iterable[Mapping[str, Any]], site: str = "input") -> torch.Tensor:
    """Mean of the training rows where they were mixed, for [`rescaled_logits`].

    Args:
        model (`PreTrainedModel`): The trained classifier.
        batches (`Iterable[Mapping[str, Any]]`): Its training rows, as keyword arguments; `labels` are left out.
        site (`str`): Where it was mixed in training, as in [`list_sites`]; `input` is for pixels.

    Returns:
        `torch.Tensor`: Of the shape of one row at the site: `(C, H, W)` for pixels, `(length, hidden)` for tokens.

    Raises:
        ValueError: If the model has no such site, several are named, rows differ in shape, or there are no batches.
    """
    total, count = None, 0

    def add(rows: torch.Tensor, plan: MixPlan, gradient: None) -> tuple[torch.Tensor, MixPlan]:
        nonlocal total, count
        if total is not None and total.shape != rows.shape[1:]:
            raise ValueError(
                f"Rows at {site} have shapes {tuple(total.shape)} and {tuple(rows.shape[1:])}, and there is no mean "
                "of both: bring all to one size (texts: padding='max_length')."
            )
        sums = rows.double().sum(0)
        total, count = sums if total is None else total + sums, count + len(rows)
        return rows, plan

    for _ in _logits(model, batches, site, add):
        pass
    return (total / count).float()


def rescaled_logits(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    theta: float,
    mean: torch.Tensor,
    site: str = "input",
    label_mean: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logits `f(m(x)) / theta + (1 - 1 / theta) ybar` with `m(x) = xbar + theta (x - xbar)`.

    This is Eq. 15 of [Carratino et al.](https://arxiv.org/abs/2006.06049); the module's docstring says when it is
    exact.

    Args:
        model (`PreTrainedModel`): The trained classifier; its modes are given back.
        batches (`Iterable[Mapping[str, Any]]`): Rows to predict, as keyword arguments; `labels` are left out. Texts
            must be as long as those of `mean`.
        theta (`float`): `truncated_beta_mean(alpha)` of the `alpha` it was trained with, in `(0, 1]`; 1 gives the
            plain logits.
        mean (`torch.Tensor`): `xbar`, from [`mean_at_site`] at the same site.
        site (`str`): Where it was mixed in training, as in [`list_sites`].
        label_mean (`torch.Tensor` of shape `(C,)`, *optional*): `ybar`, the share of each class in training,
            `labels.bincount(minlength=C) / len(labels)`; see [`rescale_logits`].

    Returns:
        `torch.Tensor` of shape `(N, C)`: On the CPU.

    Raises:
        ValueError: If `theta` is out of range, shapes do not fit, the model has no such site, or there are no batches.
    """

    def shrink(rows: torch.Tensor, plan: MixPlan, gradient: None) -> tuple[torch.Tensor, MixPlan]:
        return rescale_inputs(rows, mean, theta), plan

    return torch.cat(
        [rescale_logits(logits, theta, label_mean).cpu() for logits in _logits(model, batches, site, shrink)]
    )


def _logits(
    model: nn.Module, batches: Iterable[Mapping[str, Any]], site: str, change: Change
) -> Iterator[torch.Tensor]:
    """Logits of each batch, its rows changed at the site, where each row counts as its own partner."""
    places = find_sites(model, site)
    if len(places) > 1:
        names = ", ".join(place.name for place in places)
        raise ValueError(f"One site is shrunk at, got {names}: a model mixed at several has no single one to undo.")
    mixer, known = SiteMixer(model), False
    with evaluation_mode(model) as device, mixer.installed(), torch.no_grad():
        for inputs in inputs_of(batches, device):
            rows = len(inputs[main_input(model)])
            if not known:
                probe(mixer, model, inputs, rows, places, needs_similarity=False, keeps=(False,))
                known = True
            own = MixPlan(torch.arange(rows, device=device), torch.ones(rows, device=device))
            changed = mixer.activate(inputs, own, places[0], keep_clean=False, blend=change)
            try:
                logits = logits_of(model(**changed), model)[-rows:]
                mixer.check_mixed()
            finally:
                mixer.deactivate()
            yield logits
