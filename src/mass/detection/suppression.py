"""Non-maximum suppression on the torus, with ties broken by what boxes are and how they lie to each other, never by an index."""

from __future__ import annotations

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import check_boxes, corner_and_extent, pairwise_iou, width_and_height

_ROWS = 256  # of the table of overlaps, computed at once


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, size: Pair, labels: Tensor | None = None) -> Tensor:
    """Which boxes stay when each takes those with it that overlap it by more than a threshold and are worth less.

    Args:
        boxes: corners (N, 4), which may lie beyond the image; scores (N,); size: height and width of the image.
        labels: (N,) integers: boxes of different labels leave each other alone (torchvision's `batched_nms`).

    Returns:
        Indices (K,) int64, the best first (`content_order`). All boxes moved by whole pixels give the same indices, in whatever
        order they are given the same boxes, unless the set of boxes is itself a translate of itself.

    >>> boxes = torch.tensor([[60.0, 0.0, 68.0, 8.0], [61.0, 0.0, 69.0, 8.0], [1.0, 0.0, 5.0, 8.0]])
    >>> nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5, (64, 64))
    tensor([0, 2])
    """
    order = content_order(boxes, scores, size, labels)
    kept = suppress(boxes[order], iou_threshold, size, None if labels is None else labels[order])
    return order[kept]


def suppress(boxes: Tensor, iou_threshold: float, size: Pair, labels: Tensor | None = None) -> Tensor:
    """`nms` of boxes that are in order, the best first."""
    every = torch.arange(len(boxes), device=boxes.device)
    groups = [every] if labels is None else [every[labels == label] for label in labels.unique()]
    kept = [group[_greedy(boxes[group], iou_threshold, size)] for group in groups]
    return torch.cat(kept).sort().values if kept else every


def _greedy(boxes: Tensor, iou_threshold: float, size: Pair) -> Tensor:
    corner, extent = corner_and_extent(boxes.detach(), size)
    left = torch.arange(len(boxes), device=boxes.device)  # of which the best are looked at next
    kept = []
    while len(left):
        rows = left[:_ROWS]
        takes = pairwise_iou((corner[rows], extent[rows]), (corner[left], extent[left]), size) > iou_threshold
        among = takes[:, : len(rows)].cpu().triu(1)  # what is better stays
        alive = torch.ones(len(rows), dtype=torch.bool)
        for k in range(len(rows)):
            if alive[k]:
                alive &= ~among[k]
        stays = alive.to(boxes.device)
        kept.append(rows[stays])
        left = left[len(rows) :][~takes[stays, len(rows) :].any(0)]
    return torch.cat(kept) if kept else left


def content_order(boxes: Tensor, scores: Tensor, size: Pair, labels: Tensor | None = None) -> Tensor:
    """Indices (N,) of boxes, the highest score first; ties by height, width and label, then by what is seen from each box.

    What is seen from a box are all boxes in the coordinates of its corner, in order. Two boxes that see the same are translates of
    each other with all that is around them, and no order is better than another.
    """
    check_boxes(boxes)
    if scores.shape != boxes.shape[:1] or (labels is not None and labels.shape != scores.shape):
        wrong = "scores" if scores.shape != boxes.shape[:1] else "labels"
        got = tuple((scores if wrong == "scores" else labels).shape)  # type: ignore[union-attr]
        raise ValueError(f"{wrong} must be one a box, ({len(boxes)},), got {got}.")
    corner, extent = corner_and_extent(boxes, size)
    kind = torch.zeros_like(scores) if labels is None else labels
    keys = [-scores.double(), extent[:, 1].double(), extent[:, 0].double(), kind.double()]
    order = lexicographic(keys)
    alike = torch.stack([key[order] for key in keys], 1)
    follows = (alike[1:] == alike[:-1]).all(1)  # ties with the one before
    if not bool(follows.any()):
        return order
    runs = torch.cat([follows.new_zeros(1), follows]).logical_not().cumsum(0)
    for run in runs[1:][follows].unique().tolist():
        tied = order[runs == run]
        seen = [(_view(corner, keys, int(k), size), int(k)) for k in tied]
        seen.sort(key=lambda pair: pair[0])
        order[runs == run] = torch.tensor([k for _, k in seen], device=order.device)
    return order


def lexicographic(keys: list[Tensor]) -> Tensor:
    """Indices that sort by several keys (N,), the first the most important; equal ones as they come."""
    order = torch.arange(len(keys[0]), device=keys[0].device)
    for key in reversed(keys):
        order = order[key[order].argsort(stable=True)]
    return order


def _view(corner: Tensor, keys: list[Tensor], box: int, size: Pair) -> list[float]:
    """All boxes, as seen from one of them."""
    away = (corner - corner[box]).remainder(width_and_height(size, corner)).double()
    columns = [away[:, 1], away[:, 0], *keys]
    return torch.stack(columns, 1)[lexicographic(columns)].flatten().tolist()
