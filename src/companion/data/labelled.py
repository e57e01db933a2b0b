"""Labelled images small enough to be held whole, and their statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from companion.data.held import Held, Rows


@dataclass(frozen=True)
class Split(Rows):
    """Images (N, C, H, W), uint8, and labels (N,), int64."""

    labels: Tensor

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, `size` at a time."""
        return zip(self.images.split(size), self.labels.split(size), strict=True)


@dataclass(frozen=True)
class Labelled(Held[Split]):
    """A data set of labelled images."""

    @property
    def classes(self) -> int:
        """How many labels there are, from 0 on."""
        return 1 + max(int(split.labels.max()) for split in (self.train, self.test))


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every channel of images (N, C, H, W), uint8, scaled to [0, 1]."""
    pixels = images.transpose(0, 1).flatten(1).float() / 255
    return tuple(pixels.mean(1).tolist()), tuple(pixels.std(1).tolist())
