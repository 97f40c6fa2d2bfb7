# SPDX-License-Identifier: Apache-2.0
"""LogitMix as pure functions: tensors in, tensors out; torch only, no state."""

from logitmix_nlp.functional.calibration import (
    ConfidenceBins,
    brier_score,
    confidence_bins,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)
from logitmix_nlp.functional.losses import (
    infer_problem_type,
    logit_similarity,
    logitmix_parts,
    mixed_cross_entropy,
    supervised_loss,
)
from logitmix_nlp.functional.mixing import MixPlan, mix, sample_plan, union_mask

__all__ = [
    "ConfidenceBins",
    "MixPlan",
    "brier_score",
    "confidence_bins",
    "expected_calibration_error",
    "infer_problem_type",
    "logit_similarity",
    "logitmix_parts",
    "mix",
    "mixed_cross_entropy",
    "negative_log_likelihood",
    "overconfidence_error",
    "sample_plan",
    "supervised_loss",
    "union_mask",
]
