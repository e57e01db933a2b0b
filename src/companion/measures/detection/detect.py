"""Detections over a set of images, and their AP."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from companion.data.boxed import NOTHING, Boxed
from companion.measures.accuracy import Prepare
from companion.measures.detection.average_precision import Matched, match, mean_average_precision
from companion.models.detectors.detections import Found, Read, found_in, read_dense
from mass.nn.evaluating import evaluating

BATCH = 8  # images at a time


def detect(
    model: nn.Module, images: Tensor, prepare: Prepare, read: Read = read_dense, threshold: float = 0.05
) -> list[Found]:
    """What a network finds in bytes (N, C, H, W), image by image, on the CPU."""
    found: list[Found] = []
    with evaluating(model):
        for part in images.split(BATCH):
            for one in found_in(model, prepare(part), read, threshold):
                found.append({name: value.cpu() for name, value in one.items()})
    return found


def matched(found: Iterable[Found], truth: Boxed, iou: float, kinds: int | None = None) -> list[Matched]:
    """Each image's detections, matched with its true boxes."""
    rows = truth.boxes.cpu()
    count = kinds or int(rows[..., 4].max()) + 1
    size = (truth.images.shape[2], truth.images.shape[3])
    return [
        match(one, true[true[:, 4] != NOTHING, :4], true[true[:, 4] != NOTHING, 4].long(), count, iou, size)
        for one, true in zip(found, rows, strict=True)
    ]


def average_precision_of(found: Iterable[Found], truth: Boxed, iou: float) -> float:
    """The mean AP over kinds, in [0, 1]."""
    return mean_average_precision(matched(found, truth, iou))
