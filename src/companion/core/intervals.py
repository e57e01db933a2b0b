"""Confidence intervals of percentages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev

from scipy.stats import t

_Z = 1.959964  # the normal's 97.5th percentile


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval (Wilson) of a percentage that was counted over n images.

    >>> tuple(round(bound, 1) for bound in wilson(50, 100))
    (40.4, 59.6)
    """
    p = share / 100
    centre, width = p + _Z * _Z / (2 * n), _Z * math.sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n))
    low, high = (100 * (centre + sign * width) / (1 + _Z * _Z / n) for sign in (-1, 1))
    return max(low, 0.0), min(high, 100.0)


def of_seeds(shares: Sequence[float], n: int) -> tuple[float, float]:
    """The 95% interval of the mean of percentages of n images, one a seed: Wilson's, or Student's over three seeds or more where it is wider.

    >>> tuple(round(bound, 1) for bound in of_seeds([50, 60, 70], 100))
    (35.2, 84.8)
    >>> of_seeds([50, 50, 50], 100) == wilson(50, 100)
    True
    """
    centre = mean(shares)
    low, high = wilson(centre, n)
    if len(shares) < 3:
        return low, high
    width = float(t.ppf(0.975, len(shares) - 1)) * stdev(shares) / math.sqrt(len(shares))
    return max(min(low, centre - width), 0.0), min(max(high, centre + width), 100.0)
