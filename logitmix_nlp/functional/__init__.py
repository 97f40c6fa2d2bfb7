# SPDX-License-Identifier: Apache-2.0
"""LogitMix and the ways to mix as pure functions: tensors in, tensors out; torch only, no state."""

import warnings
from typing import Any

from logitmix_nlp.functional.bootstrap import Interval, bootstrap_interval, bootstrap_intervals
from logitmix_nlp.functional.calibration import (
    ConfidenceBins,
    confidence_bins,
    expected_calibration_error,
    maximum_calibration_error,
    overconfidence_error,
)
from logitmix_nlp.functional.classwise import class_confidence_bins, classwise_calibration_error
from logitmix_nlp.functional.cutmix import cutmix, sample_boxes
from logitmix_nlp.functional.ensembles import EnsembleScores, ensemble_scores
from logitmix_nlp.functional.lamix import global_soft_label, lamix_shares, soft_label_loss
from logitmix_nlp.functional.losses import (
    confidence_penalty,
    logit_similarity,
    mixed_cross_entropy,
    supervised_loss,
)
from logitmix_nlp.functional.metrics import METRICS, Metric, Predictions, metric_intervals, metric_values
from logitmix_nlp.functional.mixing import PAIRINGS, MixPlan, PartialPlan, mix, mixture_count, sample_plan, union_mask
from logitmix_nlp.functional.mixing_loss import LOSS_TERMS, mixing_loss_parts
from logitmix_nlp.functional.multilabel import label_confidence_bins, label_score_sums
from logitmix_nlp.functional.ood import OodScores, ood_metrics, ood_scores
from logitmix_nlp.functional.puzzlemix import (
    AdversarialDraw,
    adversarial_noise,
    perturb,
    puzzlemix,
    saliency,
    sample_adversarial,
    sample_grid,
    start_noise,
)
from logitmix_nlp.functional.ranking import auroc, false_positive_rate
from logitmix_nlp.functional.rescaling import rescale_inputs, rescale_logits, truncated_beta_mean
from logitmix_nlp.functional.row_loss import RowLoss, infer_problem_type
from logitmix_nlp.functional.scores import ScoreSums, brier_score, negative_log_likelihood, score_sums
from logitmix_nlp.functional.selective import (
    RiskCoverage,
    RowConfidences,
    adaptive_calibration_error,
    area_under_risk_coverage,
    confidence_auroc,
    row_confidences,
)
from logitmix_nlp.functional.span import (
    Spans,
    paste_spans,
    salient_spans,
    sample_spans,
    text_segments,
    token_saliency,
)
from logitmix_nlp.functional.vwci import normalized_variance, vwci_parts

__all__ = [
    "LOSS_TERMS",
    "METRICS",
    "PAIRINGS",
    "AdversarialDraw",
    "ConfidenceBins",
    "EnsembleScores",
    "Interval",
    "Metric",
    "MixPlan",
    "OodScores",
    "PartialPlan",
    "Predictions",
    "RiskCoverage",
    "RowConfidences",
    "RowLoss",
    "ScoreSums",
    "Spans",
    "adaptive_calibration_error",
    "adversarial_noise",
    "area_under_risk_coverage",
    "auroc",
    "bootstrap_interval",
    "bootstrap_intervals",
    "brier_score",
    "class_confidence_bins",
    "classwise_calibration_error",
    "confidence_auroc",
    "confidence_bins",
    "confidence_penalty",
    "cutmix",
    "ensemble_scores",
    "expected_calibration_error",
    "false_positive_rate",
    "global_soft_label",
    "infer_problem_type",
    "label_confidence_bins",
    "label_score_sums",
    "lamix_shares",
    "logit_similarity",
    "maximum_calibration_error",
    "metric_intervals",
    "metric_values",
    "mix",
    "mixed_cross_entropy",
    "mixing_loss_parts",
    "mixture_count",
    "negative_log_likelihood",
    "normalized_variance",
    "ood_metrics",
    "ood_scores",
    "overconfidence_error",
    "paste_spans",
    "perturb",
    "puzzlemix",
    "rescale_inputs",
    "rescale_logits",
    "row_confidences",
    "saliency",
    "salient_spans",
    "sample_adversarial",
    "sample_boxes",
    "sample_grid",
    "sample_plan",
    "sample_spans",
    "score_sums",
    "soft_label_loss",
    "start_noise",
    "supervised_loss",
    "text_segments",
    "token_saliency",
    "truncated_beta_mean",
    "union_mask",
    "vwci_parts",
]


def __getattr__(name: str) -> Any:
    """Give the one loss by its two old names, kept until version 0.3, with a warning."""
    if name not in ("logitmix_parts", "lamix_parts"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is now {__name__}.mixing_loss_parts.", DeprecationWarning, stacklevel=2)
    return mixing_loss_parts
