"""What the rules of operations on windows share: their period is the stride, and conversion makes their borders wrap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from mass.axes import Pair, pair_of
from mass.fx.rule import FRAME, FROM_FEATURES, Effect, Recast, Site

BORDER = "padding marks the border"


def windowed(site: Site, period: Pair, padded: bool, swap: nn.Module | Recast, inputs: tuple = ()) -> Effect:
    """The effect of an operation with a stride (its period) and, where `padded`, a border that must wrap."""
    operation = site.operation
    assert operation is not None
    site.image_axes(operation.axes)
    padded = padded or site.map.pads != (0, 0)
    breaks = [why for broken, why in ((period != (1, 1), FRAME), (padded, BORDER)) if broken]
    changes = ((period != (1, 1), FROM_FEATURES), (padded, "circular border"))
    return Effect(
        replace(site.map, pads=(0, 0)),
        period,
        swap,
        inputs or (site.input,),
        change=", ".join(what for done, what in changes if done),
        breaks=", ".join(breaks),
        takes_origin=operation.takes_origin,
    )


def is_padded(padding: Any, axes: int) -> bool:
    """Whether an argument `padding` of an operation on so many axes pads rows or columns."""
    return padding != "valid" if isinstance(padding, str) else any(pair_of(padding, axes, 0))
