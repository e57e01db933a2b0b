"""Images with a mask for each object: generated vias with defects, which no border cuts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from companion.data.generated.periodic import KINDS, Structure, boxes, draw
from companion.data.held import Held, Rows

REACH = 8  # pixels that test images can be shifted by, up and to the left, before a border cuts an object
_SIDE = 64


@dataclass(frozen=True)
class Instances(Rows):
    """Images (N, C, H, W) and maps (N, 2, H, W), uint8: which object a pixel belongs to, from 1 on, 0 for none; and its kind."""

    maps: Tensor


@dataclass(frozen=True)
class InstanceSet(Held[Instances]):
    """A data set of images with masks, and the names of their kinds."""

    kinds: tuple[str, ...]


def objects(maps: Tensor) -> dict[str, Tensor]:
    """The objects of one image, as torchvision's detectors learn from them: (2, H, W) -> boxes, labels from 1 on, masks.

    >>> maps = torch.zeros(2, 8, 8, dtype=torch.uint8)
    >>> maps[0, 2:4, 5:8], maps[1, 2:4, 5:8] = 1, 3
    >>> found = objects(maps)
    >>> found["boxes"].tolist(), found["labels"].tolist(), found["masks"].sum().item()
    ([[5.0, 2.0, 8.0, 4.0]], [4], 6)
    """
    numbers, kinds = maps
    present = numbers.unique()[1:] if (numbers == 0).any() else numbers.unique()
    masks = numbers == present[:, None, None]
    labels = [int(kinds[mask][0]) + 1 for mask in masks]
    return {
        "boxes": torch.tensor(boxes(numbers), dtype=torch.float32, device=maps.device).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64, device=maps.device),
        "masks": masks.byte(),
    }


@cache
def periodic_instances(root: Path) -> InstanceSet:
    """Vias, 64 x 64, with one defect or two of a kind, the camera anywhere: 512 images to train on, 64 to test.

    Every defect lies whole in its image, at least 8 pixels from the upper and left border: shifts by fewer pixels cut none.
    """
    train, test = (_vias(count, seed) for count, seed in ((512, 20), (64, 21)))
    return InstanceSet(train, test, (0.41,), (0.13,), KINDS)


def _vias(count: int, seed: int) -> Instances:
    generator = torch.Generator().manual_seed(seed)
    images, maps = [], []
    for several in (1, 2):
        structure = Structure("vias", _SIDE / 5, _SIDE, contrast=100.0, noise=4.0, defects=several, defective=1.0)
        found = draw(structure, count // 2, seed + 100 * several)
        numbers = found.defects
        kinds = (found.labels - 1).clamp(min=0).byte()[:, None, None] * found.masks
        for image, both in zip(found.images, torch.stack((numbers, kinds), 1), strict=True):
            by = [_uncut((both[0] > 0).any(axis), generator) for axis in (1, 0)]
            images.append(image.roll(by, (1, 2)))
            maps.append(both.roll(by, (1, 2)))
    order = torch.randperm(len(images), generator=generator)
    return Instances(torch.stack(images)[order], torch.stack(maps)[order])


def _uncut(taken: Tensor, generator: torch.Generator) -> int:
    """How far to roll an axis, at random, so that what is taken of it lies in the middle; structures wrap, so that the camera stood there."""
    by = torch.arange(len(taken))
    rolled = taken[(by - by[:, None]) % len(taken)]  # row t: rolled by t
    fits = (~(rolled[:, :REACH].any(1) | rolled[:, -1])).nonzero().flatten()
    return int(fits[torch.randint(len(fits), (), generator=generator)])
