# SPDX-License-Identifier: Apache-2.0
"""LogitMix for the Hugging Face Trainer: fine-tuned classifiers that are right and honest about their confidence."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from logitmix_nlp import moved as moved
from logitmix_nlp.torchvision_build import warn_of_torchvision

if TYPE_CHECKING:
    from logitmix_nlp.calibration.callbacks import CalibrationCallback
    from logitmix_nlp.calibration.evaluate_metrics import CalibrationMetric, EntityMetric
    from logitmix_nlp.calibration.metrics import compute_metrics_for
    from logitmix_nlp.calibration.pipelines import CalibratedTextClassificationPipeline
    from logitmix_nlp.calibration.stored_temperature import calibrated_logits
    from logitmix_nlp.calibration.temperature import TemperatureScaler, VectorScaler
    from logitmix_nlp.calibration.token_metrics import TokenMetrics
    from logitmix_nlp.publishing.card import CardOptions, DatasetFacts
    from logitmix_nlp.trainer import LogitMixTrainer
    from logitmix_nlp.training.arguments import LogitMixTrainingArguments
    from logitmix_nlp.training.mixin import LogitMixMixin

__version__ = "0.1.0.dev0"

_MODULES = {
    "CalibratedTextClassificationPipeline": "calibration.pipelines",
    "CalibrationCallback": "calibration.callbacks",
    "CalibrationMetric": "calibration.evaluate_metrics",
    "CardOptions": "publishing.card",
    "DatasetFacts": "publishing.card",
    "EntityMetric": "calibration.evaluate_metrics",
    "LogitMixMixin": "training.mixin",
    "LogitMixTrainer": "trainer",
    "LogitMixTrainingArguments": "training.arguments",
    "TemperatureScaler": "calibration.temperature",
    "TokenMetrics": "calibration.token_metrics",
    "VectorScaler": "calibration.temperature",
    "calibrated_logits": "calibration.stored_temperature",
    "compute_metrics_for": "calibration.metrics",
}

__all__ = [
    "CalibratedTextClassificationPipeline",
    "CalibrationCallback",
    "CalibrationMetric",
    "CardOptions",
    "DatasetFacts",
    "EntityMetric",
    "LogitMixMixin",
    "LogitMixTrainer",
    "LogitMixTrainingArguments",
    "TemperatureScaler",
    "TokenMetrics",
    "VectorScaler",
    "calibrated_logits",
    "compute_metrics_for",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `logitmix_nlp.functional` needs torch only (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Show the public names to `dir()` and to interactive completion."""
    return sorted({*globals(), *__all__})


warn_of_torchvision()
