# SPDX-License-Identifier: Apache-2.0
"""Each score against scikit-learn or SciPy; where their answer is NaN, ours is 0.0."""

import warnings
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from glue_runs.tasks.scores import SCORES, accuracy, f1, matthews_correlation, pearson, spearmanr

RANDOM = np.random.default_rng(0)
REFERENCES = {
    "accuracy": lambda predictions, labels: sk.accuracy_score(labels, predictions),
    "f1": lambda predictions, labels: sk.f1_score(labels, predictions),
    "matthews_correlation": lambda predictions, labels: sk.matthews_corrcoef(labels, predictions),
    "pearson": lambda predictions, labels: stats.pearsonr(predictions, labels).statistic,
    "spearmanr": lambda predictions, labels: stats.spearmanr(predictions, labels).statistic,
}
CLASSES = {  # predictions, labels
    "random": RANDOM.integers(2, size=(2, 300)),
    "rare class": (RANDOM.random((2, 300)) < 0.02).astype(int),
    "constant predictions": ([1, 1, 1, 1], [0, 1, 1, 0]),
    "other constant predictions": ([0, 0, 0, 0], [0, 1, 1, 0]),
    "constant labels": ([0, 1, 0, 1], [1, 1, 1, 1]),
    "both constant and equal": ([1, 1, 1], [1, 1, 1]),
    "both constant and unequal": ([1, 1, 1], [0, 0, 0]),
    "class absent": ([0, 0, 0], [0, 0, 0]),
    "all right": ([0, 1, 1, 0], [0, 1, 1, 0]),
    "all wrong": ([1, 0, 0, 1], [0, 1, 1, 0]),
    "one right row": ([1], [1]),
    "one wrong row": ([1], [0]),
    "two rows": ([1, 0], [1, 1]),
}
NOISE = RANDOM.normal(size=200)
SCORE = RANDOM.uniform(0, 5, size=200)
SCORES_OF_ROWS = {
    "random": (SCORE + NOISE, SCORE),
    "opposite": (-2 * SCORE, SCORE),
    "unrelated": (NOISE, SCORE),
    "ties": (np.round(SCORE + NOISE), np.round(SCORE)),
    "integers": (np.round(SCORE + NOISE).astype(int), np.round(SCORE)),
    "large offset": (1e8 + SCORE + NOISE, SCORE),
    "large offset of labels": (NOISE, 1e8 + SCORE + NOISE),
    "tiny variance": (1e-150 * (SCORE + NOISE), SCORE),
    "large values": (1e150 * (SCORE + NOISE), SCORE),
    "outlier": (np.append(NOISE, 1e9), np.append(SCORE, 0.0)),
    "float32": ((1000 + SCORE + NOISE).astype(np.float32), SCORE),
    "float32 labels": (NOISE, SCORE.astype(np.float32)),
    "float16": ((SCORE + NOISE).astype(np.float16), SCORE),
    "two rows": ([1.0, 2.0], [5.0, 3.0]),
    "constant predictions": ([2.5, 2.5, 2.5], [1.0, 2.0, 3.0]),
    "constant labels": ([1.0, 2.0, 3.0], [2.5, 2.5, 2.5]),
    "both constant": ([1.0, 1.0], [1.0, 1.0]),
    "constant float32": (np.full(3, 0.1, np.float32), [1.0, 2.0, 3.0]),
}


def reference(name, predictions, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(np.nan_to_num(REFERENCES[name](predictions, labels), nan=0.0))


def exact_pearson(predictions, labels):
    """Pearson's r in exact fractions, but for the root, which has 60 digits."""
    getcontext().prec = 60
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(predictions, labels, strict=True)]
    means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
    pairs = [(a - means[0], b - means[1]) for a, b in pairs]
    together, first, second = (sum(pair[i] * pair[j] for pair in pairs) for i, j in ((0, 1), (0, 0), (1, 1)))
    square = first * second
    return float(
        Decimal(together.numerator)
        / Decimal(together.denominator)
        / (Decimal(square.numerator) / Decimal(square.denominator)).sqrt()
    )


@pytest.mark.parametrize("case", CLASSES)
@pytest.mark.parametrize("score", [accuracy, f1, matthews_correlation])
def test_class_scores_equal_scikit_learn(score, case):
    predictions, labels = map(np.asarray, CLASSES[case])
    ours = score(predictions, labels)
    assert type(ours) is float
    assert ours == pytest.approx(reference(score.__name__, predictions, labels), abs=1e-15)


@pytest.mark.parametrize("score", [accuracy, matthews_correlation])
def test_scores_of_three_classes_equal_scikit_learn(score):
    predictions, labels = RANDOM.integers(3, size=(2, 300))
    assert score(predictions, labels) == pytest.approx(reference(score.__name__, predictions, labels), abs=1e-15)


@pytest.mark.parametrize("case", CLASSES)
def test_reversed_label_order_changes_no_score(case):
    predictions, labels = map(np.asarray, CLASSES[case])
    for name in ("accuracy", "f1", "matthews_correlation"):
        reversed_score = SCORES[name](1 - predictions, 1 - labels, 0)
        assert reversed_score == pytest.approx(SCORES[name](predictions, labels, 1), abs=1e-15)
    assert f1(predictions, labels, positive_label=0) == sk.f1_score(
        labels, predictions, pos_label=0, zero_division=0.0
    )


@pytest.mark.parametrize("case", SCORES_OF_ROWS)
@pytest.mark.parametrize("score", [pearson, spearmanr])
def test_correlations_equal_scipy_in_float64(score, case):
    predictions, labels = map(np.asarray, SCORES_OF_ROWS[case])
    ours = score(predictions, labels)
    wide = reference(score.__name__, predictions.astype(np.float64), labels.astype(np.float64))
    assert type(ours) is float
    assert ours == wide
    assert -1 <= ours <= 1


@pytest.mark.parametrize("case", [case for case in SCORES_OF_ROWS if "constant" not in case])
def test_pearson_is_exact_to_twelve_digits(case):
    predictions, labels = map(np.asarray, SCORES_OF_ROWS[case])
    assert pearson(predictions, labels) == pytest.approx(exact_pearson(predictions, labels), abs=1e-12)


def test_float32_would_not_do():
    """At an offset of 1e8 float32 holds multiples of 8, so that the score of narrowed rows is another one."""
    predictions, labels = SCORES_OF_ROWS["large offset"]
    assert abs(pearson(predictions.astype(np.float32), labels) - pearson(predictions, labels)) > 0.1


@pytest.mark.parametrize("score", [matthews_correlation, pearson, spearmanr])
@pytest.mark.parametrize(
    ("predictions", "labels"), [([1, 1, 1], [0, 1, 0]), ([0, 1, 0], [1, 1, 1]), ([1, 1], [1, 1]), ([1], [0])]
)
def test_correlation_with_a_constant_is_zero_without_warning(score, predictions, labels):
    assert score(np.array(predictions), np.array(labels)) == 0.0


def test_nearly_constant_predictions_give_no_warning():
    predictions = 1e6 + np.array([0.0, 1e-9, 2e-9, 1e-9])
    assert np.isfinite(pearson(predictions, np.arange(4.0)))
