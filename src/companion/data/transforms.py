"""Transformations of images that a network is to be equivariant to: one for each image of a batch, with their way back.

A transformation T of these takes images (B, C, H, W) of any size, feature maps therefore too. `T.undo(T(x))` is x where it can
be: a rotation by 45 degrees turns corners out of the image, and says so by a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from companion.core.errors import Refusal
from mass.functional.shift import shift


class Transforms(Protocol):
    """One transformation for each image of a batch."""

    def __len__(self) -> int:
        """How many images it is for."""

    def __getitem__(self, rows: slice) -> Self:
        """Those of some of the images."""

    def __call__(self, x: Tensor) -> Tensor:
        """The transformed images. Shape: (B, C, H, W) -> the same."""

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Maps (B, C, h, w) transformed back, and where that is defined: (B, 1, h, w), bool, or None for everywhere."""


def _square(x: Tensor) -> None:
    if x.shape[2] != x.shape[3]:
        raise Refusal(f"Only square maps can be rotated, not {x.shape[2]} x {x.shape[3]}: crop or pad them.")


def _by_kind(x: Tensor, kind: Tensor, ways: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """Every image by the way of its kind; differentiable."""
    kind = kind.to(x.device)
    order = kind.argsort()
    counts = torch.bincount(kind, minlength=len(ways)).tolist()
    parts = x.index_select(0, order).split(counts)
    moved = torch.cat([way(part) for way, part in zip(ways, parts, strict=True)])
    return moved.index_select(0, order.argsort())


@dataclass(frozen=True)
class QuarterTurns:
    """Rotations by 90 degrees times `turns` (B,), int64, counter-clockwise: exact, no pixel is mixed with another."""

    turns: Tensor

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, rows: slice) -> QuarterTurns:
        return QuarterTurns(self.turns[rows])

    def __call__(self, x: Tensor) -> Tensor:
        _square(x)
        return _by_kind(x, self.turns % 4, [lambda part, k=k: part.rot90(k, (2, 3)) for k in range(4)])  # type: ignore[misc]

    def undo(self, y: Tensor) -> tuple[Tensor, None]:
        return QuarterTurns(-self.turns)(y), None


@dataclass(frozen=True)
class Reflections:
    """`kind` (B,), int64: 0 leaves an image as it is, 1 turns it upside down, 2 exchanges left and right."""

    kind: Tensor

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows: slice) -> Reflections:
        return Reflections(self.kind[rows])

    def __call__(self, x: Tensor) -> Tensor:
        return _by_kind(x, self.kind, [lambda part: part, lambda part: part.flip(2), lambda part: part.flip(3)])

    def undo(self, y: Tensor) -> tuple[Tensor, None]:
        return self(y), None


@dataclass(frozen=True)
class Affine:
    """Linear maps about the centre: at p the image T x shows x(M p), bilinear, and black where that is outside.

    Args:
        matrices: M, (B, 2, 2), on (column, row).
    """

    matrices: Tensor

    def __len__(self) -> int:
        return len(self.matrices)

    def __getitem__(self, rows: slice) -> Affine:
        return Affine(self.matrices[rows])

    def _sample(self, x: Tensor, matrices: Tensor) -> Tensor:
        _square(x)
        matrices = F.pad(matrices.to(x), (0, 1))
        grid = F.affine_grid(matrices, [len(x), 1, *x.shape[2:]], align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    def __call__(self, x: Tensor) -> Tensor:
        return self._sample(x.float() if not x.is_floating_point() else x, self.matrices)

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor]:
        back = torch.linalg.inv(self.matrices)
        inside = self._sample(torch.ones_like(y[:, :1]), back)
        return self._sample(y, back), inside > 0.999


def rotations(degrees: Tensor) -> Affine:
    """Counter-clockwise, by `degrees` (B,): those of `QuarterTurns` in between."""
    radians = torch.deg2rad(degrees.double())
    cosine, sine = radians.cos(), radians.sin()
    rows = torch.stack((torch.stack((cosine, -sine), 1), torch.stack((sine, cosine), 1)), 1)
    return Affine(rows.float())


def scalings(factors: Tensor) -> Affine:
    """To `factors` (B,) times the size; below 1 with a black frame. Nothing is filtered: bilinear, as all of these."""
    return Affine(torch.eye(2).to(factors) / factors[:, None, None])


@dataclass(frozen=True)
class Shifts:
    """Circular shifts, x[n] becomes x[n + by], of images of side `side`.

    A map of a smaller side h lies behind a total stride S = side / h. It moves by `by` / S positions where that is whole; under
    shifts in between it moves as its network's origins say, and these must be known (`companion.measures.equivariance.shifts_of`).

    Args:
        by: (B, 2), int64, in pixels.
        moved: by total stride, how many positions the maps moved, (B, 2).
    """

    by: Tensor
    side: int
    moved: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by)

    def __getitem__(self, rows: slice) -> Shifts:
        return Shifts(self.by[rows], self.side, {stride: moved[rows] for stride, moved in self.moved.items()})

    def __call__(self, x: Tensor) -> Tensor:
        return shift(x if x.is_floating_point() else x.float(), self.by.to(x.device))

    def undo(self, y: Tensor) -> tuple[Tensor, None]:
        stride = self.side // y.shape[2]
        if stride * y.shape[2] != self.side:
            raise Refusal(
                f"A map of {y.shape[2]} rows is no whole part of an image of {self.side}: where it moved is unknown."
            )
        if y.shape[2] > 1 and stride not in self.moved and bool((self.by % stride).any()):
            raise Refusal(
                f"By shifts that {stride} does not divide, a map of total stride {stride} moves as its origins do: give them."
            )
        return shift(y, -self.moved.get(stride, self.by // stride).to(y.device)), None


@dataclass(frozen=True)
class Chain:
    """One after the other."""

    first: Transforms
    second: Transforms

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: slice) -> Chain:
        return Chain(self.first[rows], self.second[rows])

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))

    def undo(self, y: Tensor) -> tuple[Tensor, Tensor | None]:
        back, seen = self.second.undo(y)
        values, defined = self.first.undo(back)
        if seen is not None:
            through = self.first.undo(seen.to(y.dtype))[0] > 0.999
            defined = through if defined is None else defined & through
        return values, defined


# A draw: how many, of images of which side, by which generator. Identities are left out where the seed's authors leave them out.
Draw = Callable[[int, int, torch.Generator], Transforms]


def _integers(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high, (count,), generator=generator)


def _scales(count: int, side: int, generator: torch.Generator) -> Transforms:
    return scalings(0.5 + 0.5 * torch.rand(count, generator=generator))


DRAWS: dict[str, Draw] = {
    "r4": lambda count, side, g: QuarterTurns(_integers(1, 4, count, g)),
    "r8": lambda count, side, g: rotations(45 * _integers(1, 8, count, g)),
    "r4-reflections": lambda count, side, g: Chain(
        QuarterTurns(_integers(0, 4, count, g)), Reflections(_integers(0, 3, count, g))
    ),
    "scales": _scales,  # to between half and the whole of the size
    "shifts": lambda count, side, g: Shifts(torch.randint(side, (count, 2), generator=g), side),
}
