"""Average precision on the torus, and its worst and best over shifts.

AP is COCO's: detections of all images in the order of their scores, each right if it overlaps a box of its kind by at least the
threshold that no better one has taken; precision made to fall, and averaged over 101 recalls; the mean over kinds that there are.
On plain boxes it is what torchmetrics gives, with these recalls; on the torus overlaps are `mass.detection`'s.

Shifts may be chosen image by image, by somebody who wishes a detector well or ill (Manfredi & Wang, 2020): then AP is of the whole set, and
which shift of one image makes it smallest depends on the others. As theirs, the search is greedy: image by image, the shift that
makes it smallest while all others stay as they are. What it finds is a set of images that there is, so that the true worst AP is at
most, and the true best at least, what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from companion.models.detectors.detections import Found
from mass.axes import Pair
from mass.detection import box_iou

_RECALLS = torch.from_numpy(
    numpy.linspace(0, 1, 101)
)  # rounded as COCO has them (torchmetrics rounds its own to float32)
MOST = 100  # detections of an image, as COCO counts them


@dataclass(frozen=True)
class Matched:
    """Of one image: detections as what AP needs of them.

    Attributes:
        scores, right, labels: (K,), the best first; truth: (kinds,), how many boxes there are of each kind.
    """

    scores: Tensor
    right: Tensor
    labels: Tensor
    truth: Tensor


def match(found: Found, boxes: Tensor, labels: Tensor, kinds: int, iou: float, size: Pair) -> Matched:
    """Give each detection, the best first, the box of its kind that it overlaps most and that is still free.

    Args:
        boxes: (M, 4), the true ones, labels: (M,) int64, kinds: how many kinds there are; iou: the least overlap; size: of the image.
    """
    return match_by(found, box_iou(found["boxes"], boxes.to(found["boxes"]), size), labels, kinds, iou)


def match_by(found: Found, overlaps: Tensor, labels: Tensor, kinds: int, iou: float) -> Matched:
    """The same of whatever overlaps, boxes or masks: `overlaps` (K, M) of the detections with the true ones, in [0, 1]."""
    order = found["scores"].argsort(descending=True, stable=True)[:MOST]
    scores, named = found["scores"][order], found["labels"][order]
    overlaps = overlaps[order].masked_fill(named[:, None] != labels[None], -1)
    right = torch.zeros(len(order), dtype=torch.bool)
    for k in range(len(order) if len(labels) else 0):
        most, which = overlaps[k].max(0)
        if most >= iou:
            right[k] = True
            overlaps[:, which] = -1
    return Matched(scores, right, named, torch.bincount(labels, minlength=kinds))


def average_precisions(images: Sequence[Matched]) -> Tensor:
    """AP of each kind, (kinds,) float64, in [0, 1]; NaN for a kind that no image has."""
    scores, right, labels = (
        torch.cat([getattr(image, name) for image in images]) for name in ("scores", "right", "labels")
    )
    truth = torch.stack([image.truth for image in images]).sum(0)
    order = scores.argsort(descending=True, stable=True)
    right, labels = right[order], labels[order]
    found = [_average_precision(right[labels == kind], int(count)) for kind, count in enumerate(truth)]
    return torch.tensor(found, dtype=torch.float64)


def mean_average_precision(images: Sequence[Matched]) -> float:
    """The mean over the kinds that there are, in [0, 1]."""
    return float(average_precisions(images).nanmean())


def _average_precision(right: Tensor, count: int) -> float:
    if not count:
        return float("nan")
    hits = right.double().cumsum(0)
    precision = hits / torch.arange(1, len(right) + 1)
    falling = precision.flip(0).cummax(0).values.flip(0)
    at = torch.searchsorted(hits / count, _RECALLS)
    return float(torch.cat((falling, falling.new_zeros(1)))[at].mean())


def extreme_average_precision(choices: Sequence[Sequence[Matched]], worst: bool = True) -> tuple[float, list[int]]:
    """The smallest (or largest) mean AP that a greedy search finds, one pass over the images.

    Args:
        choices: of each image, what was matched at every shift; the first ones are where the search starts.

    Returns:
        The mean AP in [0, 1], and the shift of each image, as an index.
    """
    chosen = [0] * len(choices)
    images = [shifts[0] for shifts in choices]
    reached = mean_average_precision(images)
    for k, shifts in enumerate(choices):
        for index, other in enumerate(shifts[1:], 1):
            tried = mean_average_precision([*images[:k], other, *images[k + 1 :]])
            if (tried < reached) if worst else (tried > reached):
                reached, images[k], chosen[k] = tried, other, index
    return reached, chosen
