# SPDX-License-Identifier: Apache-2.0
"""What arguments may not say: checks that need no model."""

import os
from typing import Any

from transformers.utils import logging

from logitmix_nlp.functional.checks import (
    SINGLE_LABEL,
    check_penalty,
    check_smoothing,
    check_soft_labels,
    check_weights,
)
from logitmix_nlp.functional.lamix import LABEL_LAMS, MIX_LAMS
from logitmix_nlp.functional.mixing import PAIRINGS
from logitmix_nlp.mixing.mixers import MIXERS, check_puzzle_options
from logitmix_nlp.training.methods import SCHEDULES, get_method, warmup_probability

__all__ = ["check_label_names", "check_mixing", "check_problem_type", "check_processes", "warn_of_lone_rows"]

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
