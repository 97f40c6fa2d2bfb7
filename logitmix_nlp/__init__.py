# SPDX-License-Identifier: Apache-2.0
"""LogitMix for the Hugging Face Trainer: fine-tuned classifiers that are right and honest about their confidence."""

from logitmix_nlp.trainer import LogitMixTrainer
from logitmix_nlp.training_args import LogitMixTrainingArguments

__version__ = "0.1.0.dev0"

__all__ = ["LogitMixTrainer", "LogitMixTrainingArguments"]
