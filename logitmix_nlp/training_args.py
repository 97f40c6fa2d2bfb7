# SPDX-License-Identifier: Apache-2.0
"""Every choice of a run, as fields of a dataclass and flags of a script."""

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from logitmix_nlp.functional.checks import check_weights
from logitmix_nlp.functional.losses import LOSS_TERMS
from logitmix_nlp.methods import MIX_METHODS, LossWeights, get_method, warmup_probability

__all__ = ["LogitMixTrainingArguments"]

PRESET_FIELDS = ("mix_site", "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "mix_prob")
LOWER_IS_BETTER = ("ece", "oe", "nll", "brier")


@dataclass
class LogitMixTrainingArguments(TrainingArguments):
    """Stock `TrainingArguments` plus the choices of LogitMix (Bang et al., IJCAI 2022) and its relatives.

    `mix_method` names a method; its settings fill every field below it that is left unset, and only those. Setting
    `mix_method` later, as a hyperparameter search does, fills them anew; `dataclasses.replace` takes filled values for
    set ones. All defaults of `TrainingArguments` are unchanged, but that `ece`, `oe`, `nll` and `brier` as
    `metric_for_best_model` are better when lower.

    Raises:
        ValueError: On an unknown method, norm or warm-up, α ≤ 0, a probability outside `[0, 1]`, negative or all-zero
            weights, weights of mixed terms for `vanilla`, or a site at which the similarity term is identically zero.
    """

    mix_method: str = field(
        default="logitmix", metadata={"help": f"Training method, one of: {', '.join(MIX_METHODS)}."}
    )
    mix_site: str | None = field(
        default=None,
        metadata={
            "help": "Where rows are mixed: 'embeddings' (output of the embedding module), 'layer:K' (output of "
            "encoder layer K; negative counts from the end, 'layer:-1' is the final representation of "
            "Mixup-Transformer) or 'pooler' (only with sim_weight 0). Unset: the method's own, 'layer:-1'."
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
        """The three weights as one value."""
        return LossWeights(self.mix_weight, self.cls_weight, self.sim_weight)

    @property
    def loss_terms(self) -> list[str]:
        """Names of the terms that this run may have, as they are logged."""
        weights = self.loss_weights
        plain_steps = weights.needs_mixed and (self.mix_prob < 1.0 or self.mix_warmup != "none")
        present = (weights.mix_weight, weights.cls_weight or plain_steps, weights.sim_weight)
        return [name for name, used in zip(LOSS_TERMS, present, strict=True) if used]

    def check_mixing(self) -> None:
        """Check the mixing fields against each other; also called at the start of training, when a search set them.

        Raises:
            ValueError: See the class.
        """
        get_method(self.mix_method)
        check_weights(**self.loss_weights.as_dict())
        if self.mix_method == "vanilla" and self.loss_weights.needs_mixed:
            raise ValueError(
                f"mix_method='vanilla' does not mix, but mix_weight={self.mix_weight} and "
                f"sim_weight={self.sim_weight}: set both to 0, or choose mix_method='logitmix'."
            )
        warmup_probability(self.mix_warmup, 0.0)
        if not 0.0 < self.mix_alpha < float("inf"):
            raise ValueError(f"mix_alpha must be a finite number above 0, got {self.mix_alpha}.")
        if not 0.0 <= self.mix_prob <= 1.0:
            raise ValueError(f"mix_prob must lie in [0, 1], got {self.mix_prob}.")
        if self.sim_norm not in ("mse", "l2"):
            raise ValueError(f"sim_norm must be 'mse' or 'l2', got {self.sim_norm!r}.")
        if self.mix_site == "pooler" and self.sim_weight:
            raise ValueError(
                "mix_site='pooler' with sim_weight > 0: only an affine head follows the pooler, so L_sim is "
                "identically zero there. Choose 'layer:K' or 'embeddings', or set sim_weight to 0."
            )
