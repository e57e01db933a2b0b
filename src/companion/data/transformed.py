"""Images that were rotated, reflected or scaled at random, each once: what networks are asked to be equivariant to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from companion.data.labelled import Labelled, Split, statistics
from companion.data.transforms import Chain, Reflections, Transforms, rotations, scalings

_AT_ONCE = 2000

ANGLES = tuple(range(0, 360, 15))  # degrees
SCALES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Transformed(Labelled):
    """A data set whose images were transformed.

    Attributes:
        upright: test images as they were, full size.
        kind: 'rotations', 'reflections' (and rotations) or 'scales'.
        halved: whether images are halved, at the end.
    """

    upright: Split
    kind: str
    halved: bool

    @property
    def steps(self) -> tuple[float, ...]:
        """Angles in degrees, or scales, that cover what the images went through."""
        return SCALES if self.kind == "scales" else ANGLES

    def at(self, step: float, count: int) -> Split:
        """The first `count` upright test images, all transformed alike: turned by an angle, or scaled."""
        images, labels = self.upright.images[:count], self.upright.labels[:count]
        amount = torch.full((len(images),), float(step))
        return Split(
            _made(images, scalings(amount) if self.kind == "scales" else rotations(amount), self.halved), labels
        )


def _bytes(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


def half(images: Tensor) -> Tensor:
    """28 x 28 -> 16 x 16: a frame of two, then the mean of two by two."""
    return _bytes(F.avg_pool2d(F.pad(images.float(), (2, 2, 2, 2)), 2))


def _made(images: Tensor, transforms: Transforms, halved: bool) -> Tensor:
    rows = [slice(start, start + _AT_ONCE) for start in range(0, len(images), _AT_ONCE)]
    made = torch.cat([_bytes(transforms[part](images[part])) for part in rows])
    return half(made) if halved else made


def _drawn(kind: str, count: int, generator: torch.Generator) -> Transforms:
    turned = rotations(360 * torch.rand(count, generator=generator))
    if kind == "rotations":
        return turned
    return Chain(turned, Reflections(torch.randint(3, (count,), generator=generator)))


def transformed(train: Split, test: Split, kind: str, halved: bool) -> Transformed:
    """Images transformed at random, by a seed of their own."""
    generator = torch.Generator().manual_seed(0)
    made, tested = (
        Split(_made(split.images, _drawn(kind, len(split), generator), halved), split.labels) for split in (train, test)
    )
    return Transformed(made, tested, *statistics(made.images), test, kind, halved)
