# SPDX-License-Identifier: Apache-2.0
"""Every choice of a run, as fields of a dataclass and flags of a script."""

import json
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from logitmix_nlp.functional.checks import SINGLE_LABEL, check_penalty, check_weights
from logitmix_nlp.functional.losses import LOSS_TERMS
from logitmix_nlp.functional.mixing import PAIRINGS
from logitmix_nlp.methods import MIX_METHODS, LossWeights, get_method, warmup_probability
from logitmix_nlp.mixers import MIXERS, PUZZLE_OPTIONS

__all__ = ["LogitMixTrainingArguments"]

PRESET_FIELDS = (
    "mixer", "mix_site", "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "penalty_weight", "mix_prob",
    "label_smoothing_factor",
)  # fmt: skip
LOWER_IS_BETTER = ("ece", "oe", "nll", "brier")


@dataclass
class LogitMixTrainingArguments(TrainingArguments):
    """Stock `TrainingArguments` plus the choices of LogitMix (Bang et al., IJCAI 2022) and its relatives.

    `mix_method` names a method; its settings fill every field below it that is left unset, and only those. Setting
    `mix_method` later, as a hyperparameter search does, fills them anew; `dataclasses.replace` takes filled values for
    set ones. All defaults of `TrainingArguments` are unchanged, but that `ece`, `oe`, `nll` and `brier` as
    `metric_for_best_model` are better when lower.

    Raises:
        ValueError: On an unknown method, mixer, pairing, norm, warm-up or option of PuzzleMix, α ≤ 0, a probability
            outside `[0, 1]`, negative or all-zero weights, weights of mixed terms for a method that does not mix,
            pixels mixed elsewhere than at the input, or a site at which the similarity term is identically zero.
    """

    mix_method: str = field(
        default="logitmix", metadata={"help": f"Training method, one of: {', '.join(MIX_METHODS)}."}
    )
    mixer: str | None = field(
        default=None,
        metadata={
            "help": "How rows are mixed: 'mixup' (LogitMix Eq. 1, any site), or at the input of image models 'cutmix' "
            "(a box, CutMix Eq. 1; lambda is the true area) or 'puzzlemix' (salient blocks, PuzzleMix Eq. 3-6; lambda "
            "is the mean of the mask). Unset: the method's own."
        },
    )
    mix_site: str | None = field(
        default=None,
        metadata={
            "help": "Where rows are mixed: 'input' (pixels), 'embeddings' (output of the embedding module), 'layer:K' "
            "(output of encoder layer K; negative counts from the end, 'layer:-1' is the final representation of "
            "Mixup-Transformer) or 'pooler' (only with sim_weight 0); 'a|b' is the first of both that the model has, "
            "and of 'a,b' one is drawn per step. Unset: the method's own, 'input|layer:-1' for most."
        },
    )
    mix_alpha: float | None = field(
        default=None,
        metadata={
            "help": "lambda ~ Beta(alpha, alpha), LogitMix Eq. 1; above 0. Unset: the method's own, 3.0 in the paper."
        },
    )
    mix_weight: float | None = field(
        default=None,
        metadata={"help": "w_mix of L = w_mix L_mix + w_cls L_cls + w_sim L_sim; L_mix is LogitMix Eq. 2."},
    )
    cls_weight: float | None = field(
        default=None,
        metadata={
            "help": "w_cls; L_cls is the clean loss of LogitMix Eq. 3 (batch mean: the paper's form is w_cls 2)."
        },
    )
    sim_weight: float | None = field(
        default=None, metadata={"help": "w_sim; L_sim is the logit similarity of LogitMix Eq. 3."}
    )
    penalty_weight: float | None = field(
        default=None,
        metadata={
            "help": "Weight beta of the confidence penalty, L - beta H(p(y|x)) on clean rows (Pereyra et al., Sec. "
            "3.1). Unset: the method's own, 0 for most."
        },
    )
    label_smoothing_factor: float | None = field(
        default=None,
        metadata={
            "help": "Label smoothing epsilon of every cross-entropy term, (1 - epsilon) y + epsilon / C (Szegedy et "
            "al., Sec. 7). Unset: the method's own, 0 for most."
        },
    )
    sim_norm: str = field(
        default="mse",
        metadata={"help": "Norm of L_sim: 'mse' (mean square, the authors' code) or 'l2' (Euclidean, Eq. 3)."},
    )
    mix_prob: float | None = field(
        default=None,
        metadata={
            "help": "Probability that a batch is mixed; otherwise it takes a plain step. Unset: the method's own, 1.0."
        },
    )
    lam_per_sample: bool = field(
        default=False, metadata={"help": "Draw lambda for each row instead of once per batch (the paper)."}
    )
    mix_pairing: str = field(
        default="permutation",
        metadata={
            "help": "Partners within a batch: 'permutation' (mixup's code: uniform, may pair a row with itself) or "
            "'roll' (row i with row i + k, one k per batch, never with itself)."
        },
    )
    puzzle_options: dict | str | None = field(
        default=None,
        metadata={
            "help": "Options of PuzzleMix (Eq. 3-6) as JSON, by the names of functional.puzzlemix: "
            f"{', '.join(PUZZLE_OPTIONS)}. For example '{{\"t_size\": 4}}', the paper's for CIFAR-100. Unset: the "
            "paper's other values, and a grid of 2, 4, 8 or 16 drawn for each batch."
        },
    )
    mix_warmup: str = field(
        default="none",
        metadata={
            "help": "Warm-up of the authors' code: 'none'; 'step' (plain for the first 10%% of steps); 'grad' (plain "
            "until 20%%, then with rising probability the full loss, from 70%% always)."
        },
    )

    def __post_init__(self):
        """Fill unset fields from the method, check them, then let the base class do its part."""
        unset = [name for name in PRESET_FIELDS if getattr(self, name) is None]
        self._fill(unset)
        self.check_mixing()
        if self.greater_is_better is None and str(self.metric_for_best_model).split("_")[-1] in LOWER_IS_BETTER:
            self.greater_is_better = False
        super().__post_init__()

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep what the method filled in step with the method when a hyperparameter search sets either."""
        super().__setattr__(name, value)
        filled = self.__dict__.get("_filled")
        if filled is None:
            return
        if name == "mix_method":
            self._fill(filled)
        elif name in filled:
            filled.remove(name)

    def _fill(self, names: list[str]) -> None:
        self.__dict__.pop("_filled", None)
        method = get_method(self.mix_method)
        for name in names:
            setattr(self, name, getattr(method, name))
        self.__dict__["_filled"] = list(names)

    @property
    def loss_weights(self) -> LossWeights:
        """The weights of all terms as one value."""
        return LossWeights(self.mix_weight, self.cls_weight, self.sim_weight, self.penalty_weight)

    @property
    def puzzle_settings(self) -> dict[str, Any]:
        """`puzzle_options` as a dict, read from JSON if need be."""
        options = self.puzzle_options or {}
        try:
            options = json.loads(options) if isinstance(options, str) else options
        except ValueError as error:
            raise ValueError(f"puzzle_options must be JSON such as '{{\"t_size\": 4}}', got {options!r}.") from error
        unknown = [name for name in options if name not in PUZZLE_OPTIONS]
        if unknown:
            raise ValueError(f"Unknown puzzle_options {', '.join(unknown)}. Available: {', '.join(PUZZLE_OPTIONS)}.")
        return options

    @property
    def loss_terms(self) -> list[str]:
        """Names of the terms that this run may have, as they are logged."""
        weights = self.loss_weights
        plain_steps = weights.needs_mixed and (self.mix_prob < 1.0 or self.mix_warmup != "none")
        present = (
            weights.mix_weight, weights.cls_weight or plain_steps, weights.sim_weight, weights.penalty_weight,
        )  # fmt: skip
        return [name for name, used in zip(LOSS_TERMS, present, strict=True) if used]

    def check_mixing(self) -> None:
        """Check the mixing fields against each other; also called at the start of training, when a search set them.

        Raises:
            ValueError: See the class.
        """
        check_weights(self.mix_weight, self.cls_weight, self.sim_weight)
        check_penalty(self.penalty_weight, SINGLE_LABEL)
        if self.loss_weights.needs_mixed and not get_method(self.mix_method).mixes:
            raise ValueError(
                f"mix_method={self.mix_method!r} does not mix, but mix_weight={self.mix_weight} and "
                f"sim_weight={self.sim_weight}: set both to 0, or choose mix_method='logitmix'."
            )
        warmup_probability(self.mix_warmup, 0.0)
        if not 0.0 < self.mix_alpha < float("inf"):
            raise ValueError(f"mix_alpha must be a finite number above 0, got {self.mix_alpha}.")
        if not 0.0 <= self.mix_prob <= 1.0:
            raise ValueError(f"mix_prob must lie in [0, 1], got {self.mix_prob}.")
        if self.sim_norm not in ("mse", "l2"):
            raise ValueError(f"sim_norm must be 'mse' or 'l2', got {self.sim_norm!r}.")
        self._check_mixer()
        if self.mix_site == "pooler" and self.sim_weight:
            raise ValueError(
                "mix_site='pooler' with sim_weight > 0: only an affine head follows the pooler, so L_sim is "
                "identically zero there. Choose 'layer:K' or 'embeddings', or set sim_weight to 0."
            )

    def _check_mixer(self) -> None:
        if self.mixer not in MIXERS:
            raise ValueError(f"Unknown mixer {self.mixer!r}. Available: {', '.join(MIXERS)}.")
        if self.mix_pairing not in PAIRINGS:
            raise ValueError(f"mix_pairing must be one of {', '.join(PAIRINGS)}, got {self.mix_pairing!r}.")
        if self.mixer != "mixup" and self.mix_site != "input":
            raise ValueError(
                f"mixer={self.mixer!r} mixes the pixels of images, but mix_site={self.mix_site!r}: set "
                "mix_site='input', or mixer='mixup', which mixes anywhere."
            )
        if self.puzzle_settings and self.mixer != "puzzlemix":
            raise ValueError(f"puzzle_options has no meaning for mixer={self.mixer!r}: leave it out.")
        if self.mixer == "puzzlemix" and self.torch_compile:
            raise ValueError(
                "mixer='puzzlemix' takes a gradient inside the forward pass, which torch_compile does not allow: "
                "switch it off, or choose mixer='cutmix' or 'mixup'."
            )
