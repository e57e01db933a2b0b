"""Matching on the torus: which target each box is to become, and the copy of it that is nearest."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import corner_and_extent, nearest, pairwise_iou


def match(matcher: Callable[[Tensor], Tensor], targets: Tensor, boxes: Tensor, size: Pair) -> Tensor:
    """torchvision's matcher on overlaps (M, N) on the torus: of each box, its target, or what the matcher says of none."""
    if not len(targets) or not len(boxes):
        return torch.full((len(boxes),), -1, dtype=torch.int64, device=boxes.device)
    return matcher(pairwise_iou(corner_and_extent(targets, size), corner_and_extent(boxes, size), size))


def target_of(targets: Tensor, boxes: Tensor, matched: Tensor, size: Pair) -> Tensor:
    """Of each box its target's copy that lies nearest, (N, 4); zeros where there are no targets."""
    if not len(targets):
        return torch.zeros_like(boxes)
    return nearest(targets[matched.clamp(min=0)], boxes, size).to(boxes)


def one_a_box(
    target: Mapping[str, Tensor], boxes: Tensor, matched: Tensor, size: Pair
) -> tuple[dict[str, Tensor], Tensor]:
    """Targets and matches in which every box has a target of its own, for losses that know no torus."""
    labels = target["labels"]
    own = labels[matched.clamp(min=0)] if len(labels) else labels.new_zeros(len(boxes))
    itself = torch.arange(len(boxes), device=boxes.device)
    given = {"boxes": target_of(target["boxes"], boxes, matched, size), "labels": own}
    return given, torch.where(matched >= 0, itself, matched)
