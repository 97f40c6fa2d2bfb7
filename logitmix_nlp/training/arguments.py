# SPDX-License-Identifier: Apache-2.0
"""The flags of LogitMix: `TrainingArguments` with the settings of mixing, validated before a model exists."""

import os
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments
from transformers.utils import logging

from logitmix_nlp.calibration.metrics import LOWER_IS_BETTER
from logitmix_nlp.functional.checks import (
    SINGLE_LABEL,
    check_passes,
    check_penalty,
    check_smoothing,
    check_soft_labels,
    check_weights,
)
from logitmix_nlp.functional.mixing_loss import LOSS_TERMS
from logitmix_nlp.mixing.mixers import INPUTS, MIXERS, check_puzzle_options, unguided
from logitmix_nlp.training.labels import read_weights
from logitmix_nlp.training.methods import MIX_METHODS, LossWeights, get_method
from logitmix_nlp.training.mix_settings import MixSettings, check_settings, settings_of
from logitmix_nlp.training.stock_arguments import check_numbers, check_reporters, check_texts

__all__ = [
    "LogitMixTrainingArguments",
    "check_label_names",
    "check_mixing",
    "check_problem_type",
    "check_processes",
    "check_undivided",
    "warn_of_lone_rows",
]

logger = logging.get_logger(__name__)


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
    check_settings(args)
    for name in ("class_weights", "pos_weight"):
        read_weights(name, getattr(args, name))
    check_weights(args.mix_weight, args.cls_weight, args.sim_weight)
    check_problem_type(args, SINGLE_LABEL)
    if args.loss_weights.needs_mixed and not get_method(args.mix_method).mixes:
        raise ValueError(
            f"mix_method={args.mix_method!r} does not mix, but mix_weight={args.mix_weight} and "
            f"sim_weight={args.sim_weight}: set both to 0, or choose mix_method='logitmix'."
        )
    if args.mix_schedule == "alternate" and args.mix_prob < 1.0:
        raise ValueError(
            f"mix_schedule='alternate' mixes every other step, so mix_prob={args.mix_prob} has no meaning: leave it "
            "out, or set mix_schedule='random', where it decides."
        )
    _check_mixer(args)
    _check_soft_targets(args)
    if args.mix_site == "pooler" and args.sim_weight:
        raise ValueError(
            "mix_site='pooler' with sim_weight > 0: only an affine head follows the pooler, so L_sim is "
            "identically zero there. Choose 'layer:K' or 'embeddings', or set sim_weight to 0."
        )


def _check_mixer(args: Any) -> None:
    mixer = MIXERS[args.mixer]
    if mixer.exchanges and args.mix_site != "input":
        raise ValueError(
            f"mixer={args.mixer!r} mixes the {INPUTS[mixer.exchanges]}, but mix_site={args.mix_site!r}: set "
            "mix_site='input', or mixer='mixup', which mixes anywhere."
        )
    presets = settings_of(type(args))
    for name in {name for row in MIXERS.values() for name in row.own} - {*mixer.own}:
        if getattr(args, name) not in (presets[name].preset, {}):
            raise ValueError(f"{name} has no meaning for mixer={args.mixer!r}: leave it out.")
    check_puzzle_options(args.puzzle_settings)
    if mixer.guided and args.torch_compile:
        raise ValueError(
            f"mixer={args.mixer!r} takes a gradient inside the forward pass, which torch_compile does not allow: "
            f"switch it off, or choose {unguided()}."
        )


def _check_soft_targets(args: Any) -> None:
    if args.lamix_beta < 1.0 and not (args.mix_weight or args.cls_weight or args.has_plain_steps):
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
    weights = args.loss_weights
    alone = not (weights.needs_mixed or weights.penalty_weight or args.lamix_beta < 1)
    check_passes(args.vwci_passes, problem_type, alone=alone)


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


def check_undivided(trainer: Any) -> None:
    """Refuse layers or texts divided over processes, each of which would draw other partners for the same rows.

    Raises:
        ValueError: Naming the kind of parallelism.
    """
    for name, what in (("tp", "layers"), ("cp", "texts"), ("sp", "texts")):
        size = getattr(trainer, f"get_{name}_size")()
        if size > 1:
            raise ValueError(
                f"{name}_size={size} divides {what} over processes, each of which would mix other rows: use DDP "
                "(torchrun) or FSDP, where each process has rows of its own."
            )


def warn_of_lone_rows(args: Any) -> None:
    """Warn that batches of one row leave nothing to mix."""
    if args.per_device_train_batch_size == 1:
        logger.warning(
            "per_device_train_batch_size=1: each row is mixed with itself, which changes nothing. Take at least 2 "
            "rows, and fewer gradient_accumulation_steps."
        )


@dataclass
class LogitMixTrainingArguments(MixSettings, TrainingArguments):
    """Stock `TrainingArguments` plus the choices of LogitMix (Bang et al., IJCAI 2022) and its relatives.

    `mix_method` names a method, which fills every field of [`MixSettings`] that is left unset, and only those. Setting
    `mix_method` later, as a hyperparameter search does, fills them anew; `dataclasses.replace` takes filled values for
    set ones. All defaults of `TrainingArguments` are unchanged, but that `ece`, `oe`, `nll` and `brier` as
    `metric_for_best_model` are better when lower.

    Raises:
        ValueError: On an unknown method, choice or option of PuzzleMix, numbers out of range, negative or all-zero
            weights, weights of mixed terms for a method that does not mix, inputs mixed elsewhere than at the input,
            or a site at which the similarity term is identically zero; and on values of the stock arguments with which
            no training can be done: NaN, infinities, negative rates, counts below their least, options and files that
            cannot be read.
        ImportError: If the package of `report_to` is missing.
    """

    mix_method: str = field(
        default="logitmix", metadata={"help": "Training method, see docs/choose.md.", "choices": MIX_METHODS}
    )
    ignore_model_loss: bool = field(
        default=False,
        metadata={"help": "Train with the loss of mix_method also if the model computes another one in its forward."},
    )

    def __post_init__(self):
        """Fill unset fields from the method, check them, then let the base class do its part."""
        self._fill([name for name in settings_of(type(self)) if getattr(self, name) is None])
        for name in ("class_weights", "pos_weight"):
            vars(self)[name] = read_weights(name, getattr(self, name))
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

    @property
    def filled(self) -> tuple[str, ...]:
        """Names of the settings that the method filled in, as the user left them unset."""
        return tuple(self.__dict__["_filled"])

    def _fill(self, names: list[str]) -> None:
        self.__dict__.pop("_filled", None)
        method = get_method(self.mix_method)
        for name in names:
            setattr(self, name, getattr(method, name, settings_of(type(self))[name].preset))
        self.__dict__["_filled"] = list(names)

    @property
    def loss_weights(self) -> LossWeights:
        """The weights of all terms as one value."""
        return LossWeights(self.mix_weight, self.cls_weight, self.sim_weight, self.penalty_weight)

    @property
    def has_plain_steps(self) -> bool:
        """Whether some steps of a mixing method do not mix."""
        return self.mix_prob < 1.0 or self.mix_warmup != "none" or self.mix_schedule == "alternate"

    @property
    def loss_options(self) -> dict[str, Any]:
        """The choices of [`functional.mixing_loss_parts`] that hold for all batches."""
        return {
            "beta": self.lamix_beta, "sim_norm": self.sim_norm, "passes": self.vwci_passes,
        }  # fmt: skip

    @property
    def loss_terms(self) -> list[str]:
        """Names of the terms that this run may have, as they are logged."""
        weights = self.loss_weights
        clean = weights.cls_weight or (weights.needs_mixed and self.has_plain_steps)
        present = (
            weights.mix_weight, clean, weights.sim_weight, weights.penalty_weight,
            self.lamix_beta < 1.0, self.vwci_passes > 1,
        )  # fmt: skip
        return [name for name, used in zip(LOSS_TERMS, present, strict=True) if used]

    def check_mixing(self) -> None:
        """Check the mixing fields against each other, and numbers; also at the start of training, for searches.

        Raises:
            ValueError: See the class.
        """
        check_numbers(self)
        check_mixing(self)
