"""Images with a label per pixel: PASCAL VOC, and scenes of digits to try things on.

Tests take whole images in the middle of squares: at 512 px every image of VOC fits as it is. Smaller sizes scale all
images alike, by size / 512.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask

from companion.core.errors import Refusal
from companion.data.generated.scenes import SIDE, Scenes
from companion.data.normalisation import MEAN, STD, normalize_bytes
from companion.data.published.voc import CLASSES, IGNORED, Voc

FILL = {Image: [round(255 * value) for value in MEAN], Mask: IGNORED}  # what lies beyond an image
_FULL = 512  # the side at which images keep their size
_BATCH = 8  # test images at a time

Pairs = Dataset[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Segmented:
    """A data set: two splits of (image (3, H, W), labels (H, W)), both uint8, and the names of the labels."""

    train: Pairs
    test: Pairs
    classes: tuple[str, ...]
    full: int = _FULL
    device: str | torch.device = "cpu"

    channels = 3

    @property
    def count(self) -> int:
        return len(self.train)  # type: ignore[arg-type]

    def to(self, device: str | torch.device) -> Segmented:
        return replace(self, device=device)

    def normalize(self, images: Tensor) -> Tensor:
        return normalize_bytes(images, MEAN, STD)

    def framed(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """One test image whole: bytes (3, size, size) and labels (size, size), int64."""
        return _Framed(self.test, size, self.full)[index]

    def test_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All test images whole, framed: bytes (B, 3, size, size) and labels (B, size, size), int64."""
        yield from self.batches(_Framed(self.test, size, self.full), batch_size=_BATCH)

    def batches(self, pairs: Pairs, **how: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of these, on the device; `how` goes to torch's DataLoader."""
        # On a CPU the cores are the network's. A generator of its own, for a loader draws from the global one otherwise.
        workers = 0 if torch.device(self.device).type == "cpu" else min(os.cpu_count() or 1, 8)
        for images, labels in DataLoader(pairs, num_workers=workers, generator=torch.Generator(), **how):
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class _Framed(Dataset[tuple[Tensor, Tensor]]):
    """Whole images in the middle of squares."""

    pairs: Pairs
    size: int
    full: int

    def __len__(self) -> int:
        return len(self.pairs)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.pairs[index]
        height, width = (round(side * self.size / self.full) for side in image.shape[1:])
        if max(height, width) > self.size:
            raise Refusal(f"An image of {tuple(image.shape[1:])} px does not fit the {self.full} px it is framed in.")
        top, left = (self.size - height) // 2, (self.size - width) // 2
        edges = [left, top, self.size - width - left, self.size - height - top]
        frame = v2.Compose([v2.Resize((height, width), antialias=True), v2.Pad(edges, fill=FILL)])
        image, labels = frame(Image(image), Mask(labels))
        return image.as_subclass(Tensor), labels.as_subclass(Tensor).long()


def voc2012(root: Path) -> Segmented:
    """PASCAL VOC 2012 from data/voc2012: 10,582 images of train_aug, 1,449 of val."""
    folder = root / "data" / "voc2012"
    return Segmented(Voc(folder, "train_aug", 10_582), Voc(folder, "val", 1_449), CLASSES)


def voc_subset(root: Path) -> Segmented:
    """The part of it in data/voc-subset: 560 and 462 images, mostly animals and persons; for comparisons only."""
    folder = root / "data" / "voc-subset"
    if not folder.exists():
        raise Refusal("data/voc-subset is not there: run `make fetch DATA=voc-subset` with MIRROR=...")
    return Segmented(Voc(folder, "train_aug", 560), Voc(folder, "val", 462), CLASSES)


def scenes(root: Path) -> Segmented:
    """Photographed walls of digits: scikit-learn's, scattered over crops of its two photographs, 64 x 64."""
    return Segmented(Scenes(96, seed=0), Scenes(32, seed=1), ("background", *"0123456789"), SIDE)
