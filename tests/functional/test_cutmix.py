# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from logitmix_nlp.functional import MixPlan, cutmix, mixing_loss_parts, sample_boxes, sample_plan

SIZES = [(32, 32), (31, 17), (1, 9), (224, 200)]


def constant_batch(rows, *size):
    """Image `i` has the value `i + 1` everywhere."""
    images = torch.arange(1.0, rows + 1).view(-1, 1, 1, 1).expand(rows, *size).contiguous()
    return images, MixPlan(torch.arange(rows).roll(1), torch.rand(rows))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_boxes_that_are_not_clipped_have_the_intended_area(height, width):
    lam = torch.linspace(0, 1, 2001)
    top, left, bottom, right = sample_boxes(lam, height, width).unbind(1)
    inside = (top > 0) & (left > 0) & (bottom < height) & (right < width)
    scale = (1 - lam.double()).sqrt()
    assert torch.equal((bottom - top)[inside], (height * scale).round().long()[inside])
    assert torch.equal((right - left)[inside], (width * scale).round().long()[inside])
    assert inside.sum() > 200 or height == 1
    assert min(top.min(), left.min()) >= 0
    assert (bottom <= height).all()
    assert (right <= width).all()


def test_boxes_cover_both_halves_of_an_image_alike():
    for side in (15, 16):
        boxes = sample_boxes(torch.rand(40_000), side, side)
        for start, end in ((boxes[:, 0], boxes[:, 2]), (boxes[:, 1], boxes[:, 3])):
            pixels = torch.arange(side)
            cover = ((pixels >= start[:, None]) & (pixels < end[:, None])).float().mean(0)
            torch.testing.assert_close(cover, cover.flip(0), atol=0.02, rtol=0)


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("size", [(3, 32, 32), (1, 31, 17), (2, 1, 9)])
def test_share_is_exactly_the_area_that_is_left(rows, per_sample, size):
    images, plan = constant_batch(rows, *size)
    for _ in range(20):
        boxes = sample_boxes(torch.rand(rows if per_sample else 1), *size[1:])
        mixed, mixed_plan = cutmix(images, plan, boxes)
        own = (mixed == images).float().mean((1, 2, 3)) if rows > 1 else mixed_plan.lam
        assert mixed_plan.lam.shape == (rows,)
        torch.testing.assert_close(mixed_plan.lam, own, atol=1e-7, rtol=0)
        count = (mixed_plan.lam.double() * size[1] * size[2]).round()
        assert torch.equal(mixed_plan.lam, 1 - (size[1] * size[2] - count.float()) / (size[1] * size[2]))


@pytest.mark.parametrize("boxes", [[[1, 2, 5, 7]], [[1, 2, 5, 7], [0, 0, 8, 8], [3, 3, 3, 9]], [[-3, 4, 5, 20]]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("buffer", [True, False])
def test_the_box_comes_from_the_same_place_of_the_partner(boxes, dtype, buffer):
    images, index = torch.randn(3, 2, 8, 9).to(dtype), torch.tensor([2, 0, 1])
    before, plan = images.clone(), MixPlan(index, torch.full((3,), 0.5))
    out = torch.full_like(images, float("nan")) if buffer else None
    mixed, mixed_plan = cutmix(images, plan, torch.tensor(boxes), out=out)
    expected = images.clone()
    for row, (top, left, bottom, right) in enumerate(boxes * (3 // len(boxes))):
        top, left, bottom, right = max(top, 0), left, min(bottom, 8), min(right, 9)
        expected[row, :, top:bottom, left:right] = images[index[row], :, top:bottom, left:right]
        area = max(0, bottom - top) * max(0, right - left)
        assert mixed_plan.lam[row].item() == pytest.approx(1 - area / 72)
    assert torch.equal(mixed, expected)
    assert torch.equal(images, before)
    assert mixed is out or not buffer


@pytest.mark.parametrize("boxes", [1, 4])
@pytest.mark.parametrize("buffer", [True, False])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_broken_pixel_stays_where_it_is_shown(boxes, buffer, broken):
    """Pixel (0, 0) of image 2 lies outside all boxes, pixel (3, 3) inside: the one stays, the other moves on."""
    images, index = torch.randn(4, 2, 6, 6), torch.tensor([1, 2, 3, 0])
    images[2, 0, 0, 0] = images[2, 1, 3, 3] = broken
    out = torch.empty_like(images) if buffer else None
    mixed, _ = cutmix(images, MixPlan(index, torch.full((4,), 0.5)), torch.tensor([[2, 2, 5, 5]] * boxes), out=out)
    found = (~mixed.isfinite()).nonzero().tolist()
    assert found == [[1, 1, 3, 3], [2, 0, 0, 0]]


def test_one_box_for_all_equals_the_same_box_for_each():
    images, plan = torch.randn(5, 3, 12, 10), sample_plan(5, 1.0)
    boxes = sample_boxes(plan.lam[:1], 12, 10)
    for one, each in zip(cutmix(images, plan, boxes)[0], cutmix(images, plan, boxes.repeat(5, 1))[0], strict=True):
        assert torch.equal(one, each)


def test_a_share_of_one_cuts_nothing_and_the_generator_alone_decides():
    images, plan = torch.randn(5, 3, 12, 10), sample_plan(5, 1.0)
    mixed, mixed_plan = cutmix(images, plan, sample_boxes(torch.ones(5), 12, 10))
    assert torch.equal(mixed, images)
    assert mixed_plan.lam.tolist() == [1.0] * 5
    first, second = (sample_boxes(plan.lam, 12, 10, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("boxes", [1, 4])
def test_gradients_and_the_loss_core(boxes):
    images, plan = torch.randn(4, 1, 6, 6, requires_grad=True), sample_plan(4, 1.0)
    mixed, mixed_plan = cutmix(images, plan, sample_boxes(torch.full((boxes,), 0.6), 6, 6))
    mixed.sum().backward()
    shares = mixed_plan.lam + (1 - mixed_plan.lam)[plan.index.argsort()]
    torch.testing.assert_close(images.grad.mean((1, 2, 3)), shares)
    logits, labels = torch.randn(2, 4, 3), torch.randint(3, (4,))
    parts = mixing_loss_parts(*logits, labels, mixed_plan, mix_weight=0, cls_weight=0, sim_weight=1)
    lam = mixed_plan.lam[:, None]
    gap = lam * logits[0] + (1 - lam) * logits[0][plan.index] - logits[1]
    torch.testing.assert_close(parts["loss_sim"], gap.square().mean())


def test_bad_arguments_are_refused():
    images, plan, boxes = torch.randn(5, 3, 12, 10), sample_plan(5, 1.0), torch.tensor([[0, 0, 2, 2]])
    for wrong in (boxes.repeat(2, 1), boxes.float(), boxes[0]):
        with pytest.raises(ValueError, match=r"shape \(5, 4\) or \(1, 4\)"):
            cutmix(images, plan, wrong)
    with pytest.raises(ValueError, match="5 rows"):
        cutmix(images[:4], plan, boxes)
    with pytest.raises(TypeError, match="scale bytes"):
        cutmix(images.byte(), plan, boxes)
    with pytest.raises(ValueError, match="shares memory"):
        cutmix(images, plan, boxes, out=images)
    for lam, height in ((torch.rand(2, 2), 4), (torch.rand(2), 0)):
        with pytest.raises(ValueError, match="vector lam"):
            sample_boxes(lam, height, 4)
