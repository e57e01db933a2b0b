"""Comparing one output with what a shift of the input makes of it, bit by bit, image by image.

Nobody says of an output whether it is to stay, as logits, or to move along, as a mask. So it is read in every way that its
shape allows, and held to one of them under all shifts and for all images. What has the image's own rows and columns, or
more of them, must move: a mask that stays is wrong, however steadily it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mass.axes import Dims, Pair
from mass.evaluate.inputs import ModelInputs
from mass.motion import Motion

STAYS = Motion()


def readings(shape: tuple[int, ...], size: Pair, dims: Dims) -> list[Motion]:
    """The ways in which an output of this shape may follow the image, the likeliest first.

    Args:
        shape: of the output, images first; size: height and width of the input; dims: its axes of positions.

    >>> [motion.axes for motion in readings((2, 21, 32, 48), (32, 48), (2, 3))]    # a mask must move
    [(2, 3)]
    >>> [motion.axes for motion in readings((2, 8, 12, 64), (32, 48), (2, 3))]     # a coarse map, channels last
    [(1, 2), ()]
    >>> [motion.axes for motion in readings((2, 48, 32), (32, 48), (2, 3))]        # a transposed mask
    [(2, 1)]
    >>> [motion.axes for motion in readings((2, 24, 64), (32, 48), (2, 3))]        # tokens, 4 rows of 6
    [(), (1, 1)]
    """
    maps = list(_maps(shape, size, dims))
    if any(_is_full(motion, shape, size) for motion in maps):
        return maps
    if maps and len(shape) >= 2 + len(dims):
        return [*maps, STAYS]
    return [STAYS, *maps, *_tokens(shape, size, dims)]


def _maps(shape: tuple[int, ...], size: Pair, dims: Dims) -> Iterator[Motion]:
    """Axes that hold as many rows and columns as the image, or a whole number of times more or fewer: those of `dims` first."""
    starts = sorted(range(1, len(shape) - len(dims) + 1), key=lambda first: (first != dims[0], first))
    for first in starts:
        held: Pair = (1, shape[first]) if len(dims) == 1 else (shape[first], shape[first + 1])
        alike = len(dims) == 1 or held[0] * size[1] == held[1] * size[0]
        if max(held) > 1 and (_divide(size, held) or _divide(held, size)) and (alike or first == dims[0]):
            yield Motion(tuple(range(first, first + len(dims))), held)
    for first in starts if len(dims) == 2 else ():  # the same, columns before rows
        held = shape[first + 1], shape[first]
        alike = held[0] * size[1] == held[1] * size[0]
        if alike and max(held) > 1 and (_divide(size, held) or _divide(held, size)):
            yield Motion((first + 1, first), held)


def _divide(a: Pair, b: Pair) -> bool:
    return all(m > 0 and n % m == 0 for m, n in zip(a, b, strict=True))


def _is_full(motion: Motion, shape: tuple[int, ...], size: Pair) -> bool:
    """Whether it has all positions. (B, 64, 64) is a map of images of 64 x 64, and not a finer one of 32 x 32; (B, L) of signals of L."""
    if len(shape) == 1 + len(motion.axes):
        return motion.shape == size
    return len(shape) > 2 and all(n >= whole for n, whole in zip(motion.shape, size, strict=True))


def _tokens(shape: tuple[int, ...], size: Pair, dims: Dims) -> Iterator[Motion]:
    """Rows and columns flattened to one axis, (B, N, C) or (B, C, N)."""
    for axis in (1, 2) if len(shape) == 3 and len(dims) == 2 else ():
        rows = math.isqrt(shape[axis] * size[0] // size[1])
        if rows > 1 and size[0] % rows == 0 and rows * rows * size[1] == shape[axis] * size[0]:
            yield Motion((axis, axis), (rows, shape[axis] // rows))


@dataclass
class Reading:
    """One way to read an output, and how well it has held so far, image by image."""

    motion: Motion
    identical: Tensor  # bool (B,)
    difference: Tensor  # float64 (B,), the largest
    symmetry: dict[int, Pair | None] = field(default_factory=dict)  # of images that differ: up to which of its own
    worst: Pair | None = None  # the shift with the largest difference

    @property
    def unexplained(self) -> bool:
        return bool((~self.identical).any()) and not all(self.symmetry.values())

    @property
    def fits(self) -> bool:
        """Whether it holds for an image, or would but for the image's own symmetry."""
        return bool(self.identical.any()) or any(self.symmetry.values())


class OutputComparison:
    """One output of one batch: what it was, and how each of its readings fits what it became.

    Args:
        path: where it lies in what the model returns; y: what it was for the images of `inputs`.
    """

    def __init__(self, path: str, y: Tensor, inputs: ModelInputs) -> None:
        self.path, self.y, self.inputs = path, y, inputs
        self.count = len(inputs.images)
        self.each = y.ndim > 0 and len(y) == self.count  # else one tensor for all images
        motions = readings(tuple(y.shape), inputs.size, inputs.dims) if self.each else [STAYS]
        self.readings = [self._reading(motion) for motion in motions]
        self._still = None if STAYS in motions else self._reading(STAYS)  # wrong, but worth naming

    def _reading(self, motion: Motion) -> Reading:
        return Reading(motion, torch.ones(self.count, dtype=torch.bool), torch.zeros(self.count, dtype=torch.float64))

    @property
    def best(self) -> Reading:
        """The reading that holds for most images; of several, the likeliest."""
        return max(
            self.readings, key=lambda r: int(r.identical.sum()) + sum(g is not None for g in r.symmetry.values())
        )

    @property
    def scale(self) -> float:
        """The largest finite value."""
        return _magnitude(self.y).nan_to_num(0, 0, 0).max().item() if self.y.numel() else 0.0

    @property
    def stayed_put(self) -> bool:
        """Whether it stayed, bit by bit, though it has the image's rows and columns."""
        return self._still is not None and bool(self._still.identical.all())

    def not_finite(self) -> list[int]:
        """Indices of images whose output has NaN or infinity."""
        if not (self.y.is_floating_point() or self.y.is_complex()) or not self.y.numel():
            return []
        rows = self.y.reshape(len(self.y), -1) if self.each else self.y.reshape(1, -1).expand(self.count, -1)
        return (~rows.isfinite().all(1)).nonzero().flatten().tolist()

    def see(self, z: object, t: Pair) -> bool:
        """Compare with what it is for the images moved by t; whether the best reading still holds for all of them."""
        watched = [r for k, r in enumerate(self.readings) if k == 0 or r.fits]
        if self._still is not None and self.stayed_put:
            watched.append(self._still)
        for reading in watched:
            same, distance = self._compare(reading.motion, z, t)
            if (distance > reading.difference.max()).any():
                reading.worst = t
            reading.identical &= same
            reading.difference = torch.maximum(reading.difference, distance)
            for row in (~same).nonzero().flatten().tolist():
                self._explain(reading, row, z, t)
        best = self.best
        return bool(best.identical.all()) or not best.unexplained

    def _compare(self, motion: Motion, z: object, t: Pair) -> tuple[Tensor, Tensor]:
        """Per image, whether it is what the shift t should have made of it, and else by how much it is off."""
        least = torch.full((self.count,), torch.inf, dtype=torch.float64)
        same = torch.zeros(self.count, dtype=torch.bool)
        if not isinstance(z, Tensor) or z.shape != self.y.shape or z.dtype != self.y.dtype:
            return same, least
        for expected in expectations(motion, self.y, t, self.inputs.size):
            same |= self._rows(_equal(expected, z)).all(1).cpu()
            if bool(same.all()):
                break
            distance = self._rows(_gap(expected, z)).amax(1).cpu()
            least = torch.where(distance.isnan() | (distance < least), distance, least)
        return same, least.masked_fill(same, 0.0)

    def _rows(self, values: Tensor) -> Tensor:
        if self.each:
            return values.flatten(1) if values.ndim > 1 else values[:, None]
        return values.reshape(1, -1).expand(self.count, -1)

    def _explain(self, reading: Reading, row: int, z: object, t: Pair) -> None:
        """Note the nearest symmetry g of an image for which its output moved by t + g instead of t, if there is one."""
        known = reading.symmetry.get(row)
        if row in reading.symmetry and known is None:
            return
        reading.symmetry[row] = None
        if not reading.motion.axes or not isinstance(z, Tensor) or z.shape != self.y.shape:
            return
        own, size = self.inputs.symmetries(row), self.inputs.size
        one = slice(row, row + 1)
        for g in own:
            by = (t[0] + g[0]) % size[0], (t[1] + g[1]) % size[1]
            expected = expectations(reading.motion, self.y[one], by, size)
            if any(bool(_equal(e, z[one]).all()) for e in expected):
                reading.symmetry[row] = min((known or g, g), key=own.index)
                return


def expectations(motion: Motion, y: Tensor, t: Pair, size: Pair) -> Iterator[Tensor]:
    """What `y` may have become under an input shift by t: moved along, on a lattice whose origin is not told."""
    steps = motion.steps(t, size) if motion.axes else (0, 0)
    for k in [steps] if steps is not None else motion.around(t, size):
        yield motion.apply(y, k)


def _equal(a: Tensor, b: Tensor) -> Tensor:
    return (a == b) | (a.isnan() & b.isnan())


def _magnitude(y: Tensor) -> Tensor:
    return y.abs().double() if y.is_complex() else y.double().abs()


def _gap(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().double() if a.is_complex() else (a.double() - b.double()).abs()
