# SPDX-License-Identifier: Apache-2.0
"""The second head of LaMix, `W_t`: part of the model while it trains, and of nothing that is saved for use."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from torch import nn

from logitmix_nlp.mixing.outputs import SetupError, logits_of
from logitmix_nlp.mixing.rng import START_VALUES, step_generator
from logitmix_nlp.mixing.rows import take_rows
from logitmix_nlp.training.checkpoints import ResumableMixin

__all__ = [
    "HEAD_FILE",
    "SoftHeadMixin",
    "SoftLabelHead",
    "check_soft_head",
    "find_classifier",
    "soft_head",
    "split_logits",
]

HEAD_NAME = "lamix_head"
HEAD_FILE = f"{HEAD_NAME}.safetensors"


class TrainingOnlyLinear(nn.Module):
    """Linear layer of the shape of another one, whose parameters train but are in no state dict.

    Args:
        like (`nn.Linear`): Gives shape, bias or none, dtype and device.
        generator (`torch.Generator`): Source of the start values, those of `nn.Linear`; the global one stays as it is.
    """

    def __init__(self, like: nn.Linear, generator: torch.Generator):
        super().__init__()
        bound = like.in_features**-0.5
        for name, given in (("weight", like.weight), ("bias", like.bias)):
            value = None
            if given is not None:
                draw = torch.rand(given.shape, generator=generator) * (2 * bound) - bound
                value = nn.Parameter(draw.to(given.device, given.dtype))
            self.register_parameter(name, value)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`W_t S`: `(..., features)` to `(..., num_labels)`."""
        return F.linear(features, self.weight, self.bias)

    def _save_to_state_dict(self, *args: Any) -> None:
        """Add nothing."""

    def _load_from_state_dict(self, *args: Any) -> None:
        """Miss nothing."""


class SoftLabelHead:
    """`W_t` of LaMix (Eq. 9) on one model: a twin of the classifier's last linear layer, which sees what that sees.

    While [`installed`], the output of that layer carries `W_t S` behind its own columns in training mode, so that both
    take the same way to the logits (a decoder's head picks one token from both), and `W_t` is a part of the model
    for the optimizer, gradient clipping and distributed wrappers. `state_dict()` never shows it. The same object may
    be installed again: `W_t` goes on from where it was.

    Args:
        model (`nn.Module`): The model, not wrapped for distributed training.
        num_labels (`int`): Number of classes.
        seed (`int`): Seed of the run, for the start values.

    Raises:
        ValueError: See [`find_classifier`].
    """

    def __init__(self, model: nn.Module, num_labels: int, *, seed: int):
        self.model, self.classifier = model, find_classifier(model, num_labels)
        self.linear = TrainingOnlyLinear(self.classifier, step_generator(seed, 0, 0, purpose=START_VALUES))

    @contextmanager
    def installed(self, *, detach_features: bool) -> Iterator[None]:
        """Keep `W_t` on the model while the context is open.

        Args:
            detach_features (`bool`): Let no gradient run from `W_t` to the features S.
        """

        def widen(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
            if not module.training:
                return None
            features = args[0].detach() if detach_features else args[0]
            return torch.cat([output, self.linear(features)], dim=-1)

        handle = self.classifier.register_forward_hook(widen)
        self.model.add_module(HEAD_NAME, self.linear)
        try:
            yield
        finally:
            handle.remove()
            delattr(self.model, HEAD_NAME)

    def check_optimizer(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Refuse an optimizer that was made before `W_t`.

        Raises:
            ValueError: Saying how to pass it instead.
        """
        if optimizer is None:
            return
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not all(id(p) in known for p in self.linear.parameters()):
            raise ValueError(
                "The optimizer in `optimizers` was made before the second head of LaMix and would not train it: pass "
                "optimizer_cls_and_kwargs or set optim, or train without the head (lamix_beta=1)."
            )

    def save(self, folder: str | Path) -> None:
        """Write `W_t` beside the optimizer of a checkpoint."""
        tensors = {name: p.detach().contiguous() for name, p in self.linear.named_parameters()}
        save_file(tensors, Path(folder) / HEAD_FILE)

    @torch.no_grad()
    def load(self, folder: str | Path) -> None:
        """Read what [`save`] wrote.

        Raises:
            ValueError: If the checkpoint has no such file.
        """
        path = Path(folder) / HEAD_FILE
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {HEAD_FILE}: it was written with lamix_beta=1, by another method, or with "
                "save_only_model=True. Start without it, or set the method it was written with."
            )
        saved = load_file(path)
        for name, p in self.linear.named_parameters():
            p.copy_(saved[name])


class SoftHeadMixin(ResumableMixin):
    """[`ResumableMixin`] whose checkpoints hold `W_t` beside the optimizer's state, if there is one."""

    _soft_head: SoftLabelHead | None = None

    @property
    def checkpoint_files(self) -> tuple[str, ...]:
        """The file of `W_t`, if there is one."""
        return () if self._soft_head is None else (HEAD_FILE,)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._soft_head is not None and self.args.should_save:
            self._soft_head.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._soft_head is not None and checkpoint is not None:
            self._soft_head.load(checkpoint)
        super()._load_optimizer_and_scheduler(checkpoint)


def soft_head(model: nn.Module, args: Any, *, known: SoftLabelHead | None, sharded: bool) -> SoftLabelHead | None:
    """`W_t` for a model, if the arguments ask for it.

    Args:
        model (`nn.Module`): The model, not wrapped for distributed training.
        args (`LogitMixTrainingArguments`): `lamix_beta` and `seed` are read.
        known (`SoftLabelHead`, *optional*): The one there is; kept if it is of this model, so that a second training
            goes on with it.
        sharded (`bool`): Whether FSDP or DeepSpeed shards the parameters.

    Raises:
        ValueError: If parameters are sharded, or as [`find_classifier`].
    """
    if args.lamix_beta == 1.0:
        return None
    if sharded:
        raise ValueError(
            f"lamix_beta={args.lamix_beta} adds a second head in training, which FSDP and DeepSpeed would save with "
            "the model: use plain DDP (torchrun), or set lamix_beta to 1."
        )
    if known is not None and known.model is model:
        return known
    return SoftLabelHead(model, model.config.num_labels, seed=args.seed)


def find_classifier(model: nn.Module, num_labels: int) -> nn.Linear:
    """The linear layer that should make the logits: the last one with `num_labels` outputs.

    Raises:
        ValueError: If there is none; the message names the last layers with weights.
    """
    last = None
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features == num_labels:
            last = module
    if last is not None:
        return last
    layers = [
        f"{name} ({type(module).__name__})" for name, module in model.named_modules() if "weight" in module._parameters
    ]
    raise ValueError(
        f"lamix_beta below 1 needs a classifier that ends in nn.Linear with {num_labels} outputs, but the last layers "
        f"of {type(model).__name__} are {', '.join(layers[-3:])}: set lamix_beta to 1 (no second head), or choose "
        "another model."
    )


@torch.no_grad()
def check_soft_head(head: SoftLabelHead, inputs: dict[str, Any], rows: int) -> None:
    """Check with two rows of a real batch, in evaluation mode, that the layer `W_t` is a twin of makes the logits.

    Args:
        head (`SoftLabelHead`): On the model to check.
        inputs (`dict[str, Any]`): Keyword arguments of the model for a batch, without labels.
        rows (`int`): Rows in the batch.

    Raises:
        SetupError: If its outputs are changed on their way to the logits, or not used.
    """
    model, made = head.model, []
    few = min(rows, 2)
    handle = head.classifier.register_forward_hook(lambda module, args, output: made.append(output))
    training = model.training
    model.eval()
    try:
        logits = logits_of(model(**take_rows(inputs, rows, torch.arange(few))), model)
    finally:
        handle.remove()
        model.train(training)
    logits = logits.reshape(few, -1, logits.shape[-1])  # of one place in each row, or of every token
    outputs = made[-1].reshape(few, -1, logits.shape[-1]) if made else logits[:, :0]
    if not (outputs == logits.to(outputs.dtype)).all(-1).any(1).all():
        name = next(name for name, module in model.named_modules() if module is head.classifier)
        raise SetupError(
            f"lamix_beta below 1 needs a linear layer whose outputs are the logits, but those of {name} in "
            f"{type(model).__name__} are not: set lamix_beta to 1 (no second head), or choose another model."
        )


def split_logits(logits: torch.Tensor | None, num_labels: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Take apart what the model returns: logits, and `W_t S` if its columns are there.

    Args:
        logits (`torch.Tensor` of shape `(..., num_labels)` or `(..., 2 * num_labels)`, *optional*): Of rows or tokens.
        num_labels (`int`): Number of classes.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Each of shape `(..., num_labels)`, or `None` where there is nothing.
    """
    if logits is None or logits.shape[-1] == num_labels:
        return logits, None
    return logits[..., :num_labels], logits[..., num_labels:]
