# SPDX-License-Identifier: Apache-2.0
"""Which arguments of a run cannot change its result: the one list; whatever it does not name counts."""

from collections.abc import Mapping
from typing import Any

__all__ = ["NEUTRAL", "SCORING", "is_neutral", "scores_choose"]

# Neither what is learnt nor how well it does. How often a run evaluates is not here: in the loop of `Trainer` an
# evaluation moves the random numbers of dropout, and so do workers that outlive an epoch.
NEUTRAL = frozenset({
    # Where things lie, and who may read them
    "output_dir", "cache_dir", "overwrite_cache", "token", "trust_remote_code",
    # What is reported, and to whom
    "debug", "disable_tqdm", "include_num_input_tokens_seen", "log_level", "log_level_replica", "log_on_each_node",
    "logging_first_step", "logging_steps", "logging_strategy", "project", "report_to", "run_name",
    "skip_memory_metrics", "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id",
    "hub_always_push", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_token", "push_to_hub",
    # What is kept while it runs
    "enable_jit_checkpoint", "save_on_each_node", "save_only_model", "save_steps", "save_strategy", "save_total_limit",
    # Which stages run, and how a broken run goes on
    "do_eval", "do_predict", "do_train", "ignore_data_skip", "restore_callback_states_from_checkpoint",
    "resume_from_checkpoint",
    # Where and in which portions the same numbers are computed
    "activation_checkpointing", "gradient_checkpointing", "dataloader_multiprocessing_context",
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_prefetch_factor", "ddp_backend",
    "ddp_bucket_cap_mb", "ddp_find_unused_parameters", "ddp_static_graph", "ddp_timeout", "eval_accumulation_steps",
    "eval_use_gather_object", "local_rank", "per_device_eval_batch_size", "torch_empty_cache_steps", "use_cpu",
})  # fmt: skip

# What is measured of a model, on which rows, and nothing of what it learns, unless scores choose the model.
SCORING = frozenset({
    "validation_file", "validation_dir", "test_file", "test_dir", "max_eval_samples", "max_predict_samples", "n_bins",
    "batch_eval_metrics", "bf16_full_eval", "eval_do_concat_batches", "fp16_full_eval", "include_for_metrics",
    "logging_nan_inf_filter", "prediction_loss_only",
})  # fmt: skip

_SAVING = ("save_steps", "save_strategy")
_PLATEAU = ("reduce_lr_on_plateau", "greedy")


def is_neutral(name: str, values: Mapping[str, Any]) -> bool:
    """Whether an argument cannot change the result of a run.

    Args:
        name (`str`): Name of the argument.
        values (`Mapping[str, Any]`): What is known of all arguments of the run; unknown ones have their defaults.
    """
    evaluates = str(values.get("eval_strategy") or "no")
    if name in ("eval_delay", "eval_steps"):
        return evaluates == "no"
    if name in _SAVING and values.get("load_best_model_at_end"):
        return False  # only what was saved can be the best
    if name == "logging_steps" and evaluates == "steps" and values.get("eval_steps") is None:
        return False  # then it says how often is evaluated
    return name in NEUTRAL


def scores_choose(values: Mapping[str, Any]) -> bool:
    """Whether what is measured in training changes what is learnt: the best checkpoint is taken, or the rate falls."""
    return bool(values.get("load_best_model_at_end")) or str(values.get("lr_scheduler_type")) in _PLATEAU
