# SPDX-License-Identifier: Apache-2.0
"""The trainer of this library, composed here and nowhere else: mixing, cards and pushes on the stock `Trainer`."""

from transformers import Trainer

from logitmix_nlp.publishing.trainer import PublishingMixin
from logitmix_nlp.training.arguments import LogitMixTrainingArguments
from logitmix_nlp.training.mixin import LogitMixMixin

__all__ = ["LogitMixTrainer", "LogitMixTrainingArguments"]


class LogitMixTrainer(LogitMixMixin, PublishingMixin, Trainer):
    """Stock `Trainer` that fine-tunes classifiers with LogitMix, see [`LogitMixMixin`], and publishes them safely.

    Takes the arguments of `Trainer`, with [`LogitMixTrainingArguments`] for `args`. Pushes to the Hub read copies, are
    repeated and never end the training, see [`PublishingMixin`].

    Raises:
        TypeError: If `args` is not a [`LogitMixTrainingArguments`].
        ValueError: As [`LogitMixMixin`].
    """
