"""Lattices: where the samples of a feature map lie in the network's input.

Behind aligned downsamplings of periods P1, P2, … with origins o1, o2, … a map lives on the lattice of total stride
S = P1 P2 … and total origin O = o1 + P1 o2 + P1 P2 o3 + …: its position n lies at input position O + S n. Two maps may
only be added, multiplied or concatenated on the same lattice, so parallel branches that leave one lattice must share
their origins. `unify` merges what meets (union-find on the digits o1, o2, …); a digit of period 4 that meets two of
period 2 is chosen once, with period 4, and read digit by digit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair, times


@dataclass(eq=False)
class Digit:
    """One digit of a lattice's origin. Joined digits read their value from a root: (root // low) mod period."""

    period: Pair
    _root: Digit | None = None
    _low: Pair = (1, 1)

    def find(self) -> tuple[Digit, Pair]:
        """The digit that is really chosen, and the place value at which this one reads it."""
        return Joins().find(self)


Lattice = tuple[Digit, ...]


@dataclass(frozen=True)
class Grid:
    """A tensor whose axes `dims` are the rows and columns of a map on `lattice`; a signal has columns alone.

    `pads` are rows and columns put before it, for the next window to take up; `window` is told of the indices of a max
    pooling: the module that chose them. `batch` is the axis of images. A map that is finer than the input has no digits
    and `fine` samples for each pixel.
    """

    lattice: Lattice
    dims: tuple[int, ...]
    pads: Pair = (0, 0)
    window: Any = None
    batch: int = 0
    fine: Pair = (1, 1)

    @property
    def axes(self) -> dict[int, int]:
        """The tensor's axis of rows (0) and of columns (1), of those it has."""
        return {2 - len(self.dims) + i: d for i, d in enumerate(self.dims)}

    def moved(self, place: Callable[[int], int]) -> Grid:
        """The same map in a tensor that has each axis in another place."""
        return Grid(self.lattice, tuple(map(place, self.dims)), batch=place(self.batch), fine=self.fine)

    def without(self, axes: Collection[int]) -> Grid:
        """The same map in a tensor that lacks some axes, none of them its own."""
        return self.moved(lambda d: d - sum(a < d for a in axes))


def stride(lattice: Lattice) -> Pair:
    """Total stride S of a lattice."""
    total = (1, 1)
    for digit in lattice:
        total = times(total, digit.period)
    return total


class Joins:
    """Digits that are to be joined: planned first, then made together by `commit`, or not at all.

    >>> two, four, joins = Digit((2, 2)), Digit((4, 4)), Joins()
    >>> joins.unify((two, Digit((2, 2))), (four,))
    >>> two.find()[0] is four, joins.find(two)[0] is four
    (False, True)
    >>> joins.commit()
    >>> two.find()[0] is four
    True
    """

    def __init__(self) -> None:
        self._planned: dict[Digit, tuple[Digit, Pair]] = {}

    @property
    def planned(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self._planned)

    def find(self, digit: Digit) -> tuple[Digit, Pair]:
        """As `Digit.find`, as if what is planned were made."""
        low = (1, 1)
        while True:
            if digit in self._planned:
                digit, step = self._planned[digit]
            elif digit._root is not None:
                digit, step = digit._root, digit._low
            else:
                return digit, low
            low = times(low, step)

    def join(self, digit: Digit, root: Digit, low: Pair = (1, 1)) -> bool:
        """Make a digit read `root` at place `low`; False, and nothing is planned, if the two cannot agree."""
        mine, my_low = self.find(digit)
        other, other_low = self.find(root)
        low = times(other_low, low)
        if mine is other:
            return my_low == low
        if my_low != (1, 1):
            if my_low == low and mine.period == other.period:  # two joint choices on one lattice: make them one
                self._planned[mine] = other, (1, 1)
                return True
            return other_low == low == (1, 1) and self.join(root, digit)
        if any(other.period[axis] % (mine.period[axis] * low[axis]) for axis in (0, 1)):
            # Not a digit of `other`; perhaps `other` is one of this digit's own.
            fits = not any(mine.period[axis] % other.period[axis] for axis in (0, 1))
            return fits and low == (1, 1) and self.join(root, digit)
        self._planned[mine] = other, low
        return True

    def unify(self, first: Lattice, second: Lattice) -> str | None:
        """Plan to make two lattices one. Returns None, or the reason why they cannot be; nothing is added then."""
        before = dict(self._planned)
        reason = self._unify(first, second)
        if reason:
            self._planned = before
        return reason

    def _unify(self, first: Lattice, second: Lattice) -> str | None:
        if stride(first) != stride(second):
            (a, b), (c, d) = stride(first), stride(second)
            return f"it joins maps of total stride {a} x {b} and {c} x {d}"
        left, right = list(first), list(second)
        while left and right:
            chains: tuple[list[Digit], list[Digit]] = ([left.pop(0)], [right.pop(0)])
            while (sizes := (stride(tuple(chains[0])), stride(tuple(chains[1]))))[0] != sizes[1]:
                shorter = sizes[0] > sizes[1]
                rest = (left, right)[shorter]
                if not rest:
                    return "it joins maps whose strides cannot be matched step by step"
                chains[shorter].append(rest.pop(0))
            # The longest single digit serves as the root; where both sides are chains, a new one does.
            root = next((chain[0] for chain in chains if len(chain) == 1), None) or Digit(sizes[0])
            for chain in chains:
                low = (1, 1)
                for digit in chain:
                    if digit is not root and not self.join(digit, root, low):
                        return "it joins maps whose origins were chosen in ways that cannot agree"
                    low = times(low, digit.period)
        return None

    def commit(self) -> None:
        """Make what is planned."""
        for digit, (root, low) in self._planned.items():
            digit._root, digit._low = root, low
        self._planned.clear()


def unify(first: Lattice, second: Lattice) -> str | None:
    """Make two lattices one. Returns None, or the reason why they cannot be, and nothing has changed then.

    >>> two, four = Digit((2, 2)), Digit((4, 4))
    >>> unify((two, Digit((2, 2))), (four,)), two.find()[0] is four
    (None, True)
    >>> unify((two,), (four,))
    'it joins maps of total stride 2 x 2 and 4 x 4'
    """
    joins = Joins()
    reason = joins.unify(first, second)
    joins.commit()
    return reason


def same(first: Lattice, second: Lattice) -> bool:
    """Whether two lattices are one already."""
    joins = Joins()
    return joins.unify(first, second) is None and not joins.planned


def rise(lattice: Lattice, factor: Pair) -> tuple[Lattice, Lattice, Pair] | None:
    """Take the finest digits of total period `factor` off a lattice: (the finer lattice, the digits taken off, what is left).

    Going up by r, a map moves by O div (S / r), which those digits spell, and keeps O mod (S / r). A digit that is only
    partly taken off is read as two. What is left of the factor when there are no more digits makes the map finer than the
    input. None if the factor does not divide the stride digit by digit.
    """
    kept, taken = list(lattice), []  # type: ignore[var-annotated]
    left = factor
    while left != (1, 1):
        if not kept:
            break
        digit = kept.pop()
        (p, q), (r, s) = digit.period, left
        if r % p == 0 and s % q == 0:
            taken.insert(0, digit)
            left = r // p, s // q
        elif p % r == 0 and q % s == 0:
            low = Digit((p // r, q // s), digit)
            high = Digit(left, digit, low.period)
            kept.append(low)
            taken.insert(0, high)
            left = (1, 1)
        else:
            return None
    return tuple(kept), tuple(taken), left


@dataclass(frozen=True)
class Positions:
    """Where a node's samples lie: its row and column axes, the (origin node, period) of each digit of its lattice, and how
    many samples it has for each pixel of the input if it is finer."""

    dims: tuple[int, ...]
    digits: tuple[tuple[str, Pair], ...]
    batch: int = 0
    fine: Pair = (1, 1)

    def total(self, origins: dict[str, Tensor]) -> tuple[Tensor, Pair]:
        """Total origin O (B, 2) or zero, and total stride S."""
        total, place = torch.zeros(2, dtype=torch.int64), (1, 1)
        for name, period in self.digits:
            chosen = origins[name]
            total = total.to(chosen.device) + chosen * torch.tensor(place, device=chosen.device)
            place = times(place, period)
        return total, place
