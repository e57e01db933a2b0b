"""Labelled images small enough to be held whole: CIFAR-10 (32 x 32), solar cells (96 x 96), scikit-learn's digits (8 x 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from companion.core.errors import Refusal
from companion.data.normalisation import MEAN, STD, normalize_bytes
from companion.data.solar_cells import SolarCells


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W), uint8, and labels (N,), int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> Split:
        return Split(self.images.to(device), self.labels.to(device))

    def first(self, count: int) -> Split:
        """The first images of it, or all where there are no more."""
        return Split(self.images[:count], self.labels[:count])

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, `size` at a time."""
        return zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True)
class Labelled:
    """A data set: two splits, and the mean and standard deviation by which images in [0, 1] are normalised."""

    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.train)

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    def to(self, device: str | torch.device) -> Labelled:
        return Labelled(self.train.to(device), self.test.to(device), self.mean, self.std)

    def normalize(self, images: Tensor) -> Tensor:
        return normalize_bytes(images, self.mean, self.std)


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel of images (N, C, H, W), uint8, scaled to [0, 1]."""
    pixels = images.transpose(0, 1).flatten(1).float() / 255
    return tuple(pixels.mean(1).tolist()), tuple(pixels.std(1).tolist())


def cifar10(root: Path) -> Labelled:
    """CIFAR-10 from data/cifar10."""
    from torchvision.datasets import CIFAR10  # half of the time that importing this module would take

    try:
        parts = [CIFAR10(root / "data" / "cifar10", train=train, download=False) for train in (True, False)]
    except RuntimeError:
        raise Refusal(
            "CIFAR-10 is not in data/cifar10: run `make fetch DATA=cifar10`, with MIRROR=… if need be."
        ) from None
    train, test = (
        Split(torch.tensor(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)) for part in parts
    )
    # ImageNet's, for the published ResNet-20 was trained with them; CIFAR-10's own differ by a few percent.
    return Labelled(train, test, MEAN, STD)


def digits(root: Path) -> Labelled:
    """scikit-learn's digits: 1,297 to train on, 500 to test."""
    from sklearn.datasets import load_digits  # not on a bare GPU machine

    found = load_digits()
    images = torch.tensor(found.images * 255 / 16, dtype=torch.uint8)[:, None]  # (1797, 1, 8, 8)
    labels = torch.tensor(found.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = (Split(images[rows], labels[rows]) for rows in (order[:1297], order[1297:]))
    return Labelled(train, test, (0.3053,), (0.3758,))


def solar_cells(root: Path) -> Labelled:
    """Solar cells (companion.data.solar_cells) at 96 x 96: functional (0), or more likely defective than not (1).

    A grey image stands in three channels, for networks that know colours.
    """
    cells = SolarCells(root)
    images, labels = cells.images(96).expand(-1, 3, -1, -1), cells.defective
    train, test = (Split(images[rows].contiguous(), labels[rows]) for rows in cells.split())
    return Labelled(train, test, MEAN, STD)
