"""How a tensor moves when the input does: which circular shift of which of its axes turns one output into another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair


@dataclass(frozen=True)
class Motion:
    """A circular shift of a tensor's axes, or none.

    Attributes:
        axes: the tensor's axes of rows and of columns; of a signal, of columns alone; () for what stays as it is. The
            same axis twice: rows and columns that were flattened to one axis.
        shape: how many rows and columns these axes hold.
    """

    axes: tuple[int, ...] = ()
    shape: Pair = (1, 1)

    def steps(self, t: Pair, size: Pair) -> Pair | None:
        """How far it moves when an input of `size` moves by t; None if between two samples."""
        moved = [by * n / whole for by, n, whole in zip(t, self.shape, size, strict=True)]
        return None if any(m != int(m) for m in moved) else (int(moved[0]), int(moved[1]))

    def apply(self, y: Tensor, steps: Pair) -> Tensor:
        """The tensor moved by so many rows and columns: position n holds what was at n + steps."""
        if not self.axes:
            return y
        if len(self.axes) == 1:
            return y.roll(-steps[1], self.axes[0])
        if self.axes[0] == self.axes[1]:
            axis = self.axes[0]
            return y.unflatten(axis, self.shape).roll((-steps[0], -steps[1]), (axis, axis + 1)).flatten(axis, axis + 1)
        return y.roll((-steps[0], -steps[1]), self.axes)

    def around(self, t: Pair, size: Pair) -> Iterator[Pair]:
        """The steps that an origin which is not told may make of a shift by t: (t + O' - O) / r with O, O' in [0, r)."""
        ranges = []
        for by, n, whole in zip(t, self.shape, size, strict=True):
            first, last = ((by * n - (whole - n)) / whole, (by * n + (whole - n)) / whole)
            ranges.append(range(math.ceil(first), math.floor(last) + 1) if n > 1 or whole == 1 else range(1))
        return itertools.product(*ranges)  # type: ignore[return-value]


def motions(shape: tuple[int, ...], size: Pair, axes: int) -> list[Motion]:
    """All ways in which a tensor of this shape may move with an input of `size`: staying first.

    Two axes in a ratio of sizes that an image's rows and columns have may be its rows and columns; so may two neighbours
    behind the first that hold them a whole number of times each (strides of 16 x 24, say), and a single axis of tokens,
    (B, N, C), (B, C, N) or (B, N).
    """
    found = [Motion()]
    if axes == 1:
        return found + [Motion((a,), (1, n)) for a, n in enumerate(shape) if n > 1 and _fits(n, size[1])]
    for a, b in itertools.permutations(range(len(shape)), 2):
        alike = shape[a] * size[1] == shape[b] * size[0] or 0 < a == b - 1
        if alike and max(shape[a], shape[b]) > 1 and _fits(shape[a], size[0]) and _fits(shape[b], size[1]):
            found.append(Motion((a, b), (shape[a], shape[b])))
    for a, n in enumerate(shape):
        rows = math.isqrt(n * size[0] // size[1])
        if (
            len(shape) in (2, 3)
            and a
            and rows
            and n == rows * (rows * size[1] // size[0])
            and n > 1
            and _fits(rows, size[0])
        ):
            found.append(Motion((a, a), (rows, n // rows)))
    return found


def _fits(n: int, size: int) -> bool:
    return n > 0 and (size % n == 0 or n % size == 0)


def observed(before: Tensor, after: Tensor, t: Pair, size: Pair, axes: int, tolerance: float) -> list[Motion]:
    """The motions that turn what was computed from an image into what was computed from it moved by t."""
    found = []
    for motion in motions(tuple(before.shape), size, axes):
        steps = motion.steps(t, size) if motion.axes else (0, 0)
        if (
            steps is not None
            and (not motion.axes or steps != (0, 0))
            and alike(motion.apply(before, steps), after, tolerance)
        ):
            found.append(motion)
    return found


def alike(expected: Tensor, found: Tensor, tolerance: float) -> bool:
    """Whether two tensors agree: to rounding if they are floating point, else exactly."""
    if expected.shape != found.shape or expected.dtype.is_floating_point != found.dtype.is_floating_point:
        return False
    if expected.dtype == found.dtype and expected.is_floating_point() and torch.equal(expected, found):
        return True
    difference, scale = distance(expected, found)
    return difference <= tolerance * scale


def distance(expected: Tensor, found: Tensor) -> tuple[float, float]:
    """The largest difference, and the largest finite value beside which it is large; equal infinities do not differ.

    Of what is not floating point, 1 where anything differs.
    """
    if not expected.numel():
        return 0.0, 1.0
    if not (expected.is_floating_point() and found.is_floating_point()):
        if expected.is_complex() and found.is_complex():
            return distance(torch.view_as_real(expected), torch.view_as_real(found))
        return float((expected != found).any()), 1e-300
    same = (found == expected) | (found.isnan() & expected.isnan())
    difference = torch.where(same, 0.0, (found.double() - expected.double()).abs())
    size = torch.where(expected.isfinite(), expected.double().abs(), 0.0)
    return difference.nan_to_num(math.inf).amax().item(), max(size.amax().item(), 1e-300)


def cancelled(tolerance: float, inputs: Iterable[Any]) -> float:
    """What rounding leaves of values that cancel, as a mean of what was normalised to zero: a difference that says nothing.

    Args:
        tolerance: relative to what is compared; inputs: what that was computed from.
    """
    sizes = [distance(x, x)[1] for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
    return 1e-5 * tolerance * max(sizes, default=0.0)


def is_noise(size: float, tolerance: float, values: Iterable[Any]) -> bool:
    """Whether so little may be rounding alone of what was computed from these: a constant map less its mean, over its deviation, say."""
    sizes = [distance(x, x)[1] for x in values if isinstance(x, Tensor) and x.is_floating_point()]
    return size <= 0.1 * tolerance * max(sizes, default=0.0)
