"""Where an output of a converted network lies: on which lattice, with which of the origins that it chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mass.axes import Pair, times


@dataclass(frozen=True)
class OriginDigit:
    """One digit of a total origin, read off an origin that is chosen: (origin // low) mod period.

    Attributes:
        name: of the module that chooses.
        low, period: of the digit, for the example that was converted.
        last: the highest digit of that origin; its period is what is left, and may follow the map's size.
    """

    name: str
    low: Pair
    period: Pair
    last: bool


@dataclass(frozen=True)
class OutputLattice:
    """The lattice of one output.

    Attributes:
        axes: its axes of rows and columns; of a signal, of columns; () for what was computed from the whole map.
        digits: of its origin, the finest first; None where it was computed from several maps, each at an origin of its own.
    """

    axes: tuple[int, ...]
    digits: tuple[OriginDigit, ...] | None

    def total(self, chosen: Mapping[str, tuple[Tensor, Pair]], batch: int) -> tuple[Tensor, Pair] | None:
        """Total origin (B, 2) and total stride, of each origin that was chosen in a pass and its period."""
        if self.digits is None:
            return None
        total, place = torch.zeros(batch, 2, dtype=torch.int64), (1, 1)
        for digit in self.digits:
            period = digit.period
            if digit.name in chosen:  # else it is zero
                origin, whole = chosen[digit.name]
                if digit.last:
                    period = whole[0] // digit.low[0], whole[1] // digit.low[1]
                place_, low, modulo = (torch.tensor(pair, device=origin.device) for pair in (place, digit.low, period))
                total = total.to(origin.device) + place_ * (origin // low % modulo)
            place = times(place, period)
        return total, place
