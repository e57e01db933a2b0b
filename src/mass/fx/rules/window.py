"""Rules of windowed operations: convolution, pooling, interpolation.

Their period is the stride; conversion makes their borders circular and leaves the operation as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from mass.axes import Pair, pair_of
from mass.fx.rule import Effect, Site

FRAME = "samples the frame's grid"
BORDER = "padding marks the border"


def windowed(
    site: Site, period: Pair, padded: bool, swap: nn.Module, inputs: tuple = (), axes: int | None = 2
) -> Effect:
    """The effect of an operation with a stride (its period) and, where `padded`, a border that must wrap.

    `axes`: how many axes its windows have.
    """
    site.image_axes(axes)
    padded = padded or site.map.pads != (0, 0)
    breaks = [why for broken, why in ((period != (1, 1), FRAME), (padded, BORDER)) if broken]
    changes = ((period != (1, 1), "origin from the features"), (padded, "circular border"))
    change = [what for done, what in changes if done]
    value = replace(site.map, pads=(0, 0))
    return Effect(value, period, swap, inputs or (site.input,), ", ".join(change), ", ".join(breaks), folds=True)


def is_padded(padding: Any, axes: int) -> bool:
    return padding != "valid" if isinstance(padding, str) else any(pair_of(padding, axes, 0))
