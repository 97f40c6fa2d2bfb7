# SPDX-License-Identifier: Apache-2.0
"""The Trainer: wiring only. Arithmetic lives in `functional`, choices in `training_args`, mixing in `sites`."""

import os
from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers.utils import logging

from logitmix_nlp.checkpoints import last_complete_checkpoint
from logitmix_nlp.functional.checks import REGRESSION, SINGLE_LABEL, check_label_values, check_penalty, check_smoothing
from logitmix_nlp.functional.losses import infer_problem_type, logitmix_parts, supervised_loss
from logitmix_nlp.functional.mixing import MixPlan, sample_plan
from logitmix_nlp.methods import LossWeights, step_weights, warmup_probability
from logitmix_nlp.mixers import Mixture, check_mixer, make_mixture, pixel_std
from logitmix_nlp.outputs import LOAD_A_CLASSIFIER, logits_of
from logitmix_nlp.publishing import PublishingTrainer
from logitmix_nlp.rng import step_generator
from logitmix_nlp.site_mixer import SiteMixer
from logitmix_nlp.site_probe import probe
from logitmix_nlp.sites import Site, find_sites
from logitmix_nlp.stored_temperature import clear_temperature, scale_outputs, stored_temperature
from logitmix_nlp.term_log import TermLog
from logitmix_nlp.training_args import LogitMixTrainingArguments

__all__ = ["LogitMixTrainer", "LogitMixTrainingArguments"]

logger = logging.get_logger(__name__)


class LogitMixTrainer(PublishingTrainer):
    """Stock `Trainer` that fine-tunes classifiers with LogitMix: `L = w_mix L_mix + w_cls L_cls + w_sim L_sim`, Eq. 3.

    Takes the arguments of `Trainer`, with [`LogitMixTrainingArguments`] for `args`. Differences to the stock class:

    - The training loss is the mean over all rows of an optimizer step, whatever the accumulation and the number of
      processes; stock `Trainer` inflates it for most classification heads. Also for `mix_method="vanilla"`.
    - The weighted terms are logged beside `loss` and sum to it; batches with a non-finite loss are counted.
    - Pairs and λ depend on the seed and the position in training only, so resuming and evaluating do not change them.
      Each process pairs its own rows and draws its own λ; all processes agree on whether a batch is mixed.
    - `eval_loss` is the clean loss without label smoothing, so that it compares across methods.
    - A temperature in the model's configuration divides the logits of `evaluate` and `predict`; training removes it.
    - Pushes to the Hub read copies, are repeated and never end the training, see [`PublishingTrainer`].

    Raises:
        TypeError: If `args` is not a [`LogitMixTrainingArguments`].
        ValueError: If the model lacks the site, label smoothing has no meaning for its labels, `compute_loss_func` is
            given, or one process would drive several GPUs.
    """

    # The base class then divides by the number of accumulated batches, which `compute_loss` cancels; the attribute of
    # the instance below says the same to versions that know only that one.
    loss_is_scaled_for_ga = False

    def __init__(
        self, model: nn.Module | None = None, args: LogitMixTrainingArguments | None = None, *rest: Any, **kwargs: Any
    ):
        args = LogitMixTrainingArguments(output_dir="tmp_trainer") if args is None else args
        if not isinstance(args, LogitMixTrainingArguments):
            raise TypeError(
                f"args must be LogitMixTrainingArguments, got {type(args).__name__}: it takes the same arguments."
            )
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
        super().__init__(model, args, *rest, **kwargs)
        if self.compute_loss_func is not None:
            raise ValueError("compute_loss_func is not used by LogitMixTrainer: its loss is set by mix_method.")
        self.model_accepts_loss_kwargs = False
        self._site_mixer: SiteMixer | None = None
        self._sites: list[Site] = []
        self._probed: set[tuple[str, ...] | None] = set()
        self._window_rows: torch.Tensor | None = None
        self._micro_step = 0
        self._term_log = TermLog()
        self._check_setup()

    @property
    def num_labels(self) -> int:
        """Number of outputs of the model."""
        return self.accelerator.unwrap_model(self.model).config.num_labels

    @property
    def _temperature(self) -> float:
        return stored_temperature(self.accelerator.unwrap_model(self.model).config)

    @property
    def _sharded(self) -> bool:
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _check_setup(self) -> None:
        self.args.check_mixing()
        model = self.accelerator.unwrap_model(self.model)
        if getattr(model, "config", None) is None:
            raise TypeError(
                f"{type(model).__name__} has no config: LogitMixTrainer needs a Transformers classifier; "
                "logitmix_nlp.functional works in any training loop."
            )
        if type(model).__name__ in MODEL_MAPPING_NAMES.values():
            raise ValueError(f"{type(model).__name__} has no classification head: {LOAD_A_CLASSIFIER}")
        problem_type = REGRESSION if model.config.num_labels == 1 else model.config.problem_type or SINGLE_LABEL
        check_smoothing(self.args.label_smoothing_factor, problem_type)
        check_penalty(self.args.penalty_weight, problem_type)
        if self.args.loss_weights.needs_mixed:
            check_mixer(self.args.mixer, model, sharded=self._sharded)
            self._sites = find_sites(model, self.args.mix_site)

    # ---- Training ----

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train as the base class does; `resume_from_checkpoint=True` skips checkpoints that are half-written."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(
                    f"resume_from_checkpoint=True, but {self.args.output_dir} has no complete checkpoint: "
                    "start without it."
                )
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Run the stock loop with the hooks of the site on the model, and none of them behind it."""
        self._check_setup()
        clear_temperature(self.accelerator.unwrap_model(self.model).config)
        self._term_log = TermLog()
        if not self.args.loss_weights.needs_mixed:
            return super()._inner_training_loop(*args, **kwargs)
        self._probed = set()
        self._site_mixer = SiteMixer(self.accelerator.unwrap_model(self.model))
        with self._site_mixer.installed():
            return super()._inner_training_loop(*args, **kwargs)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Fetch the batches of one optimizer step and count their rows over all processes."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            if "labels" not in batch:
                raise ValueError(
                    f"A training batch has no 'labels', only {', '.join(batch)}: name the label column 'label' or "
                    "'labels', or set remove_unused_columns=False."
                )
            check_label_values(batch["labels"], self.num_labels)
        rows = torch.tensor([sum(len(batch["labels"]) for batch in batches)], device=device)
        self._window_rows = self.accelerator.gather(rows).sum().clamp(min=1)
        self._micro_step = 0
        self._term_log.begin_step()
        return batches, num_items

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Do one forward and backward pass; the plan stays active until both are done, and never longer."""
        try:
            return super().training_step(model, inputs, *args, **kwargs)
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
        if not model.training:
            check_label_values(labels, self.num_labels)
            outputs = model(**inputs)
            logits = scale_outputs(logits_of(outputs, model), self._temperature)
            loss = supervised_loss(logits, labels, problem_type=self._problem_type(logits, labels))
            if not isinstance(outputs, dict):
                outputs = (loss, *outputs)  # where the base class looks for the logits in tuples
            return (loss, outputs) if return_outputs else loss
        mixture, site, weights = self._draw(labels)
        outputs, clean_logits, mixed_logits, plan = self._forward(model, inputs, mixture, site, weights)
        parts = logitmix_parts(
            clean_logits,
            mixed_logits,
            labels,
            plan,
            **weights.as_dict(),
            label_smoothing=self.args.label_smoothing_factor,
            sim_norm=self.args.sim_norm,
            problem_type=self._problem_type(mixed_logits if clean_logits is None else clean_logits, labels),
            reduction="sum",
        )
        # The gradients of all processes are averaged, so this makes the sum over their rows a mean over the rows.
        scale = self.accelerator.num_processes / self._window_rows
        parts = {name: part * scale for name, part in parts.items()}
        self._term_log.add(parts)
        loss = sum(parts.values()) * self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple:
        """Predict as the base class does; class indices that are all -1, as in GLUE's test sets, are no labels."""
        labels = inputs.get("labels")
        if labels is not None and not labels.is_floating_point() and bool((labels == -1).all()):
            inputs = {name: value for name, value in inputs.items() if name != "labels"}
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        return loss, scale_outputs(logits, self._temperature), labels

    def _draw(self, labels: torch.Tensor) -> tuple[Mixture | None, Site | None, LossWeights]:
        """Decide what this batch does; all processes agree on the site and the weights, each has its own mixture."""
        args, counters = self.args, (self.args.seed, self.state.global_step, self._micro_step)
        if not args.loss_weights.needs_mixed:
            return None, None, args.loss_weights
        mix_draw, warmup_draw, site_draw = torch.rand(3, generator=step_generator(*counters)).tolist()
        progress = self.state.global_step / max(self.state.max_steps, 1)
        weights = step_weights(
            args.loss_weights,
            mix_prob=args.mix_prob,
            warmup=warmup_probability(args.mix_warmup, progress),
            mix_draw=mix_draw,
            warmup_draw=warmup_draw,
        )
        generator = step_generator(*counters, rank=self.accelerator.process_index)
        rows, each, device = len(labels), args.lam_per_sample, labels.device
        plan = sample_plan(
            rows, args.mix_alpha, per_sample=each, pairing=args.mix_pairing, generator=generator, device=device
        )
        mixture = make_mixture(
            args.mixer,
            plan,
            generator,
            lambda x: supervised_loss(x, labels, problem_type=self._problem_type(x, labels), reduction="sum"),
            per_sample=each,
            puzzle_options=args.puzzle_settings,
            std=pixel_std(self.processing_class),
        )
        return mixture, self._sites[int(site_draw * len(self._sites))], weights

    def _forward(
        self, model: nn.Module, inputs: dict[str, Any], drawn: Mixture | None, site: Site | None, weights: LossWeights
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None, MixPlan | None]:
        """Call the wrapped model once; return outputs, clean and mixed logits, and the plan with the true λ."""
        if not weights.needs_mixed:
            outputs = model(**inputs)
            return outputs, logits_of(outputs, model), None, None
        mixer, rows = self._site_mixer, len(drawn.plan.index)
        kind = None if self._sharded else tuple(sorted(inputs))  # a forward pass of sharded parameters is a collective
        if kind not in self._probed:
            callee = model if self._sharded else self.accelerator.unwrap_model(model, keep_torch_compile=False)
            needs = {"needs_similarity": self.args.loss_weights.sim_weight > 0, "needs_bends": len(self._sites) > 1}
            probe(mixer, callee, inputs, rows, self._sites, **needs)
            self._probed.add(kind)
        outputs = model(**mixer.activate(inputs, site=site, keep_clean=weights.needs_clean, **drawn._asdict()))
        mixer.check_mixed()
        logits = logits_of(outputs, model)
        return outputs, logits[:rows] if weights.needs_clean else None, logits[-rows:], mixer.plan

    def _problem_type(self, logits: torch.Tensor, labels: torch.Tensor) -> str:
        """Read the kind of labels from the config, and note it there as Transformers' heads do in their loss."""
        config = self.accelerator.unwrap_model(self.model).config
        if config.problem_type is None:
            config.problem_type = infer_problem_type(logits, labels)
        return config.problem_type

    # ---- Logging ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as the base class does; log lines of the training loop carry the weighted terms beside `loss`."""
        if "loss" in logs and start_time is not None:  # the loop's own line, which all processes reach
            terms, nonfinite = self._term_log.pop(self.accelerator)
            logs = {"loss": logs["loss"], **{name: terms[name] for name in self.args.loss_terms}, **logs}
            if nonfinite:
                logs["nonfinite_batches"] = nonfinite
                logger.warning(
                    f"{nonfinite} batches since the last log line had a loss that is not finite; the logged `loss` "
                    "leaves them out. Lower the learning rate, or check the data and the mixed-precision settings."
                )
        super().log(logs, start_time)
