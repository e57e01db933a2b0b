"""Anchors, counted from the canonical position, and boxes decoded relative to their own position, so that where that lies changes no bit.

The anchors of all positions are the same *cell*, moved by whole pixels. A box is decoded from the cell, put on the image's
grid (`mass.detection.snap`), and only then moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair
from mass.detection.boxes import snap
from mass.detection.dense import Seen
from mass.errors import NotEquivariantError


def check_levels(generator: Any, levels: int) -> None:
    """Refuse an anchor generator that has anchors for more or fewer levels than a backbone gives."""
    if levels != (meant := len(generator.num_anchors_per_location())):
        reason = f"the anchor generator has anchors for {meant} levels, and the backbone gives {levels}"
        raise NotEquivariantError("", reason, "give it one tuple of sizes a level")


def check_cells(meant: list[int], given: list[int]) -> None:
    """Refuse an anchor generator that was changed since, or does not fit the head: `meant` anchors a position of each level, `given` codes."""
    if meant != given:
        reason = f"the anchor generator has {meant} anchors a position, level by level, and the head codes for {given}"
        raise NotEquivariantError("", reason, "give it as many as the head was made for")


def cells_of(generator: Any, seen: Seen, image_size: Pair | None = None) -> list[Tensor]:
    """The anchors (A, 4) of position (0, 0) of each level, in pixels.

    Args:
        generator: torchvision's `AnchorGenerator` or `DefaultBoxGenerator`.
        image_size: of the images that a `DefaultBoxGenerator`'s boxes are shares of: boxes are as large as in these in images
            of any size, for so are the windows that see them. They are centred in their cells, as with `steps`.
    """
    strides, like = seen.strides, seen.boxes_like
    if hasattr(generator, "cell_anchors"):
        return [cell.to(like) for cell in generator.cell_anchors]
    assert image_size is not None
    whole, cells = torch.tensor([image_size[1], image_size[0]]).to(like), []
    for pairs, stride in zip(generator._wh_pairs, strides, strict=True):
        extent = (pairs.clamp(0, 1) if generator.clip else pairs).to(like) * whole
        centre = torch.tensor([stride[1], stride[0]]).to(like) / 2
        cells.append(torch.cat([centre - extent / 2, centre + extent / 2], 1))
    return cells


def places(shape: Sequence[int], stride: Pair, anchors: int, like: Tensor) -> Tensor:
    """Where the anchors of a level (h, w) lie, in whole pixels from the canonical position: (h w A, 4), to be added to their cells."""
    rows = torch.arange(shape[-2], device=like.device) * stride[0]
    columns = torch.arange(shape[-1], device=like.device) * stride[1]
    grid = torch.stack([columns[None].expand(len(rows), -1), rows[:, None].expand(-1, len(columns))], -1)
    return grid.reshape(-1, 1, 2).expand(-1, anchors, -1).reshape(-1, 2).repeat(1, 2).to(like.dtype)


class Anchors:
    """The anchors of an image.

    Attributes:
        cells: (N, 4), each relative to its position; places: (N, 4), where that lies, in whole pixels.
        counts: how many each level has.
    """

    def __init__(self, seen: Seen, cells: Sequence[Tensor], name: str = "cls_logits") -> None:
        shapes = [y.shape for y in seen.maps[name].values()]
        check_cells([len(cell) for cell in cells], [y.shape[-3] // 4 for y in seen.maps["bbox_regression"].values()])
        levels = list(zip(shapes, seen.strides, cells, strict=True))
        self.counts = [shape[-2] * shape[-1] * len(cell) for shape, _, cell in levels]
        self.cells = torch.cat([cell.repeat(shape[-2] * shape[-1], 1) for shape, _, cell in levels])
        self.places = torch.cat([places(shape, stride, len(cell), cell) for shape, stride, cell in levels])
        self.size = seen.size

    @property
    def boxes(self) -> Tensor:
        """All anchors, canonical, (N, 4)."""
        return self.cells + self.places

    def decode(self, coder: Any, codes: Tensor, which: Tensor) -> Tensor:
        """The boxes that codes (K, 4) of some anchors (K,) mean, canonical, on the grid."""
        decode = getattr(coder, "decode_single", coder.decode)
        return snap(decode(codes.to(self.cells.dtype), self.cells[which]), self.size) + self.places[which]
