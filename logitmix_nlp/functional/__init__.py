# SPDX-License-Identifier: Apache-2.0
"""LogitMix and the ways to mix as pure functions: tensors in, tensors out; torch only, no state."""

from logitmix_nlp.functional.calibration import (
    ConfidenceBins,
    brier_score,
    confidence_bins,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
)
from logitmix_nlp.functional.cutmix import cutmix, sample_boxes
from logitmix_nlp.functional.losses import (
    confidence_penalty,
    infer_problem_type,
    logit_similarity,
    logitmix_parts,
    mixed_cross_entropy,
    supervised_loss,
)
from logitmix_nlp.functional.mixing import PAIRINGS, MixPlan, mix, sample_plan, union_mask
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

__all__ = [
    "PAIRINGS",
    "AdversarialDraw",
    "ConfidenceBins",
    "MixPlan",
    "adversarial_noise",
    "brier_score",
    "confidence_penalty",
    "confidence_bins",
    "cutmix",
    "expected_calibration_error",
    "infer_problem_type",
    "logit_similarity",
    "logitmix_parts",
    "mix",
    "mixed_cross_entropy",
    "negative_log_likelihood",
    "overconfidence_error",
    "perturb",
    "puzzlemix",
    "saliency",
    "sample_adversarial",
    "sample_boxes",
    "sample_grid",
    "sample_plan",
    "start_noise",
    "supervised_loss",
    "union_mask",
]
