"""Confidence intervals of percentages."""

from __future__ import annotations

import math

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
