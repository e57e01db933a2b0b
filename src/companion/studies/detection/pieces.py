"""The pieces of a detector behind its dense part, each asked alone: does what it gives move along with the image, bit-identical?

Every piece is asked as torchvision has it and as `mass.detection` has it, on boxes and maps drawn from a seed, under one random circular
shift a trial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, roi_align

import mass
from companion.models.detectors.detections import Found, found_in, read_dense
from mass.axes import Pair
from mass.detection import nms as torus_nms
from mass.detection import same_detections, shift_boxes, snap, wrap
from mass.detection.pasting import paste_masks
from mass.detection.pooling import roi_align as torus_roi_align

SIZE = (64, 64)
Trial = Callable[[torch.Generator, Pair], tuple[bool, bool]]  # whether both versions moved along


def _boxes(count: int, generator: torch.Generator, sides: tuple[float, float] = (6, 20)) -> Tensor:
    """Boxes that begin anywhere, and may go on behind the border."""
    first = 64 * torch.rand(count, 2, generator=generator)
    extent = sides[0] + (sides[1] - sides[0]) * torch.rand(count, 2, generator=generator)
    return snap(torch.cat((first, first + extent), 1), SIZE)


def _same(a: Tensor, b: Tensor, by: Pair) -> bool:
    """Whether boxes b are the boxes a, moved along."""
    rows = [{"boxes": x, "scores": torch.ones(len(x)), "labels": torch.zeros(len(x))} for x in (a, b)]
    return same_detections(rows[0], rows[1], by, SIZE)


def _clipping(generator: torch.Generator, by: Pair) -> tuple[bool, bool]:
    """Boxes are cut off at the image's border, or go on behind it."""
    boxes = _boxes(10, generator)
    moved = shift_boxes(boxes, by, SIZE)
    plain = [clip_boxes_to_image(x, SIZE) for x in (boxes, moved)]
    return _same(plain[0], plain[1], by), _same(wrap(boxes, SIZE), wrap(moved, SIZE), by)


def _ties(generator: torch.Generator, by: Pair) -> tuple[bool, bool]:
    """Equal scores, in the order in which a map is read, row by row: which of two overlapping boxes stays?"""
    boxes = torch.cat(
        (base := _boxes(6, generator), base + torch.tensor([1.0, 0, 1, 0]), base + torch.tensor([0.0, 2, 0, 2]))
    )
    scores = torch.full((len(boxes),), 0.5)

    def ordered(x: Tensor) -> Tensor:
        x = wrap(x, SIZE)
        return x[(1000 * x[:, 1] + x[:, 0]).argsort(stable=True)]

    still, moved = ordered(boxes), ordered(shift_boxes(boxes, by, SIZE))
    plain = [x[nms(x, scores, 0.5)] for x in (still, moved)]
    torus = [x[torus_nms(x, scores, 0.5, SIZE)] for x in (still, moved)]
    return _same(plain[0], plain[1], by), _same(torus[0], torus[1], by)


def _thresholds(generator: torch.Generator, by: Pair) -> tuple[bool, bool]:
    """Pairs that overlap by one half, up to rounding, of many labels; none crosses the border before or after."""
    first, across = 1 + 15 * torch.rand(20, 2, generator=generator), 6 + 6 * torch.rand(20, 1, generator=generator)
    aside = torch.cat((across / 3, 0 * across), 1).repeat(1, 2)
    one = torch.cat((first, first + across), 1)
    boxes = snap(torch.cat((one, one + aside)), SIZE)
    scores, labels = torch.linspace(0.9, 0.5, 40), torch.arange(20).repeat(2)
    moved = boxes + torch.tensor([by[1] % 30, by[0] % 30] * 2)
    plain = [set(batched_nms(x, scores, labels, 0.5).tolist()) for x in (boxes, moved)]
    torus = [set(torus_nms(x, scores, 0.5, SIZE, labels).tolist()) for x in (boxes, moved)]
    return plain[0] == plain[1], torus[0] == torus[1]


def _windows(generator: torch.Generator, by: Pair) -> tuple[bool, bool]:
    """RoIAlign: what a window reads beyond the map, and how it rounds where it lies; on the torus, in a canonical position that is read off the map."""
    features, boxes = torch.randn(1, 4, *SIZE, generator=generator), _boxes(8, generator)
    both = ((features, boxes), (mass.shift(features, torch.tensor([by])), shift_boxes(boxes, by, SIZE)))
    plain = [roi_align(y, [x], (7, 7), 1.0, 2) for y, x in both]
    torus = []
    for y, x in both:
        origin = mass.select_origin(y, SIZE)
        frame = tuple(origin[0].tolist())
        torus.append(torus_roi_align(mass.shift(y, origin)[0], shift_boxes(x, frame, SIZE), (7, 7), SIZE))
    return torch.equal(plain[0], plain[1]), torch.equal(torus[0], torus[1])


def _pasting(generator: torch.Generator, by: Pair) -> tuple[bool, bool]:
    """Masks of 28 x 28 put where their boxes are."""
    masks, boxes = torch.rand(4, 1, 28, 28, generator=generator), _boxes(4, generator)
    there = shift_boxes(boxes, by, SIZE)
    plain = [paste_masks_in_image(masks, x, SIZE) for x in (boxes, there)]
    torus = [paste_masks(masks, x, SIZE) for x in (boxes, there)]
    same = [torch.equal(mass.shift(still, torch.tensor(by)), moved) for still, moved in (plain, torus)]
    return same[0], same[1]


PIECES: dict[str, Trial] = {
    "clipping of boxes": _clipping,
    "suppression, equal scores": _ties,
    "suppression, overlaps at the threshold": _thresholds,
    "RoIAlign": _windows,
    "pasting of masks": _pasting,
}


def moving_along(trials: int, seed: int) -> list[dict[str, Any]]:
    """Per piece: n trials, and the percentage that moved along, as torchvision has it and on the torus."""
    rows = []
    for name, trial in PIECES.items():
        generator = torch.Generator().manual_seed(seed)
        found = []
        for _ in range(trials):
            by = torch.randint(1, 64, (2,), generator=generator).tolist()
            found.append(trial(generator, (by[0], by[1])))
        plain, torus = (100 * sum(column) / trials for column in zip(*found, strict=True))
        rows.append({"layer": name, "n": trials, "plain": plain, "torus": torus})
    return rows


def origins_read(network: nn.Module, x: Tensor, shifts: list[Pair]) -> dict[str, Any]:
    """A converted network's boxes, read with its origins and without: percentage of n shifts and images whose sets moved along."""

    def forgetful(maps: Tensor, origin: Tensor, threshold: float) -> list[Found]:
        return read_dense(maps, torch.zeros_like(origin), threshold)

    size = (x.shape[2], x.shape[3])
    shares: dict[str, float] = {}
    with torch.no_grad():
        for name, read in (("torus", read_dense), ("plain", forgetful)):
            still = found_in(network, x, read, 0.3)
            same = [
                same_detections(one, other, by, size)
                for by in shifts
                for one, other in zip(still, found_in(network, mass.shift(x, torch.tensor(by)), read, 0.3), strict=True)
            ]
            shares[name] = 100 * sum(same) / len(same)
    return {"layer": "positions of a map", "n": len(shifts) * len(x), **shares}
