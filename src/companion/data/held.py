"""Data sets small enough to be held whole: what those with a label, boxes or masks an image have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from companion.data.normalisation import normalize_bytes


@dataclass(frozen=True)
class Rows:
    """Images (N, C, H, W), uint8; the further fields of a subclass are tensors of what is known of each, N rows."""

    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{field.name: change(getattr(self, field.name)) for field in fields(self)})

    def to(self, device: str | torch.device) -> Self:
        return self._each(lambda tensor: tensor.to(device))

    def first(self, count: int) -> Self:
        """The first images of it, or all where there are no more."""
        return self._each(lambda tensor: tensor[:count])


Split = TypeVar("Split", bound=Rows)


@dataclass(frozen=True)
class Held(Generic[Split]):
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

    def to(self, device: str | torch.device) -> Self:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: part.to(device) for name, part in parts.items() if isinstance(part, Rows)}
        return replace(self, **moved)

    def normalize(self, images: Tensor) -> Tensor:
        return normalize_bytes(images, self.mean, self.std)
