# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.autograd import gradcheck
from transformers.trainer_pt_utils import LabelSmoother

from logitmix_nlp.functional import (
    MixPlan,
    RowLoss,
    logit_similarity,
    mix,
    mixed_cross_entropy,
    mixing_loss_parts,
    supervised_loss,
)

INDEX = torch.tensor([1, 2, 0])
LOGITS = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0], [-2.0, 1.0, 0.0]])
LABELS = torch.tensor([0, 2, 1])
TARGETS = {
    "single_label_classification": (LOGITS, LABELS),
    "multi_label_classification": (LOGITS, torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0]])),
    "regression": (LOGITS[:, :1], torch.tensor([0.5, 4.0, 2.5])),
}


def constant(lam: float) -> MixPlan:
    return MixPlan(INDEX, torch.full((3,), lam))


def nll(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def test_mixed_cross_entropy_is_equation_2_written_out():
    lam = [0.7, 0.2, 0.5]
    partners = [2, 1, 0]  # labels of rows 1, 2, 0
    expected = [
        share * nll(row, own) + (1 - share) * nll(row, other)
        for share, row, own, other in zip(lam, LOGITS.tolist(), LABELS.tolist(), partners, strict=True)
    ]
    plan = MixPlan(INDEX, torch.tensor(lam))
    rows = mixed_cross_entropy(LOGITS, LABELS, plan, reduction="none")
    assert rows.tolist() == pytest.approx(expected, abs=1e-6)
    assert mixed_cross_entropy(LOGITS, LABELS, plan).item() == pytest.approx(sum(expected) / 3, abs=1e-6)
    assert mixed_cross_entropy(LOGITS, LABELS, plan, reduction="sum").item() == pytest.approx(sum(expected), abs=1e-6)


@pytest.mark.parametrize("problem_type", TARGETS)
def test_lambda_one_is_the_own_loss_and_lambda_zero_the_partners(problem_type):
    logits, labels = TARGETS[problem_type]
    own = supervised_loss(logits, labels)
    partner = supervised_loss(logits, labels[INDEX])
    assert torch.equal(mixed_cross_entropy(logits, labels, constant(1.0)), own)
    assert torch.equal(mixed_cross_entropy(logits, labels, constant(0.0)), partner)
    assert not torch.isclose(own, partner)


def test_cross_entropy_of_mixed_rows_is_cross_entropy_against_soft_targets():
    plan = MixPlan(INDEX, torch.tensor([0.7, 0.2, 0.5]))
    one_hot = torch.nn.functional.one_hot(LABELS, 3).float()
    soft = -(mix(one_hot, plan) * LOGITS.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(mixed_cross_entropy(LOGITS, LABELS, plan), soft)


def test_regression_is_the_square_to_the_mixed_target_not_a_mix_of_squares():
    logits, labels = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0.0, 4.0, 1.0])
    targets = [0.25 * 0 + 0.75 * 4, 0.25 * 4 + 0.75 * 1, 0.25 * 1 + 0.75 * 0]
    expected = sum((z - y) ** 2 for z, y in zip([1, 2, 3], targets, strict=True)) / 3
    assert mixed_cross_entropy(logits, labels, constant(0.25)).item() == pytest.approx(expected)
    torch.testing.assert_close(
        mixed_cross_entropy(logits, labels, constant(0.25)),
        mixed_cross_entropy(logits, labels[:, None], constant(0.25)),
    )


def test_multi_label_is_binary_cross_entropy_against_mixed_targets():
    logits, labels = TARGETS["multi_label_classification"]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, mix(labels, constant(0.3)))
    torch.testing.assert_close(mixed_cross_entropy(logits, labels, constant(0.3)), expected)


def test_label_smoothing_is_that_of_transformers():
    expected = LabelSmoother(epsilon=0.1)({"logits": LOGITS}, LABELS)
    torch.testing.assert_close(supervised_loss(LOGITS, LABELS, label_smoothing=0.1), expected)
    own = LabelSmoother(epsilon=0.1)({"logits": LOGITS}, LABELS)
    partner = LabelSmoother(epsilon=0.1)({"logits": LOGITS}, LABELS[INDEX])
    mixed = mixed_cross_entropy(LOGITS, LABELS, constant(0.3), label_smoothing=0.1)
    torch.testing.assert_close(mixed, 0.3 * own + 0.7 * partner)


def test_similarity_is_equation_3_written_out():
    clean = torch.tensor([[1.0, 0.0], [3.0, -2.0], [0.0, 0.0]])
    mixed = torch.tensor([[2.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    targets = [[0.25 * 1 + 0.75 * 3, 0.75 * -2], [0.25 * 3, 0.25 * -2], [0.75 * 1, 0.0]]
    gaps = [
        [m - t for m, t in zip(row, target, strict=True)] for row, target in zip(mixed.tolist(), targets, strict=False)
    ]
    squares = [sum(gap**2 for gap in row) for row in gaps]
    plan = constant(0.25)
    mse = logit_similarity(clean, mixed, plan, reduction="none")
    assert mse.tolist() == pytest.approx([square / 2 for square in squares])
    l2 = logit_similarity(clean, mixed, plan, norm="l2")
    assert l2.item() == pytest.approx(sum(math.sqrt(square) for square in squares) / 3)


def test_similarity_of_an_affine_model_is_zero():
    x, plan = torch.randn(3, 5, dtype=torch.float64), MixPlan(INDEX, torch.tensor([0.2, 0.5, 0.9]))
    head = torch.nn.Linear(5, 4, dtype=torch.float64)
    assert logit_similarity(head(x), head(mix(x, plan)), plan).item() < 1e-14


@pytest.mark.parametrize("norm", ["mse", "l2"])
def test_gradients_of_similarity_match_finite_differences_on_both_sides(norm):
    clean = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    mixed = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    plan = MixPlan(INDEX, torch.tensor([0.2, 0.5, 0.9]))
    assert gradcheck(lambda a, b: logit_similarity(a, b, plan, norm=norm), (clean, mixed))
    logit_similarity(clean, mixed, plan, norm=norm).backward()
    assert clean.grad.abs().sum() > 0
    assert mixed.grad.abs().sum() > 0


def test_gradient_of_the_euclidean_norm_is_zero_at_zero_not_nan():
    clean = torch.zeros(3, 4, requires_grad=True)
    logit_similarity(clean, torch.zeros(3, 4), constant(0.5), norm="l2").backward()
    assert torch.equal(clean.grad, torch.zeros(3, 4))


@pytest.mark.parametrize("problem_type", TARGETS)
def test_gradients_of_the_whole_loss_match_finite_differences(problem_type):
    logits, labels = TARGETS[problem_type]
    clean = logits.double().requires_grad_()
    mixed = (logits.double() * 0.5 + 0.1).requires_grad_()
    weights = {"mix_weight": 0.7, "cls_weight": 1.3, "sim_weight": 0.4}

    def loss(a, b):
        return sum(mixing_loss_parts(a, b, labels.double() if problem_type == "regression" else labels,
                                  constant(0.3), **weights).values())  # fmt: skip

    assert gradcheck(loss, (clean, mixed))


def test_parts_are_the_weighted_terms():
    mixed, plan = LOGITS.flip(0), constant(0.3)
    parts = mixing_loss_parts(LOGITS, mixed, LABELS, plan, mix_weight=2.0, cls_weight=3.0, sim_weight=0.5)
    torch.testing.assert_close(parts["loss_mix"], 2.0 * mixed_cross_entropy(mixed, LABELS, plan))
    torch.testing.assert_close(parts["loss_cls"], 3.0 * supervised_loss(LOGITS, LABELS))
    torch.testing.assert_close(parts["loss_sim"], 0.5 * logit_similarity(LOGITS, mixed, plan))
    assert list(parts) == ["loss_mix", "loss_cls", "loss_sim"]


def test_terms_of_weight_zero_need_no_logits_and_are_zero():
    clean_only = mixing_loss_parts(LOGITS, None, LABELS, None, mix_weight=0, cls_weight=1, sim_weight=0)
    assert clean_only["loss_mix"] == clean_only["loss_sim"] == 0
    torch.testing.assert_close(clean_only["loss_cls"], supervised_loss(LOGITS, LABELS))
    mixed_only = mixing_loss_parts(None, LOGITS, LABELS, constant(0.5), mix_weight=1, cls_weight=0, sim_weight=0)
    assert mixed_only["loss_cls"] == mixed_only["loss_sim"] == 0


def test_rows_sum_to_the_batch():
    options = {"mix_weight": 1.0, "cls_weight": 1.0, "sim_weight": 1.0}
    by_row = mixing_loss_parts(LOGITS, LOGITS.flip(0), LABELS, constant(0.3), **options, reduction="none")
    total = mixing_loss_parts(LOGITS, LOGITS.flip(0), LABELS, constant(0.3), **options, reduction="sum")
    for name in by_row:
        assert by_row[name].shape == (3,)
        torch.testing.assert_close(by_row[name].sum(), total[name])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(dtype):
    logits = (LOGITS * 20).to(dtype)
    loss = supervised_loss(logits, LABELS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, supervised_loss(logits.float(), LABELS))
    gap = logit_similarity(logits, logits.flip(0), constant(0.3))
    torch.testing.assert_close(gap, logit_similarity(logits.float(), logits.float().flip(0), constant(0.3)))


@pytest.mark.parametrize("weights", [(0, 0, 0), (1, -1, 0), (float("nan"), 1, 1), (float("inf"), 1, 1)])
def test_impossible_weights_are_refused(weights):
    names = ("mix_weight", "cls_weight", "sim_weight")
    with pytest.raises(ValueError, match="at least 0 and not all 0"):
        mixing_loss_parts(LOGITS, LOGITS, LABELS, constant(0.5), **dict(zip(names, weights, strict=True)))


def test_bad_calls_say_what_is_wrong():
    with pytest.raises(ValueError, match="mixed_logits and plan must be given"):
        mixing_loss_parts(LOGITS, None, LABELS, None, mix_weight=1, cls_weight=1, sim_weight=1)
    with pytest.raises(ValueError, match="no meaning for regression"):
        supervised_loss(LOGITS[:, :1], torch.rand(3), label_smoothing=0.1)
    with pytest.raises(ValueError, match="no meaning for multi_label"):
        mixed_cross_entropy(LOGITS, torch.ones(3, 3), constant(0.5), label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        supervised_loss(LOGITS, LABELS, label_smoothing=1.0)
    with pytest.raises(ValueError, match="do not fit"):
        supervised_loss(LOGITS, LABELS[:2])
    with pytest.raises(ValueError, match="do not fit"):
        supervised_loss(LOGITS, torch.rand(3, 2))
    with pytest.raises(ValueError, match="shape"):
        supervised_loss(torch.randn(3, 4, 5), LABELS)
    with pytest.raises(ValueError, match="norm must be one of mse, l2"):
        logit_similarity(LOGITS, LOGITS, constant(0.5), norm="l1")
    with pytest.raises(ValueError, match="one shape"):
        logit_similarity(LOGITS, LOGITS[:, :2], constant(0.5))
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'"):
        supervised_loss(LOGITS, LABELS, reduction="max")
    with pytest.raises(ValueError, match="problem_type must be one of"):
        supervised_loss(LOGITS, LABELS, problem_type="ranking")


# ---- The loss of a row ----

WEIGHTS = torch.tensor([1.0, 0.5, 3.0])
TOKEN_LOGITS, TAGS = torch.stack([LOGITS, LOGITS.flip(0)]), torch.tensor([[0, -100, 1], [2, 2, -100]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, LABELS), (TOKEN_LOGITS, TAGS)], ids=["rows", "tokens"])
def test_weighted_means_are_those_of_pytorch(logits, labels, smoothing):
    loss = RowLoss(class_weights=WEIGHTS, label_smoothing=smoothing)
    expected = torch.nn.CrossEntropyLoss(WEIGHTS, label_smoothing=smoothing)(logits.movedim(-1, 1), labels)
    torch.testing.assert_close(supervised_loss(logits, labels, row_loss=loss), expected)


def test_the_mean_of_mixtures_is_divided_by_the_weights_of_the_rows():
    plan = MixPlan(INDEX, torch.full((3,), 0.3))
    own, partner = (
        torch.nn.functional.cross_entropy(LOGITS, y, WEIGHTS, reduction="none") for y in (LABELS, LABELS[INDEX])
    )
    found = mixed_cross_entropy(LOGITS, LABELS, plan, row_loss=RowLoss(class_weights=WEIGHTS))
    torch.testing.assert_close(found, (0.3 * own + 0.7 * partner).sum() / WEIGHTS[LABELS].sum())
    by_hand = (0.3 * WEIGHTS[LABELS] + 0.7 * WEIGHTS[LABELS[INDEX]]).sum()
    torch.testing.assert_close(by_hand, WEIGHTS[LABELS].sum())


def test_a_loss_of_ones_own_is_given_each_tagged_token():
    def squares(logits, labels):
        assert logits.shape == (6, 3)
        return (1 - logits.softmax(-1)[torch.arange(6), labels]).square()

    p = TOKEN_LOGITS.softmax(-1)
    rows = [(1 - p[n, t, TAGS[n, t]]) ** 2 for n in range(2) for t in range(3) if TAGS[n, t] >= 0]
    torch.testing.assert_close(supervised_loss(TOKEN_LOGITS, TAGS, row_loss=squares), torch.stack(rows).mean())
    weights = [WEIGHTS[TAGS[n, t]] for n in range(2) for t in range(3) if TAGS[n, t] >= 0]
    weighted = supervised_loss(TOKEN_LOGITS, TAGS, row_loss=RowLoss(class_weights=WEIGHTS, function=squares))
    expected = sum(w * row for w, row in zip(weights, rows, strict=True)) / sum(weights)
    torch.testing.assert_close(weighted, expected)


def test_soft_labels_are_those_of_pytorch_and_weigh_by_their_classes():
    soft = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0], [0.3, 0.3, 0.4]])
    kind = "soft_label_classification"
    for smoothing in (0.0, 0.1):
        expected = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(LOGITS, soft)
        found = supervised_loss(LOGITS, soft, problem_type=kind, label_smoothing=smoothing)
        torch.testing.assert_close(found, expected)
    rows = -(WEIGHTS * soft * LOGITS.log_softmax(-1)).sum(-1)
    found = supervised_loss(LOGITS, soft, row_loss=RowLoss(kind, class_weights=WEIGHTS))
    torch.testing.assert_close(found, rows.sum() / (soft @ WEIGHTS).sum())


def test_a_loss_of_scores_is_that_of_both_partners():
    logits, labels = TARGETS["regression"]
    found = mixed_cross_entropy(logits, labels, constant(0.3), row_loss=lambda z, y: (z[:, 0] - y).abs())
    expected = 0.3 * (logits[:, 0] - labels).abs() + 0.7 * (logits[:, 0] - labels[INDEX]).abs()
    torch.testing.assert_close(found, expected.mean())
