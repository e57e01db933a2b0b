"""Images with boxes: circuit boards beside their templates, and generated vias with defects.

A box is x1, y1, x2, y2 in pixels; its corners may lie beyond the image, for one that wraps has no edge to stop at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from companion.data.generated.periodic import KINDS, Photographs, Structure, boxes, draw
from companion.data.held import Held, Rows
from companion.data.published.deeppcb import KINDS as PCB_KINDS
from companion.data.published.deeppcb import DeepPcb

NOTHING = -1  # the kind of a row that is no box
_SEEN = 0.5  # of a box: with less of it in a crop, it is none


@dataclass(frozen=True)
class Boxed(Rows):
    """Images (N, C, H, W), uint8, and their boxes (N, M, 5): x1, y1, x2, y2, kind, float32; rows of kind -1 are none."""

    boxes: Tensor


@dataclass(frozen=True)
class BoxedSet(Held[Boxed]):
    """A data set of images with boxes, and the names of their kinds."""

    kinds: tuple[str, ...]


def padded(found: list[Tensor]) -> Tensor:
    """Boxes (K, 5) of each image as one tensor (N, M, 5).

    >>> padded([torch.ones(1, 5), torch.zeros(0, 5)])[:, :, 4]
    tensor([[ 1.],
            [-1.]])
    """
    rows = torch.full((len(found), max((len(one) for one in found), default=0), 5), float(NOTHING))
    for row, one in zip(rows, found, strict=True):
        row[: len(one)] = one
    return rows


def shifted_boxes(found: Tensor, by: Tensor) -> Tensor:
    """Boxes (N, M, 5) of images that were shifted by (N, 2): S_t moves what lies at n to n - t."""
    move = torch.stack((by[:, 1], by[:, 0], by[:, 1], by[:, 0], torch.zeros_like(by[:, 0])), 1)
    return found - move[:, None].to(found)


def cut(images: Tensor, boxes: Tensor, corners: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Crops at corners (N, 2), rows and columns; boxes are cut off with them, and none where less than half is left."""
    crops = [image[:, y : y + side, x : x + side] for image, (y, x) in zip(images, corners.tolist(), strict=True)]
    moved = shifted_boxes(boxes, corners.to(boxes))
    kept = torch.cat((moved[..., :4].clamp(0, side), moved[..., 4:]), -1)
    shares = _areas(kept) / _areas(moved).clamp(min=1e-6)
    kept[..., 4] = torch.where(shares >= _SEEN, kept[..., 4], NOTHING)
    return torch.stack(crops), kept


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


@cache
def deeppcb_boards(root: Path, shrunk: int = 2) -> BoxedSet:
    """The official split of DeepPCB, 1,000 and 500 boards, 640 px / `shrunk` a side: template, board, and how they differ."""
    train, test = (_boards(DeepPcb(root, split), shrunk) for split in ("trainval", "test"))
    return BoxedSet(train, test, (0.5, 0.5, 0.05), (0.45, 0.45, 0.2), PCB_KINDS)


def _boards(boards: DeepPcb, shrunk: int) -> Boxed:
    images, found = [], []
    for index in range(len(boards)):
        template, test, corners, kinds = boards[index]
        pair = F.avg_pool2d(torch.stack((template, test)).float(), shrunk).round()[:, 0]
        images.append(torch.cat((pair, (pair[:1] - pair[1:]).abs())).byte())
        found.append(torch.cat((corners / shrunk, kinds[:, None]), 1).float())
    return Boxed(torch.stack(images), padded(found))


@cache
def periodic_boxes(root: Path) -> BoxedSet:
    """Generated vias, 64 x 64, with one defect or two of a kind; 512 images to train on, 100 to test, all at misregistration 0."""
    train, test = (_vias(count, seed) for count, seed in ((512, 10), (100, 11)))
    return BoxedSet(train, test, (0.41,), (0.13,), KINDS)


def _vias(count: int, seed: int) -> Boxed:
    halves = [
        draw(
            Structure("vias", 8.0, contrast=100.0, noise=4.0, defects=several, defective=1.0),
            count // 2,
            seed + 2 * several,
        )
        for several in (1, 2)
    ]
    images = torch.cat([half.images for half in halves])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return Boxed(images[order], padded([box for half in halves for box in _boxes(half)])[order])


def _boxes(found: Photographs) -> list[Tensor]:
    return [
        torch.tensor([(*box, int(label) - 1) for box in boxes(defects)], dtype=torch.float32).view(-1, 5)
        for label, defects in zip(found.labels, found.defects, strict=True)
    ]
