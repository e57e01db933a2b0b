"""Labelled images small enough to be held whole, and their statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.data.normalisation import normalize_bytes


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
