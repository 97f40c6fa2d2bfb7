# SPDX-License-Identifier: Apache-2.0
"""The settings of mixing. One field here is a flag, a value that a method may set, and a line of the model card."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, NamedTuple, get_type_hints

from logitmix_nlp.functional.lamix import LABEL_LAMS, MIX_LAMS
from logitmix_nlp.functional.losses import SIM_NORMS
from logitmix_nlp.functional.mixing import PAIRINGS
from logitmix_nlp.mixing.mixers import MIXERS, PUZZLE_OPTIONS
from logitmix_nlp.training.stock_arguments import check_number

__all__ = ["SCHEDULES", "WARMUPS", "MixSettings", "Setting", "check_settings", "flag", "settings_of"]

SCHEDULES = ("random", "alternate")
WARMUPS = ("none", "step", "grad")


class Setting(NamedTuple):
    """What is known of a setting beside its flag, as the note of its type: `Annotated[float | None, Setting(1.0)]`.

    Args:
        preset (`Any`): Its value in every method that does not say otherwise.
        fits (`Callable`, *optional*): Whether a number is allowed.
        allowed (`str`): The same in words, behind "must be".
        papers (`tuple` of `str`): Entries of `BIBTEX` that a model cites if the value is not `preset`.
    """

    preset: Any
    fits: Callable[[Any], bool] | None = None
    allowed: str = ""
    papers: tuple[str, ...] = ()


def flag(text: str, **more: Any) -> Any:
    """Field of a setting; unset, it is filled by the method. `more` goes to argparse, such as `choices`."""
    return field(default=None, metadata={"help": text, **more})


@cache
def settings_of(cls: type) -> Mapping[str, Setting]:
    """The settings among the fields of a dataclass, by name."""
    hints = get_type_hints(cls, include_extras=True)
    notes = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    return {name: note for name, found in notes.items() for note in found if isinstance(note, Setting)}


@dataclass
class MixSettings:
    """How a method mixes and what it minimises: the fields of [`MixMethod`] and flags of the training arguments."""

    mixer: Annotated[str | None, Setting("mixup")] = flag(
        f"How rows are mixed. {' '.join(f'{name}: {mixer.words}.' for name, mixer in MIXERS.items())} Unset: the "
        "method's own.",
        choices=MIXERS,
    )
    mix_site: Annotated[str | None, Setting("input|layer:-1")] = flag(
        "Where rows are mixed: 'input' (pixels; token ids with span and ssmix), 'embeddings' (output of the embedding "
        "module), 'layer:K' (output of encoder layer K; negative counts from the end, 'layer:-1' is the final "
        "representation of Mixup-Transformer; 'layer:7/12' is the 7th of 12, scaled to other depths) or 'pooler' "
        "(only with sim_weight 0); 'a|b' is the first of both that the model has, and of 'a,b' one is drawn per step. "
        "Unset: the method's own, 'input|embeddings' for logitmix, 'input|layer:-1' for most others."
    )
    mix_alpha: Annotated[float | None, Setting(3.0, lambda x: 0 < x < float("inf"), "a finite number above 0")] = flag(
        "lambda ~ Beta(alpha, alpha), LogitMix Eq. 1; above 0. Unset: the method's own, 3.0 in the paper."
    )
    mix_weight: Annotated[float | None, Setting(0.0)] = flag(
        "w_mix of L = w_mix L_mix + w_cls L_cls + w_sim L_sim; L_mix is LogitMix Eq. 2."
    )
    cls_weight: Annotated[float | None, Setting(1.0)] = flag(
        "w_cls; L_cls is the clean loss of LogitMix Eq. 3 (batch mean: the paper's form is w_cls 2)."
    )
    sim_weight: Annotated[float | None, Setting(0.0)] = flag("w_sim; L_sim is the logit similarity of LogitMix Eq. 3.")
    penalty_weight: Annotated[float | None, Setting(0.0, papers=("confidence_penalty",))] = flag(
        "Weight beta of the confidence penalty, L - beta H(p(y|x)) on clean rows (Pereyra et al., Sec. 3). Unset: the "
        "method's own, 0 for most."
    )
    label_smoothing_factor: Annotated[float | None, Setting(0.0, papers=("label_smoothing",))] = flag(
        "Label smoothing epsilon of every cross-entropy term, (1 - epsilon) y + epsilon / C (Szegedy et al., Sec. 7). "
        "Unset: the method's own, 0 for most."
    )
    class_weights: Annotated[list | str | None, Setting(None)] = flag(
        "Weights of the classes in every cross-entropy term: 'balanced' (n / (C * rows of the class), counted in the "
        "training data), or a number for each class. Means are divided by the weights, as nn.CrossEntropyLoss does.",
        nargs="+",
    )
    pos_weight: Annotated[list | str | None, Setting(None)] = flag(
        "Multi-label: how much a label that is there counts beside one that is not, as in nn.BCEWithLogitsLoss; a "
        "number for each label, or one for all.",
        nargs="+",
    )
    sim_norm: Annotated[str | None, Setting("mse")] = flag(
        "Norm of L_sim: 'mse' (mean square, the authors' code) or 'l2' (Euclidean, Eq. 3).", choices=SIM_NORMS
    )
    mix_prob: Annotated[float | None, Setting(1.0, lambda x: 0 <= x <= 1, "in [0, 1]")] = flag(
        "Probability that a batch is mixed; otherwise it takes a plain step. Unset: the method's own, 1.0."
    )
    mix_share: Annotated[float | None, Setting(1.0, lambda x: 0 < x <= 1, "above 0 and at most 1")] = flag(
        "Share of the rows of a batch that get a mixture, rounded up. With 0.5 each row still takes part in one, and "
        "layers behind mix_site run half as many mixed rows; L_mix and L_sim are means over the mixtures."
    )
    mix_schedule: Annotated[str | None, Setting("random")] = flag(
        "Which steps mix: 'random' (batches with mix_prob) or 'alternate' (optimizer steps take turns, clean first; "
        "LaMix Sec. 2.4). Unset: the method's own, 'random' for most.",
        choices=SCHEDULES,
    )
    mix_warmup: Annotated[str | None, Setting("none")] = flag(
        "Warm-up of the authors' code: 'none'; 'step' (plain for the first 10%% of steps); 'grad' (plain until 20%%, "
        "then with rising probability the full loss, from 70%% always).",
        choices=WARMUPS,
    )
    lam_per_sample: Annotated[bool | None, Setting(False)] = flag(
        "Draw lambda for each row instead of once per batch. Unset: the method's own, false for most.",
        nargs="?",
        const=True,
    )
    mix_lam: Annotated[str | None, Setting("drawn")] = flag(
        "Share that rows are mixed by: 'drawn' (lambda), 'half' (0.5 whatever lambda is; LaMix Eq. 4, 5) or "
        "'dominant' (the larger of lambda and 1 - lambda; MixMatch, TMix). Unset: the method's own, 'drawn' for most.",
        choices=MIX_LAMS,
    )
    label_lam: Annotated[str | None, Setting("mixed")] = flag(
        "Share that labels are mixed by: 'mixed' (that of the rows: true area, mean of the mask), 'drawn' (lambda, "
        "whatever the rows; LaMix Eq. 10) or 'half'. Unset: the method's own, 'mixed' for most.",
        choices=LABEL_LAMS,
    )
    mix_pairing: Annotated[str | None, Setting("permutation")] = flag(
        "Partners within a batch: 'permutation' (mixup's code: uniform, may pair a row with itself) or 'roll' (row i "
        "with row i + k, one k per batch, never with itself).",
        choices=PAIRINGS,
    )
    lamix_beta: Annotated[float | None, Setting(1.0, papers=("lamix",))] = flag(
        "beta of LaMix Eq. 10, the share of the labels in the target of every cross-entropy term; the rest is "
        "softmax(sigmoid(W_t S)) of a second head W_t, which exists in training only. In (0, 1]; 1: no such head. "
        "Unset: the method's own, 1 for most."
    )
    lamix_detach_features: Annotated[bool | None, Setting(False)] = flag(
        "Let W_t learn on its own: no gradient from it to the features S (LaMix does not say).", nargs="?", const=True
    )
    vwci_passes: Annotated[int | None, Setting(1, lambda x: x >= 1, "at least 1", papers=("vwci",))] = flag(
        "Stochastic passes T of VWCI: each row runs T times, with dropout of its own, and the more the passes "
        "disagree the less its label counts, and the more the uniform distribution. Only without mixing; costs T "
        "plain steps. Unset: the method's own, 1 for all but vwci."
    )
    puzzle_options: Annotated[dict | str | None, Setting(None)] = flag(
        f"Options of PuzzleMix as JSON, by the names of functional.puzzlemix: {', '.join(PUZZLE_OPTIONS)}. For "
        "example '{\"t_size\": 4}', the paper's for CIFAR-100. Unset: the paper's other values, and a grid of 2, 4, 8 "
        "or 16 drawn for each batch. adv_prob (the authors: 0.1) and adv_eps (10) switch on its adversarial noise."
    )

    @property
    def puzzle_settings(self) -> dict[str, Any]:
        """`puzzle_options` as a dict, read from JSON if need be."""
        options = self.puzzle_options or {}
        try:
            options = json.loads(options) if isinstance(options, str) else options
        except ValueError as error:
            raise ValueError(f"puzzle_options must be JSON such as '{{\"t_size\": 4}}', got {options!r}.") from error
        if not isinstance(options, dict):
            raise ValueError(f"puzzle_options must be a JSON object such as '{{\"t_size\": 4}}', got {options!r}.")
        unknown = [name for name in options if name not in PUZZLE_OPTIONS]
        if unknown:
            raise ValueError(f"Unknown puzzle_options {', '.join(unknown)}. Available: {', '.join(PUZZLE_OPTIONS)}.")
        return options


def check_settings(settings: MixSettings) -> None:
    """Check each setting by itself: against its choices and the range of its numbers.

    Raises:
        ValueError: Naming the setting, what was given and what is allowed.
    """
    notes = settings_of(type(settings))
    for own in fields(settings):
        if own.name not in notes:
            continue
        value, choices = getattr(settings, own.name), own.metadata.get("choices")
        if choices and value not in choices:
            raise ValueError(f"{own.name} must be one of {', '.join(choices)}, got {value!r}.")
        if notes[own.name].fits is not None:
            check_number(own.name, value, notes[own.name].fits, notes[own.name].allowed)
