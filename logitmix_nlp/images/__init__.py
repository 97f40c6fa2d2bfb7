# SPDX-License-Identifier: Apache-2.0
"""Image classification: data, models for small images, recipes and the Trainer that crops and flips."""

from logitmix_nlp.images.arguments import ImageDataArguments, ImageModelArguments, ImageTrainingArguments
from logitmix_nlp.images.trainer import ImageTrainer

__all__ = ["ImageDataArguments", "ImageModelArguments", "ImageTrainer", "ImageTrainingArguments"]
