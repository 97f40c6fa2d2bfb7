# SPDX-License-Identifier: Apache-2.0
"""What shows only while a Trainer trains: optimizers and schedules that cannot be made, debugging, and divergence."""

from typing import Any

import torch
from transformers.debug_utils import DebugOption
from transformers.utils import logging

from logitmix_nlp.mixing.outputs import Diverged, SetupError
from logitmix_nlp.training.model_folders import broken_weight, explained

__all__ = ["CheckedMixin"]

logger = logging.get_logger(__name__)


class CheckedMixin:
    """`Trainer` that names the arguments of which no optimizer or schedule can be made, and ends where it diverged.

    A log line with losses that are not finite has the weights looked at; once they hold NaN or infinity no step can
    repair them, so training stops there with an error in the log. With `load_best_model_at_end` the best model is
    loaded as ever.
    """

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Run the stock loop; a `SetupError` if its search for overflows cannot read what the modules are given."""
        try:
            return super()._inner_training_loop(*args, **kwargs)
        except NotImplementedError as error:
            if DebugOption.UNDERFLOW_OVERFLOW not in self.args.debug:
                raise
            raise SetupError(
                f"debug='underflow_overflow' of Transformers cannot read what layers of this model get ({error}): "
                "load the model with attn_implementation='eager', whose masks are numbers, or leave debug out."
            ) from error

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """The base class's optimizer; a `SetupError` if `optim` and its options do not go together."""
        optim, options = _text(self.args.optim), self.args.optim_args
        with explained(f"optim={optim} cannot be made with optim_args={options!r}", SetupError):
            return super().create_optimizer(*args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The base class's schedule; a `SetupError` if `lr_scheduler_type` and its options do not go together."""
        kind, options = _text(self.args.lr_scheduler_type), self.args.lr_scheduler_kwargs
        with explained(f"lr_scheduler_type={kind} cannot be made with lr_scheduler_kwargs={options!r}", SetupError):
            return super().create_scheduler(num_training_steps, optimizer)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and stop training if it cannot go on."""
        super().log(logs, start_time)
        if "nonfinite_batches" in logs and not self.control.should_training_stop:
            broken = self.broken_weight()
            if broken is not None:
                logger.error(
                    f"Training has diverged by step {self.state.global_step} and is stopped: {broken} is not finite. "
                    "Lower the learning rate, clip gradients (max_grad_norm=1), or warm up (warmup_steps)."
                )
                self.control.should_training_stop = True

    def broken_weight(self) -> str | None:
        """Name of a weight that is NaN or infinite; `None` if there is none, or they are sharded."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return None
        return broken_weight(self.accelerator.unwrap_model(self.model))

    def check_converged(self) -> None:
        """Refuse to go on with a model whose weights are not finite.

        Raises:
            Diverged: Saying what to change.
        """
        broken = self.broken_weight()
        if broken is not None:
            raise Diverged(
                f"training has diverged by step {self.state.global_step}: {broken} is not finite, and the model was "
                "not saved. Lower --learning_rate, clip gradients (--max_grad_norm 1) or warm up (--warmup_steps), "
                "and choose another --output_dir."
            )


def _text(choice: Any) -> str:
    return getattr(choice, "value", choice)
