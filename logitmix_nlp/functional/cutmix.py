# SPDX-License-Identifier: Apache-2.0
"""CutMix: paste a box of one image into another; λ is what is left of the first, counted in pixels."""

import torch

from logitmix_nlp.functional.checks import check_images, check_out, check_pairs
from logitmix_nlp.functional.mixing import MixPlan, sent

__all__ = ["cutmix", "sample_boxes"]


def sample_boxes(
    lam: torch.Tensor,
    height: int,
    width: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """Draw one box per λ ([CutMix](https://arxiv.org/abs/1905.04899), Eq. 2), clipped at the border of the image.

    Sides are `height * sqrt(1 - lam)` and `width * sqrt(1 - lam)` rounded to whole pixels, so a box that is not
    clipped has exactly their area; centres are uniform over the image. Clipped boxes are smaller: [`cutmix`] returns
    the true λ.

    Args:
        lam (`torch.Tensor` of shape `(N,)`): Wanted share of the row's own image, in `[0, 1]`: `plan.lam` for one box
            per row, `plan.lam[:1]` for one box per batch (the paper).
        height (`int`): Height of the images in pixels.
        width (`int`): Width of the images in pixels.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU. Defaults to the global one.
        device (`torch.device`, *optional*): Where the boxes are wanted, the CPU if not given. The draw itself is made
            on the CPU.

    Returns:
        `torch.LongTensor` of shape `(N, 4)`: First row, first column, and the row and column behind the last.

    Raises:
        ValueError: If `lam` is not a vector, or a side is below 1.
    """
    if lam.dim() != 1 or height < 1 or width < 1:
        raise ValueError(
            f"Boxes need a vector lam and sides of at least 1, got lam of shape {tuple(lam.shape)} and "
            f"{height}x{width} images."
        )
    size = torch.tensor([height, width], dtype=torch.float64)
    sides = (size * (1.0 - lam.double().cpu()).sqrt()[:, None]).round()
    centres = size * torch.rand(len(lam), 2, dtype=torch.float64, generator=generator)
    starts = (centres - sides / 2 + 0.5).floor()
    box = torch.cat([starts, starts + sides], dim=1).clamp(min=0)
    return sent(box.minimum(size.repeat(2)).long(), device or "cpu")


def cutmix(
    images: torch.Tensor, plan: MixPlan, boxes: torch.Tensor, *, out: torch.Tensor | None = None
) -> tuple[torch.Tensor, MixPlan]:
    """Replace a box of each image by that of its partner ([CutMix](https://arxiv.org/abs/1905.04899), Eq. 1).

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`): Floating point, not written to.
        plan (`MixPlan`): Pairs for the `B` rows. Its λ is what the boxes were drawn for and is not used here.
        boxes (`torch.LongTensor` of shape `(B, 4)` or `(1, 4)`): From [`sample_boxes`], one per row or one for all;
            what sticks out of the image is cut off. Several boxes must be on the device of the images; a single one is
            best left on the CPU, wherever the images are, since it is then cut without masks.
        out (`torch.Tensor`, *optional*): Buffer for the result, as in [`mix`].

    Returns:
        `tuple[torch.Tensor, MixPlan]`: Mixed images, and the plan with the true λ of each row, 1 - area / (H W), for
        every term of the loss.

    Raises:
        TypeError: If the images are not floating point.
        ValueError: On shapes that do not fit.
    """
    check_images(images)
    check_pairs(images, plan)
    (_, _, height, width), rows = images.shape, len(plan.index)
    if boxes.shape not in ((rows, 4), (1, 4)) or boxes.is_floating_point():
        raise ValueError(
            f"boxes must be integers of shape ({rows}, 4) or (1, 4) for {rows} images, got {boxes.dtype} of shape "
            f"{tuple(boxes.shape)}."
        )
    own = plan.first(images)
    if out is not None:
        check_out(out, own)
    boxes = boxes.clamp(min=0).minimum(sent(torch.tensor([height, width] * 2), boxes.device))
    if len(boxes) == 1 and boxes.device.type == "cpu":
        mixed = _paste_box(own, images, plan.index, boxes[0].tolist(), out)
    else:
        mixed = images[plan.index] if out is None else torch.index_select(images, 0, plan.index, out=out)
        mixed = torch.where(
            _inside_boxes(boxes, height, width), mixed, own, out=None if mixed.requires_grad else mixed
        )
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    lam = 1.0 - sent(area.float(), plan.lam.device) / (height * width)
    return mixed, plan._replace(lam=lam.expand(rows).contiguous())


def _paste_box(
    own: torch.Tensor, images: torch.Tensor, index: torch.Tensor, bounds: list[int], out: torch.Tensor | None
) -> torch.Tensor:
    top, left, bottom, right = bounds
    box = (..., slice(top, bottom), slice(left, right))
    if out is None:
        mixed = own.clone()
        mixed[box] = images[box][index]
        return mixed
    out.copy_(own)
    torch.index_select(images[box], 0, index, out=out[box])
    return out


def _inside_boxes(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Mask `(N, 1, height, width)` of the pixels in each box; looking its lines up is faster than an outer product."""
    columns = _inside(boxes[:, 1::2], width)
    lines = torch.cat([columns, columns.new_zeros(1, width)])
    numbers = torch.arange(len(boxes), device=boxes.device)[:, None]
    lookup = torch.where(_inside(boxes[:, 0::2], height), numbers, len(boxes))
    return lines.index_select(0, lookup.flatten()).view(-1, 1, height, width)


def _inside(bounds: torch.Tensor, size: int) -> torch.Tensor:
    """Whether each of `size` positions lies in `[first, last)`, per row: `(N, 2) -> (N, size)`."""
    positions = torch.arange(size, device=bounds.device)
    return (positions >= bounds[:, :1]) & (positions < bounds[:, 1:])
