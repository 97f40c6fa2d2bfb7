# SPDX-License-Identifier: Apache-2.0
"""The Trainer for images: bytes come in, are cropped and flipped in training, and normalised on the device."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from logitmix_nlp.functional.augmentation import crop_flip, sample_crop_flip
from logitmix_nlp.images.arguments import ImageTrainingArguments
from logitmix_nlp.images.datasets import ImageRows
from logitmix_nlp.images.processors import model_pixels
from logitmix_nlp.images.recipes import milestone_factor
from logitmix_nlp.mixing.rng import AUGMENTATION, step_generator
from logitmix_nlp.trainer import LogitMixTrainer

__all__ = ["ImageTrainer"]


class ImageTrainer(LogitMixTrainer):
    """[`LogitMixTrainer`] whose rows are images as bytes, see [`images.rows.ImageRows`].

    Whole batches are cropped, flipped, normalised and, where each pixel is to become a square, enlarged on the device,
    before anything is mixed. Crops and flips are a function of seed, step, batch and process, as the pairs are, so
    that a resumed run sees the same images. The image processor given as `processing_class` says how pixels are
    scaled and normalised, and how large the model sees them.

    Raises:
        TypeError: If `args` is not an [`ImageTrainingArguments`].
        ValueError: If there is no image processor, its crops and flips are not set, or a crop may miss
            the image.
    """

    def __init__(
        self, model: nn.Module | None = None, args: ImageTrainingArguments | None = None, *rest: Any, **kwargs: Any
    ):
        if not isinstance(args, ImageTrainingArguments):
            raise TypeError(f"args must be ImageTrainingArguments, got {type(args).__name__}.")
        if args.crop_padding is None or args.flip_prob is None:
            raise ValueError("Set crop_padding and flip_prob: 4 and 0.5 are usual for photographs of 32x32 pixels.")
        super().__init__(model, args, *rest, **kwargs)
        if self.processing_class is None:
            raise ValueError("processing_class is missing: give the image processor, which says how to normalise.")
        if isinstance(self.train_dataset, ImageRows) and args.crop_padding >= min(self.train_dataset.shape[1:]):
            height, width = self.train_dataset.shape[1:]
            raise ValueError(
                f"crop_padding={args.crop_padding} around images of {height} x {width} pixels would crop some to "
                f"black alone: set it below {min(height, width)}; an eighth of the size is usual."
            )

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Crop and flip the images, then do one forward and backward pass."""
        images, settings = inputs["pixel_values"], self.args
        generator = step_generator(
            settings.seed, self.state.global_step, self._micro_step, self.accelerator.process_index, AUGMENTATION
        )
        plan = sample_crop_flip(
            len(images), settings.crop_padding, settings.flip_prob, generator=generator, device=images.device
        )
        inputs = {**inputs, "pixel_values": crop_flip(images, plan, settings.crop_padding)}
        return super().training_step(model, inputs, *args, **kwargs)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device, normalise and enlarge its images, in training and evaluation alike."""
        inputs = super()._prepare_inputs(inputs)
        return {**inputs, "pixel_values": model_pixels(inputs["pixel_values"], self.processing_class)}

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """The base class's schedule, or a constant learning rate that falls at `lr_milestones`."""
        if self.lr_scheduler is None and self.args.lr_milestones:
            factor = partial(
                milestone_factor,
                total=num_training_steps,
                milestones=tuple(self.args.lr_milestones),
                decay=self.args.lr_decay,
            )
            self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)
