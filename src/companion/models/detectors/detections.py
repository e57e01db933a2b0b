"""What a dense map says as boxes on the torus: where its positions lie, and how they are read.

A map's position n lies at pixel O + S n of the image; the origin O is chosen image by image where a network chooses it
(`mass.output_origins`), and 0 where it samples from the fixed grid. Boxes are read relative to their position, in
fixed fractions of a pixel, and put there by whole pixels: nothing is rounded, and a box that moved is bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

import mass
from companion.models.detectors.dense_detector import STRIDE
from mass.detection import nms, snap, wrap
from mass.functional.kernels import elementwise
from mass.fx.network.converted import Converted

Found = dict[str, Tensor]  # of one image: boxes (K, 4), x1, y1, x2, y2; scores (K,), falling; labels (K,)
Read = Callable[[Tensor, Tensor, float], list[Found]]  # maps, their origins, the lowest score


@contextmanager
def grid_origins(model: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """While entered: from the images of the last forward pass to the origins of the map it returned, (B, 2) int64."""
    if not isinstance(model, Converted):
        yield lambda images: torch.zeros(len(images), 2, dtype=torch.int64, device=images.device)
        return
    with mass.output_origins(model) as passes:

        def last(images: Tensor) -> Tensor:
            origin = passes.pop()[""].origin
            assert origin is not None
            return origin.to(images.device)

        yield last


def positions(origin: Tensor, stride: int, shape: tuple[int, int]) -> Tensor:
    """The pixels that a map's positions lie at: origins (B, 2) -> (B, h, w, 2), rows and columns, int64, modulo the image."""
    rows, columns = (stride * torch.arange(side, device=origin.device) for side in shape)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)
    return (origin[:, None, None] + grid) % torch.tensor([stride * side for side in shape], device=origin.device)


def read_dense(maps: Tensor, origin: Tensor, threshold: float) -> list[Found]:
    """Of `DenseDetector`'s maps: every position and kind whose probability is above the threshold, overlaps suppressed."""
    kinds, shape = maps.shape[1] - 4, (maps.shape[2], maps.shape[3])
    scores = elementwise(torch.sigmoid, maps[:, :kinds].contiguous())
    left, up, right, down = (STRIDE * maps[:, kinds:]).unbind(1)
    return _placed(
        scores, torch.stack((-left, -up, right, down), -1), positions(origin, STRIDE, shape), STRIDE, threshold
    )


def read_fastestdet(maps: Tensor, origin: Tensor, threshold: float) -> list[Found]:
    """Of FastestDet's maps, as published: one class a position, scored by objectness^0.6 times probability^0.4."""
    stride, shape = 16, (maps.shape[2], maps.shape[3])
    best, label = maps[:, 5:].max(1)
    score = elementwise(lambda p: p.pow(0.6), maps[:, 0].contiguous()) * elementwise(lambda p: p.pow(0.4), best)
    x, y = (stride * elementwise(torch.tanh, maps[:, k].contiguous()) for k in (1, 2))
    w, h = (stride * shape[axis] * elementwise(torch.sigmoid, maps[:, k].contiguous()) for k, axis in ((3, 1), (4, 0)))
    scores = torch.zeros_like(maps[:, 5:]).scatter_(1, label[:, None], score[:, None])
    boxes = torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), -1)
    return _placed(scores, boxes, positions(origin, stride, shape), stride, threshold, iou=0.45)


def _placed(scores: Tensor, boxes: Tensor, at: Tensor, stride: int, threshold: float, iou: float = 0.5) -> list[Found]:
    """Scores (B, kinds, h, w) and boxes relative to their positions (B, h, w, 4), at pixels `at` (B, h, w, 2)."""
    size = (stride * scores.shape[2], stride * scores.shape[3])
    found = []
    for score, box, pixel in zip(scores, boxes, at, strict=True):
        label, row, column = (score > threshold).nonzero(as_tuple=True)
        corners = snap(box[row, column], size) + pixel[row, column].flip(1).repeat(1, 2)
        scored = score[label, row, column]
        kept = nms(corners, scored, iou, size, label)
        found.append({"boxes": wrap(corners[kept], size), "scores": scored[kept], "labels": label[kept]})
    return found


def found_in(model: nn.Module, x: Tensor, read: Read, threshold: float) -> list[Found]:
    """What a network in eval mode finds in prepared images."""
    with grid_origins(model) as origin_of:
        maps = model(x)
        return read(maps.float(), origin_of(x), threshold)
