# SPDX-License-Identifier: Apache-2.0
"""LogitMix for the Hugging Face Trainer: fine-tuned classifiers that are right and honest about their confidence."""

from importlib import import_module
from typing import Any

from logitmix_nlp.torchvision_build import warn_of_torchvision

__version__ = "0.1.0.dev0"

__all__ = ["CalibrationCallback", "CalibrationMetric", "LogitMixTrainer", "LogitMixTrainingArguments"]

_MODULES = {
    "CalibrationCallback": "callbacks",
    "CalibrationMetric": "evaluate_metrics",
    "LogitMixTrainer": "trainer",
    "LogitMixTrainingArguments": "trainer",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for, so that `logitmix_nlp.functional` needs torch only (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


warn_of_torchvision()
