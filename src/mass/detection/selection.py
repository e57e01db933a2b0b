"""What is kept of an image's candidates. In the canonical position the order of positions is a matter of content, and so may break ties."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.anchors import Anchors
from mass.detection.boxes import wrapped
from mass.detection.suppression import suppress


def best_first(scores: Tensor, most: int | None = None) -> Tensor:
    """Indices of scores, the highest first, equal ones as they come; at most so many."""
    return scores.argsort(descending=True, stable=True)[:most]


def keep(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, most: int, size: Pair
) -> tuple[Tensor, Tensor, Tensor]:
    """The best boxes of each label that do not overlap, the best first, at most so many."""
    order = best_first(scores)
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    kept = suppress(boxes, threshold, size, labels)[:most]
    return boxes[kept], scores[kept], labels[kept]


def of_levels(model: Any, scores: Tensor, codes: Tensor, anchors: Anchors) -> dict[str, Tensor]:
    """What RetinaNet and FCOS keep: the best of each level, then what suppression leaves.

    Shape: scores (N, K) and codes (N, 4) of all anchors.
    """
    classes, which, best, start = scores.shape[1], [], [], 0
    for level in scores.split(anchors.counts):
        flat = level.flatten()
        candidates = (flat > model.score_thresh).nonzero().flatten()
        candidates = candidates[best_first(flat[candidates], model.topk_candidates)]
        which.append(candidates + start * classes)
        best.append(flat[candidates])
        start += len(level)
    index = torch.cat(which)
    anchor = index // classes
    boxes = wrapped(anchors.decode(model.box_coder, codes[anchor], anchor), anchors.size)
    found = keep(boxes, torch.cat(best), index % classes, model.nms_thresh, model.detections_per_img, anchors.size)
    return dict(zip(("boxes", "scores", "labels"), found, strict=True))
