# SPDX-License-Identifier: Apache-2.0
"""Mixing for any subclass of `Trainer`: wiring only. Arithmetic lives in `functional`, mixing in `mixing`."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput

from logitmix_nlp.calibration.stored_temperature import clear_temperature, scale_outputs, stored_temperature
from logitmix_nlp.functional.checks import REGRESSION, SINGLE_LABEL, check_label_values
from logitmix_nlp.functional.losses import reduce_rows, supervised_loss
from logitmix_nlp.functional.mixing import MixPlan
from logitmix_nlp.functional.mixing_loss import ROW_TERMS, mixing_loss_parts
from logitmix_nlp.functional.row_loss import RowFunction
from logitmix_nlp.mixing.mixers import MIXERS, Mixture, check_labels_mix, check_mixer, draw_mixture, mixing_sites
from logitmix_nlp.mixing.outputs import SetupError, check_classifier, logits_of
from logitmix_nlp.mixing.probe import probe
from logitmix_nlp.mixing.rng import step_generator
from logitmix_nlp.mixing.rows import repeat_rows
from logitmix_nlp.mixing.site_mixer import SiteMixer
from logitmix_nlp.mixing.sites import Site
from logitmix_nlp.training.arguments import (
    LogitMixTrainingArguments,
    check_problem_type,
    check_processes,
    check_undivided,
    warn_of_lone_rows,
)
from logitmix_nlp.training.checked_trainer import CheckedMixin
from logitmix_nlp.training.label_losses import LabelLossMixin
from logitmix_nlp.training.methods import (
    LossWeights,
    mixing_needs,
    mixing_probability,
    step_weights,
    warmup_probability,
)
from logitmix_nlp.training.other_losses import (
    check_model_loss,
    check_overrides,
    own_names,
    refuse_names,
    refuse_override,
)
from logitmix_nlp.training.soft_head import SoftHeadMixin, check_soft_head, soft_head, split_logits
from logitmix_nlp.training.term_log import TermLog
from logitmix_nlp.training.tokenizers import check_padding

__all__ = ["LogitMixMixin"]


class LogitMixMixin(LabelLossMixin, SoftHeadMixin, CheckedMixin):
    """Fine-tune classifiers with LogitMix, `L = w_mix L_mix + w_cls L_cls + w_sim L_sim` (Eq. 3), in any `Trainer`.

    `class Mine(LogitMixMixin, TheirTrainer)` adds mixing to a subclass of `Trainer` that leaves `training_step` and
    the forward call alone. [`LogitMixTrainer`] is the stock class with it.

    Takes the arguments of `Trainer`, with [`LogitMixTrainingArguments`] for `args`, and `row_loss`: a loss of one's
    own, `(logits (B, num_labels), labels) -> (B,)`, in place of cross-entropy wherever labels are, for both partners
    of a mixture. Differences to the stock class:

    - The training loss is the mean over all rows of an optimizer step, whatever the accumulation and the number of
      processes; with class weights, the weighted mean. Stock `Trainer` inflates it for most classification heads.
      Also for `mix_method="vanilla"`.
    - The weighted terms are logged beside `loss` and sum to it; batches with a non-finite loss are counted, and
      training stops once the weights are not finite.
    - Pairs and λ depend on the seed and the position in training only, so resuming and evaluating do not change them.
      Each process pairs its own rows and draws its own λ; all processes agree on whether a batch is mixed.
    - An overriding `compute_loss` must call this one. What it adds in training counts as a mean over the batch, each
      batch of a step alike, and is in `loss`, not among the terms. A model that computes another loss than the plain
      one in its `forward` is refused at the first step, unless `ignore_model_loss` is set.
    - `eval_loss` is the clean loss without label smoothing, so that it compares across methods; with class weights,
      `pos_weight` or `row_loss` it is that loss, as with stock `Trainer`.
    - For token classification (labels `(B, T)`, -100 for tokens without a tag) every tagged token is a row: losses are
      means over the tagged tokens of the optimizer step, `eval_loss` over those of the evaluation.
    - A temperature in the model's configuration divides the logits of `evaluate` and `predict`; training removes it.

    Raises:
        TypeError: If `args` is not a [`LogitMixTrainingArguments`].
        ValueError: If the model lacks the site, label smoothing, weights or `row_loss` have no meaning for its labels,
            `compute_loss_func` is given or `compute_loss` replaced, the other class takes the place of what mixing
            needs or uses its names, or one process would drive several GPUs.
    """

    # The base class then divides by the number of accumulated batches, which `compute_loss` cancels; the attribute of
    # the instance below says the same to versions that know only that one.
    loss_is_scaled_for_ga = False

    _site_mixer: SiteMixer | None = None
    _sites: list[Site]
    _probed: set[tuple[bool | str, ...] | None]
    _term_log: TermLog
    _micro_step = 0
    _unlabelled: bool | None = None
    _weighed: torch.Tensor | None = None  # loss and weight of each row of the batch that was evaluated last
    _evaluated_sizes: torch.Tensor | None = None
    _computed = False  # whether the training step computed this class's loss

    def __init__(
        self,
        model: nn.Module | None = None,
        args: LogitMixTrainingArguments | None = None,
        *rest: Any,
        row_loss: RowFunction | None = None,
        **kwargs: Any,
    ):
        args = LogitMixTrainingArguments(output_dir="tmp_trainer") if args is None else args
        if not isinstance(args, LogitMixTrainingArguments):
            raise TypeError(f"args must be LogitMixTrainingArguments, got {type(args).__name__}: it takes the same.")
        check_processes(args)
        check_overrides(type(self), LogitMixMixin)
        super().__init__(model, args, *rest, **kwargs)
        refuse_names(type(self).__name__, own_names(LogitMixMixin) & vars(self).keys(), LogitMixMixin)
        if self.compute_loss_func is not None:
            raise ValueError(
                "compute_loss_func gives one number for a batch, which cannot be mixed: give row_loss, a function "
                "(logits, labels) -> one loss for each row, instead."
            )
        self.row_loss = row_loss
        self.model_accepts_loss_kwargs = False
        self._sites, self._probed, self._term_log = [], set(), TermLog()
        self._check_setup()

    @property
    def _temperature(self) -> float:
        return stored_temperature(self.model.config)

    @property
    def _processor(self) -> Any:
        """Tokenizer or image processor, also one that only the collator has."""
        return self.processing_class or getattr(self.data_collator, "tokenizer", None)

    @property
    def _sharded(self) -> bool:
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _check_setup(self, *, trains: bool = False) -> None:
        self.args.check_mixing()
        check_undivided(self)
        model = self.accelerator.unwrap_model(self.model)
        check_classifier(model)
        problem_type = REGRESSION if model.config.num_labels == 1 else model.config.problem_type or SINGLE_LABEL
        check_problem_type(self.args, problem_type)
        self._weigh_labels(problem_type, trains=trains)
        self._soft_head = soft_head(model, self.args, known=self._soft_head, sharded=self._sharded)
        if self.args.loss_weights.needs_mixed:
            check_mixer(self.args.mixer, model, self._processor, sharded=self._sharded)
            self._sites = mixing_sites(self.args.mixer, model, self.args.mix_site)

    # ---- Training ----

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Run the stock loop with the hooks of the site and the second head on the model, and neither behind it."""
        self._check_setup(trains=True)
        check_padding(self.data_collator)
        clear_temperature(self.model.config)
        self._term_log, self._probed = TermLog(), set()
        with ExitStack() as stack:
            if self.args.loss_weights.needs_mixed:
                self._site_mixer = SiteMixer(self.accelerator.unwrap_model(self.model))
                stack.enter_context(self._site_mixer.installed())
            if self._soft_head is not None:
                self._soft_head.check_optimizer(self.optimizer)
                stack.enter_context(self._soft_head.installed(detach_features=self.args.lamix_detach_features))
            return super()._inner_training_loop(*args, **kwargs)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Fetch the batches of one optimizer step; count and weigh their rows over all processes."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            if "labels" not in batch:
                raise SetupError(
                    f"A training batch has no 'labels', only {', '.join(batch)}: name the label column 'label' or "
                    "'labels', or set remove_unused_columns=False."
                )
        self._step_sizes = self._gather_sizes([batch["labels"] for batch in batches], device)
        self._micro_step = 0
        self._term_log.begin_step()
        return batches, num_items

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Do one forward and backward pass; the plan stays active until both are done, and never longer."""
        self._computed = False
        try:
            loss = super().training_step(model, inputs, *args, **kwargs)
            return loss if self._computed else refuse_override(type(self))
        finally:
            self._micro_step += 1
            if self._site_mixer is not None:
                self._site_mixer.deactivate()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Loss of one batch: the weighted terms in training, the clean mean loss in evaluation.

        Args:
            model (`nn.Module`): The model, as wrapped for distributed training.
            inputs (`dict[str, Any]`): One batch with `labels`; not written to.
            return_outputs (`bool`): Return the model's outputs too (in training, of all rows it saw).
            num_items_in_batch (`torch.Tensor`, *optional*): Not used; rows are counted in `get_batch_samples`.

        Returns:
            `torch.Tensor` or `tuple`: Scalar loss, scaled in training so that the base class arrives at the mean over
            the rows of the optimizer step.
        """
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        problem_type = self._problem_type(labels)
        if not model.training:
            check_label_values(labels, self._num_labels, problem_type)
            outputs = model(**inputs)
            logits = scale_outputs(logits_of(outputs, model), self._temperature)
            row_loss = self._row_loss(problem_type, smooth=False)
            rows, label_sizes = row_loss.rows(logits, labels), row_loss.weights(labels)
            loss, self._weighed = reduce_rows(rows, "mean", label_sizes), None
            if label_sizes is not None:
                self._weighed = torch.stack([rows, label_sizes.to(rows.dtype)], 1).reshape(len(rows), 2, -1).sum(2)
            if not isinstance(outputs, dict):
                outputs = (loss, *outputs)  # where the base class looks for the logits in tuples
            return (loss, outputs) if return_outputs else loss
        self._computed = True
        self._probe(model, inputs, labels)
        mixture, site, weights, label_lam = self._draw(inputs, labels)
        outputs, clean, mixed, plan = self._forward(model, inputs, len(labels), mixture, site, weights)
        clean_logits, clean_soft = split_logits(clean, self._num_labels)
        mixed_logits, mixed_soft = split_logits(mixed, self._num_labels)
        row_loss = self._row_loss(problem_type)
        parts = mixing_loss_parts(
            clean_logits, mixed_logits, labels, plan, **weights.as_dict(), **self.args.loss_options,
            clean_soft=clean_soft, mixed_soft=mixed_soft, label_lam=label_lam, row_loss=row_loss, reduction="sum",
        )  # fmt: skip
        # The gradients of all processes are averaged, so this makes the sum over their rows a mean over the rows.
        sizes = {name: self._step_sizes["labels" if name in ROW_TERMS else "weights"] for name in parts}
        parts = {name: part * (self.accelerator.num_processes / sizes[name]) for name, part in parts.items()}
        self._term_log.add(parts)
        loss = sum(parts.values()) * self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Run the stock loop; its first batch tells whether the rows have labels.

        Where labels weigh, as tagged tokens do, the loss is the mean over all of them, not one of means of batches.
        """
        self._unlabelled, self._evaluated_sizes = None, None
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        if self._evaluated_sizes is not None:
            total, size = self._evaluated_sizes.tolist()
            output.metrics[f"{metric_key_prefix}_loss"] = total / size if size else 0.0
        return output

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list | None = None
    ) -> tuple:
        """Predict as the base class does; class indices that are all -1, as in GLUE's test sets, are no labels."""
        labels = inputs.get("labels")
        if labels is not None and not labels.is_floating_point():
            missing = bool((labels == -1).all())
            self._unlabelled = missing if self._unlabelled is None else self._unlabelled
            if self._unlabelled and not missing:
                raise ValueError("Rows of label -1 come before rows with classes: label all rows, or give all -1.")
            inputs = {name: value for name, value in inputs.items() if name != "labels" or not self._unlabelled}
        self._weighed = None
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        if self._weighed is not None:
            sums, sizes = self._weighed.double().unbind(1)
            added = loss - reduce_rows(sums, "mean", sizes)  # by an overriding `compute_loss`
            both = self.accelerator.gather_for_metrics(torch.stack([sums + added * sizes, sizes], 1)).sum(0)
            self._evaluated_sizes = both if self._evaluated_sizes is None else self._evaluated_sizes + both
        return loss, scale_outputs(logits, self._temperature), labels

    def _draw(
        self, inputs: dict[str, Any], labels: torch.Tensor
    ) -> tuple[Mixture | None, Site | None, LossWeights, torch.Tensor | None]:
        """Decide what this batch does, and which shares labels have if not those of the rows.

        All processes agree on the site and the weights, each has its own mixture.
        """
        args, counters = self.args, (self.args.seed, self.state.global_step, self._micro_step)
        if not args.loss_weights.needs_mixed:
            return None, None, args.loss_weights, None
        mix_draw, warmup_draw, site_draw = torch.rand(3, generator=step_generator(*counters)).tolist()
        progress = self.state.global_step / max(self.state.max_steps, 1)
        weights = step_weights(
            args.loss_weights,
            mix_prob=mixing_probability(args.mix_schedule, args.mix_prob, self.state.global_step),
            warmup=warmup_probability(args.mix_warmup, progress),
            mix_draw=mix_draw,
            warmup_draw=warmup_draw,
        )
        if not weights.needs_mixed:
            return None, None, weights, None
        scale = self._mixture_weight
        weights = replace(weights, mix_weight=scale * weights.mix_weight, sim_weight=scale * weights.sim_weight)
        generator = step_generator(*counters, rank=self.accelerator.process_index)
        mixture, label_lam = draw_mixture(
            args, len(labels), generator, partial(self._clean_loss, labels=labels), inputs, self._processor,
            labels.device,
        )  # fmt: skip
        return mixture, self._sites[int(site_draw * len(self._sites))], weights, label_lam

    def _clean_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Plain loss of unmixed rows, summed over them: what saliency is the gradient of."""
        logits, _ = split_logits(logits, self._num_labels)
        return supervised_loss(
            logits, labels, row_loss=self._row_loss(self._problem_type(labels), smooth=False), reduction="sum"
        )

    def _forward(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        rows: int,
        drawn: Mixture | None,
        site: Site | None,
        weights: LossWeights,
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None, MixPlan | None]:
        """Call the wrapped model once; return outputs, clean and mixed logits, and the plan with the true λ."""
        if not weights.needs_mixed:
            outputs = model(**repeat_rows(inputs, rows, self.args.vwci_passes))
            return outputs, logits_of(outputs, model), None, None
        mixer, mixtures = self._site_mixer, len(drawn.plan.index)
        outputs = model(**mixer.activate(inputs, site=site, keep_clean=weights.needs_clean, **drawn._asdict()))
        mixer.check_mixed()
        logits = logits_of(outputs, model)
        return outputs, logits[:-mixtures] if weights.needs_clean else None, logits[-mixtures:], mixer.plan

    def _probe(self, model: nn.Module, inputs: dict[str, Any], labels: torch.Tensor) -> None:
        """Look at the model before the first step with inputs of these names."""
        # Of a single row little can be learnt, so a larger batch is looked at again; but not with sharded parameters,
        # whose forward passes all processes must make together.
        args, rows = self.args, len(labels)
        kind = None if self._sharded else (rows > 1, *sorted(inputs))
        if kind in self._probed:
            return
        callee = model if self._sharded else self.accelerator.unwrap_model(model, keep_torch_compile=False)
        if not (self._probed or args.ignore_model_loss):
            problem_type = self._problem_type(labels)
            options = {"low_precision": self.accelerator.mixed_precision != "no", "sharded": self._sharded}
            check_model_loss(callee, inputs, labels, problem_type, **options)
        self._probed.add(kind)
        if args.loss_weights.needs_mixed:
            warn_of_lone_rows(args)
            if self._problem_type(labels) == SINGLE_LABEL:
                check_labels_mix(args.mixer, labels)
            needs = {"needs_bends": len(self._sites) > 1, **mixing_needs(args.loss_weights, args.mix_warmup)}
            needs["guided"] = MIXERS[args.mixer].guided
            probe(self._site_mixer, callee, inputs, rows, self._sites, sharded=self._sharded, **needs)
        if self._soft_head is not None:
            check_soft_head(self._soft_head, inputs, rows)

    # ---- Logging ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the base class does; log lines of the training loop carry the weighted terms beside `loss`."""
        if "loss" in logs and start_time is not None:  # the loop's own line, which all processes reach
            terms = self._term_log.pop(self.accelerator, self.args.loss_terms)
            logs = {"loss": logs["loss"], **terms, **logs}
        super().log(logs, start_time)
