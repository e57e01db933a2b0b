"""Whether a measurement bears the paper out: the few sentences that may be said, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence

from companion.paper.printed import RUNS, Cell

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
NOT_AT_SCALE = "not run at paper scale"


def on_mean(cell: Cell, ours: Sequence[float]) -> str:
    """Whether the mean of our runs is the paper's, within twice the standard error of the difference.

    A value printed without a spread (100%) is a promise: every run has to keep it.
    """
    if cell.doubt:
        return "printed value in doubt"
    if not ours:
        return NOT_AT_SCALE
    if cell.std is None:
        return on_promise(all(value == cell.mean for value in ours), True)
    if len(ours) < 2:
        return "one run: no verdict"
    mean = sum(ours) / len(ours)
    variance = sum((value - mean) ** 2 for value in ours) / (len(ours) - 1)
    error = math.sqrt(cell.std**2 / RUNS + variance / len(ours))
    return REPRODUCED if abs(mean - cell.mean) <= 2 * error else NOT_REPRODUCED


def on_promise(kept: bool, at_scale: bool) -> str:
    """A promise (100%) is refuted by one counter-example, at any scale, and confirmed at the paper's alone."""
    if not kept:
        return NOT_REPRODUCED
    return REPRODUCED if at_scale else NOT_AT_SCALE


def without_number(at_scale: bool) -> str:
    """Of a row whose numbers are lost."""
    return "no number to compare with" if at_scale else NOT_AT_SCALE
