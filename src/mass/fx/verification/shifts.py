"""The shifts under which the gate asks a network: a step of the coarsest lattice, and ones between the samples of every lattice.

A wrong period shows where a map moves by a number of positions that the true period does not divide. On an input that is
shifted by t a map on lattice (S, O) moves by k = (t + O' - O) / S positions. As O' = (O - t) mod S, every k follows from the
origins of the unshifted input, so that shifts can be chosen that move every map by an odd number of positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from mass.axes import Pair

_TRIED = 2048  # shifts, of which the most telling are asked
_MOST = 3


@dataclass(frozen=True)
class Lattice:
    """Where the samples of some map lie on the unshifted input: origins (B, 2), stride, samples for each pixel, rows and columns held."""

    origin: Tensor
    stride: Pair
    fine: Pair
    held: Pair


def coarse_step(size: Pair, stride: Pair) -> Pair:
    """A step of the coarsest lattice."""
    return stride[0] % size[0], -stride[1] % size[1]


def between(size: Pair, stride: Pair) -> Pair:
    """A shift between the samples of every lattice, by more than a step of the coarsest: where origins are not known."""
    return (stride[0] + (stride[0] // 2 | 1)) % size[0], 1 % size[1]


def telling(lattices: Sequence[Lattice], size: Pair, stride: Pair) -> list[Pair]:
    """Shifts between the samples of every lattice, as many as it takes (three at most) to move each map by an odd number of positions
    along each of its axes, in some image; of those that do, such as move most maps by no multiple of three.

    >>> at_zero = torch.zeros(1, 2, dtype=torch.int64)
    >>> maps = [Lattice(at_zero, (2, 2), (1, 1), (16, 16)), Lattice(at_zero, (4, 4), (1, 1), (8, 8))]
    >>> ((rows, columns),) = telling(maps, (32, 32), (4, 4))
    >>> [-(-rows // s) % 2 for s in (2, 4)], [-(-columns // s) % 2 for s in (2, 4)]
    ([1, 1], [1, 1])
    """
    shifts = _candidates(size, stride)
    odd = _moved(lattices, shifts, 2)
    if not odd.shape[1]:
        return [between(size, stride)]
    chosen: list[Pair] = []
    thirds, left = _moved(lattices, shifts, 3), odd.any(0)
    while left.any() and len(chosen) < _MOST:
        score = (odd & left).sum(1) * (thirds.shape[1] + 1) + thirds.sum(1)
        best = int(score.argmax())
        rows, columns = shifts[best].tolist()
        chosen.append((rows, columns))
        left = left & ~odd[best]
    return chosen or [between(size, stride)]


def _candidates(size: Pair, stride: Pair) -> Tensor:
    """Shifts (n, 2) that have no divisor in common with the total stride, at random and always the same."""
    generator = torch.Generator().manual_seed(0)
    along = []
    for n, s in zip(size, stride, strict=True):
        apart = [t for t in range(n) if gcd(t, s) == 1] or [1 % n]
        along.append(torch.tensor(apart)[torch.randint(len(apart), (_TRIED,), generator=generator)])
    return torch.stack(along, 1)


def _moved(lattices: Sequence[Lattice], shifts: Tensor, by: int) -> Tensor:
    """(shifts, maps and axes): whether a shift moves a map, in some image, by a number of positions that `by` does not divide."""
    columns = [torch.zeros(len(shifts), 0, dtype=torch.bool)]
    for lattice in lattices:
        stride, origin = torch.tensor(lattice.stride), lattice.origin.cpu().reshape(-1, 2)
        t = (shifts * torch.tensor(lattice.fine))[:, None]
        steps = (t + (origin - t) % stride - origin) // stride  # (shifts, images, 2)
        columns.append((steps % by != 0).any(1)[:, [held >= by for held in lattice.held]])
    return torch.cat(columns, 1)
