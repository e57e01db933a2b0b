"""Whether a measurement bears the paper out: the few sentences that may be said, and when."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.stats import t

from companion.paper.printed import RUNS, Cell

REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"
NOT_AT_SCALE = "not run at paper scale"
MARGIN = 0.5  # percentage points within which two means pass for the same; Table 2's differences at stake are of 0.06 to 0.36
LEVEL = 0.05  # of each of the tests


def on_mean(cell: Cell, ours: Sequence[float]) -> str:
    """Whether the mean of our runs is the paper's.

    Reproduced needs evidence that the two are equivalent: two one-sided tests (TOST, Welch's) reject that their means differ by
    `MARGIN` or more. Not reproduced needs evidence that they differ (Welch's t-test), and that by more than equivalence allows.
    Neither is said where runs are too few or too scattered to tell. A value printed without a spread (100%) is a promise:
    every run has to keep it.
    """
    if cell.doubt:
        return "printed value in doubt"
    if not ours:
        return NOT_AT_SCALE
    if cell.std is None:
        return on_promise(all(value == cell.mean for value in ours), True)
    if len(ours) < 2:
        return "one run: no verdict"
    difference = abs(statistics.mean(ours) - cell.mean)
    parts = cell.std**2 / RUNS, statistics.variance(ours) / len(ours)
    error = math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (RUNS - 1) + parts[1] ** 2 / (len(ours) - 1))
    if difference + t.ppf(1 - LEVEL, freedom) * error < MARGIN:
        return f"{REPRODUCED} within {MARGIN:g} points"
    differs = difference > t.ppf(1 - LEVEL / 2, freedom) * error
    return NOT_REPRODUCED if differs else f"not decidable at n = {len(ours)}"


def on_promise(kept: bool, at_scale: bool) -> str:
    """A promise (100%) is refuted by one counter-example, at any scale, and confirmed at the paper's alone."""
    if not kept:
        return NOT_REPRODUCED
    return REPRODUCED if at_scale else NOT_AT_SCALE
