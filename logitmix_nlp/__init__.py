# SPDX-License-Identifier: Apache-2.0
"""LogitMix for the Hugging Face Trainer: fine-tuned classifiers that are right and honest about their confidence."""

from typing import Any

__version__ = "0.1.0.dev0"

__all__ = ["LogitMixTrainer", "LogitMixTrainingArguments"]


def __getattr__(name: str) -> Any:
    """Import the Trainer when it is asked for, so that `logitmix_nlp.functional` needs torch only (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from logitmix_nlp import trainer

    return getattr(trainer, name)
