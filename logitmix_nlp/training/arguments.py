# SPDX-License-Identifier: Apache-2.0
"""The flags of LogitMix: `TrainingArguments` with the settings of mixing, validated before a model exists."""

import json
import os
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments
from transformers.utils import logging

from logitmix_nlp.calibration.metrics import LOWER_IS_BETTER
from logitmix_nlp.functional.checks import (
    SINGLE_LABEL,
    check_penalty,
    check_smoothing,
    check_soft_labels,
    check_weights,
)
from logitmix_nlp.functional.lamix import LABEL_LAMS, MIX_LAMS
from logitmix_nlp.functional.losses import LOSS_TERMS
from logitmix_nlp.functional.mixing import PAIRINGS
from logitmix_nlp.mixing.mixers import MIXERS, PUZZLE_OPTIONS, check_puzzle_options
from logitmix_nlp.training.methods import MIX_METHODS, SCHEDULES, LossWeights, get_method, warmup_probability
from logitmix_nlp.training.stock_arguments import check_numbers, check_reporters, check_texts

__all__ = [
    "LogitMixTrainingArguments",
    "check_label_names",
    "check_mixing",
    "check_problem_type",
    "check_processes",
    "warn_of_lone_rows",
]

logger = logging.get_logger(__name__)
CHOICES = {
    "mix_pairing": PAIRINGS, "mix_schedule": SCHEDULES, "mix_lam": MIX_LAMS, "label_lam": LABEL_LAMS,
}  # fmt: skip


def check_label_names(names: list[str] | None) -> None:
    """Refuse `label_names` that do not begin with `labels`, which losses and metrics are computed from.

    Raises:
        ValueError: Saying what was given and what to do.
    """
    if names and names[0] != "labels":
        raise ValueError(
            f"label_names must begin with 'labels', which the loss and the metrics are computed from, got {names}: "
            "leave it out, and name the column of the data 'label' or 'labels'."
        )


def check_mixing(args: Any) -> None:
    """Check the mixing fields of [`LogitMixTrainingArguments`] against each other.

    Raises:
        ValueError: Saying what was given, what is allowed and what to do.
    """
    check_weights(args.mix_weight, args.cls_weight, args.sim_weight)
    check_problem_type(args, SINGLE_LABEL)
    if args.loss_weights.needs_mixed and not get_method(args.mix_method).mixes:
        raise ValueError(
            f"mix_method={args.mix_method!r} does not mix, but mix_weight={args.mix_weight} and "
            f"sim_weight={args.sim_weight}: set both to 0, or choose mix_method='logitmix'."
        )
    warmup_probability(args.mix_warmup, 0.0)
    for name, allowed in CHOICES.items():
        if getattr(args, name) not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(args, name)!r}.")
    if not 0.0 < args.mix_alpha < float("inf"):
        raise ValueError(f"mix_alpha must be a finite number above 0, got {args.mix_alpha}.")
    if not 0.0 <= args.mix_prob <= 1.0:
        raise ValueError(f"mix_prob must lie in [0, 1], got {args.mix_prob}.")
    if args.mix_schedule == "alternate" and args.mix_prob < 1.0:
        raise ValueError(
            f"mix_schedule='alternate' mixes every other step, so mix_prob={args.mix_prob} has no meaning: leave it "
            "out, or set mix_schedule='random', where it decides."
        )
    if args.sim_norm not in ("mse", "l2"):
        raise ValueError(f"sim_norm must be 'mse' or 'l2', got {args.sim_norm!r}.")
    _check_mixer(args)
    _check_soft_targets(args)
    if args.mix_site == "pooler" and args.sim_weight:
        raise ValueError(
            "mix_site='pooler' with sim_weight > 0: only an affine head follows the pooler, so L_sim is "
            "identically zero there. Choose 'layer:K' or 'embeddings', or set sim_weight to 0."
        )


def _check_mixer(args: Any) -> None:
    if args.mixer not in MIXERS:
        raise ValueError(f"Unknown mixer {args.mixer!r}. Available: {', '.join(MIXERS)}.")
    if args.mixer != "mixup" and args.mix_site != "input":
        raise ValueError(
            f"mixer={args.mixer!r} mixes the pixels of images, but mix_site={args.mix_site!r}: set "
            "mix_site='input', or mixer='mixup', which mixes anywhere."
        )
    if args.puzzle_settings and args.mixer != "puzzlemix":
        raise ValueError(f"puzzle_options has no meaning for mixer={args.mixer!r}: leave it out.")
    check_puzzle_options(args.puzzle_settings)
    if args.mixer == "puzzlemix" and args.torch_compile:
        raise ValueError(
            "mixer='puzzlemix' takes a gradient inside the forward pass, which torch_compile does not allow: "
            "switch it off, or choose mixer='cutmix' or 'mixup'."
        )


def _check_soft_targets(args: Any) -> None:
    plain_steps = args.mix_prob < 1.0 or args.mix_warmup != "none" or args.mix_schedule == "alternate"
    if args.lamix_beta < 1.0 and not (args.mix_weight or args.cls_weight or plain_steps):
        raise ValueError(
            f"lamix_beta={args.lamix_beta} changes the targets of cross-entropy terms, but mix_weight and cls_weight "
            "are 0 and no step is plain: weight one of them, or set lamix_beta to 1."
        )


def check_problem_type(args: Any, problem_type: str) -> None:
    """Refuse what needs one choice between classes for other kinds of labels, and values of it out of range.

    Raises:
        ValueError: Naming the argument.
    """
    check_smoothing(args.label_smoothing_factor, problem_type)
    check_penalty(args.penalty_weight, problem_type)
    check_soft_labels(args.lamix_beta, problem_type)


def check_processes(args: Any) -> None:
    """Refuse one process that drives several GPUs, and several processes that would not know of each other.

    Raises:
        ValueError: Saying how to start them.
    """
    if args.n_gpu > 1:
        raise ValueError(
            f"One process would drive {args.n_gpu} GPUs (DataParallel), which splits batches between mixing "
            "partners. Start one process per GPU: torchrun --nproc_per_node=gpu your_script.py, or make one "
            "GPU visible with CUDA_VISIBLE_DEVICES=0."
        )
    if args.world_size == 1 and "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        raise ValueError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but each would train alone: without GPUs add "
            "--use_cpu (use_cpu=True) or --ddp_backend gloo."
        )


def warn_of_lone_rows(args: Any) -> None:
    """Warn that batches of one row leave nothing to mix."""
    if args.per_device_train_batch_size == 1:
        logger.warning(
            "per_device_train_batch_size=1: each row is mixed with itself, which changes nothing. Take at least 2 "
            "rows, and fewer gradient_accumulation_steps."
        )


PRESET_FIELDS = (
    "mixer", "mix_site", "mix_alpha", "mix_weight", "cls_weight", "sim_weight", "penalty_weight", "mix_prob",
    "label_smoothing_factor", "lam_per_sample", "mix_lam", "label_lam", "mix_schedule", "lamix_beta",
)  # fmt: skip


@dataclass
class LogitMixTrainingArguments(TrainingArguments):
    """Stock `TrainingArguments` plus the choices of LogitMix (Bang et al., IJCAI 2022) and its relatives.

    `mix_method` names a method; its settings fill every field below it that is left unset, and only those. Setting
    `mix_method` later, as a hyperparameter search does, fills them anew; `dataclasses.replace` takes filled values for
    set ones. All defaults of `TrainingArguments` are unchanged, but that `ece`, `oe`, `nll` and `brier` as
    `metric_for_best_model` are better when lower.

    Raises:
        ValueError: On an unknown method, mixer, pairing, schedule, share, norm, warm-up or option of PuzzleMix, α ≤ 0,
            a probability outside `[0, 1]`, β of LaMix outside `(0, 1]`, negative or all-zero weights, weights of mixed
            terms for a method that does not mix, pixels mixed elsewhere than at the input, or a site at which the
            similarity term is identically zero; and on values of the stock arguments with which no training can be
            done: NaN, infinities, negative rates, counts below their least, options and files that cannot be read.
        ImportError: If the package of `report_to` is missing.
    """

    mix_method: str = field(
        default="logitmix", metadata={"help": f"Training method, one of: {', '.join(MIX_METHODS)}."}
    )
    mixer: str | None = field(
        default=None,
        metadata={
            "help": "How rows are mixed: 'mixup' (LogitMix Eq. 1, any site), or at the input of image models 'cutmix' "
            "(a box, CutMix Eq. 1; lambda is the true area) or 'puzzlemix' (salient blocks, PuzzleMix; lambda is the "
            "mean of the mask). Unset: the method's own."
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
            "3). Unset: the method's own, 0 for most."
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
    mix_schedule: str | None = field(
        default=None,
        metadata={
            "help": "Which steps mix: 'random' (each batch with mix_prob) or 'alternate' (optimizer steps take turns, "
            "clean first; LaMix Sec. 2.4). Unset: the method's own, 'random' for most."
        },
    )
    lam_per_sample: bool | None = field(
        default=None,
        metadata={
            "help": "Draw lambda for each row instead of once per batch. Unset: the method's own, false for most.",
            "nargs": "?",
            "const": True,
        },
    )
    mix_lam: str | None = field(
        default=None,
        metadata={
            "help": "Share that rows are mixed by: 'drawn' (lambda) or 'half' (0.5 whatever lambda is; LaMix Eq. 4, "
            "5). Unset: the method's own, 'drawn' for most."
        },
    )
    label_lam: str | None = field(
        default=None,
        metadata={
            "help": "Share that labels are mixed by: 'mixed' (that of the rows: true area, mean of the mask), 'drawn' "
            "(lambda, whatever the rows; LaMix Eq. 10) or 'half'. Unset: the method's own, 'mixed' for most."
        },
    )
    lamix_beta: float | None = field(
        default=None,
        metadata={
            "help": "beta of LaMix Eq. 10, the share of the labels in the target of every cross-entropy term; the "
            "rest is softmax(sigmoid(W_t S)) of a second head W_t, which exists in training only. In (0, 1]; 1: no "
            "such head. Unset: the method's own, 1 for most."
        },
    )
    lamix_detach_features: bool = field(
        default=False,
        metadata={"help": "Let W_t learn on its own: no gradient from it to the features S (LaMix does not say)."},
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
            "help": "Options of PuzzleMix as JSON, by the names of functional.puzzlemix: "
            f"{', '.join(PUZZLE_OPTIONS)}. For example '{{\"t_size\": 4}}', the paper's for CIFAR-100. Unset: the "
            "paper's other values, and a grid of 2, 4, 8 or 16 drawn for each batch. adv_prob (the authors: 0.1) and "
            "adv_eps (10) switch on its adversarial noise."
        },
    )
    mix_warmup: str = field(
        default="none",
        metadata={
            "help": "Warm-up of the authors' code: 'none'; 'step' (plain for the first 10%% of steps); 'grad' (plain "
            "until 20%%, then with rising probability the full loss, from 70%% always)."
        },
    )
    ignore_model_loss: bool = field(
        default=False,
        metadata={"help": "Train with the loss of mix_method also if the model computes another one in its forward."},
    )

    def __post_init__(self):
        """Fill unset fields from the method, check them, then let the base class do its part."""
        unset = [name for name in PRESET_FIELDS if getattr(self, name) is None]
        self._fill(unset)
        check_texts(self)
        self.check_mixing()
        check_label_names(self.label_names)
        if self.greater_is_better is None and str(self.metric_for_best_model).split("_")[-1] in LOWER_IS_BETTER:
            self.greater_is_better = False
        super().__post_init__()
        check_reporters(self.report_to)

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
        if not isinstance(options, dict):
            raise ValueError(f"puzzle_options must be a JSON object such as '{{\"t_size\": 4}}', got {options!r}.")
        unknown = [name for name in options if name not in PUZZLE_OPTIONS]
        if unknown:
            raise ValueError(f"Unknown puzzle_options {', '.join(unknown)}. Available: {', '.join(PUZZLE_OPTIONS)}.")
        return options

    @property
    def loss_options(self) -> dict[str, Any]:
        """The choices of [`functional.lamix_parts`] that hold for all batches."""
        return {
            "beta": self.lamix_beta, "label_smoothing": self.label_smoothing_factor, "sim_norm": self.sim_norm,
        }  # fmt: skip

    @property
    def loss_terms(self) -> list[str]:
        """Names of the terms that this run may have, as they are logged."""
        weights = self.loss_weights
        unmixed = self.mix_prob < 1.0 or self.mix_warmup != "none" or self.mix_schedule == "alternate"
        present = (
            weights.mix_weight, weights.cls_weight or (weights.needs_mixed and unmixed), weights.sim_weight,
            weights.penalty_weight, self.lamix_beta < 1.0,
        )  # fmt: skip
        return [name for name, used in zip(LOSS_TERMS, present, strict=True) if used]

    def check_mixing(self) -> None:
        """Check the mixing fields against each other, and numbers; also at the start of training, for searches.

        Raises:
            ValueError: See the class.
        """
        check_numbers(self)
        check_mixing(self)
