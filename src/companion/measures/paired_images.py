"""Two methods on the same images: whom does each image favour? McNemar's test, and Holm's correction for a family.

Confidence intervals of two percentages that overlap say little about their difference when both were counted on the same
images: what counts are the images on which the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from torch import Tensor

from companion.core.errors import Refusal


def mcnemar(before: Tensor, after: Tensor) -> dict[str, Any]:
    """Compare two yes-or-no outcomes of each image.

    Args:
        before, after: of the same images (N,), bool: right or wrong, changed or not.

    Returns:
        n; only_before and only_after, the images of which only one is true; difference, after minus before in percentage
        points, with its 95% interval (low, high; normal approximation for paired shares); p, exact and two-sided.

    Raises:
        Refusal: without an image.
    """
    from scipy.stats import binomtest

    _require_images(before)
    n, b, c = len(before), int((before & ~after).sum()), int((after & ~before).sum())
    difference, error = (c - b) / n, (b + c - (c - b) ** 2 / n) ** 0.5 / n
    p = float(binomtest(b, b + c).pvalue) if b + c else 1.0
    low, high = (100 * (difference + sign * 1.959964 * error) for sign in (-1, 1))
    return {"n": n, "only_before": b, "only_after": c, "difference": 100 * difference, "low": low, "high": high, "p": p}


def compare(outcomes: Mapping[str, Tensor], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """A family of comparisons on the same images.

    Args:
        outcomes: by method, yes or no for each image.
        pairs: (method, against).

    Returns:
        A row a pair: method, against, what `mcnemar` finds, and p_holm, corrected for all pairs of the family.
    """
    return corrected(
        [{"method": one, "against": other} | mcnemar(outcomes[other], outcomes[one]) for one, other in pairs]
    )


def signed_rank(before: Tensor, after: Tensor) -> dict[str, Any]:
    """Compare two shares of each image, of its pixels say: Wilcoxon's signed-rank test, for they are seldom normal.

    Args:
        before, after: of the same images (N,), in percent.

    Returns:
        n; before and after, the means; difference, their difference in percentage points, with its 95% interval (low, high; normal
        approximation for the mean); p, two-sided.

    Raises:
        Refusal: without an image.
    """
    from scipy.stats import wilcoxon

    _require_images(before)
    gains = after.double() - before.double()
    n, mean, error = len(gains), gains.mean().item(), gains.std().item() / len(gains) ** 0.5
    p = float(wilcoxon(gains.numpy()).pvalue) if bool(gains.any()) else 1.0
    means = {"before": before.double().mean().item(), "after": after.double().mean().item()}
    return {
        "n": n,
        **means,
        "difference": mean,
        "low": mean - 1.959964 * error,
        "high": mean + 1.959964 * error,
        "p": p,
    }


def compare_shares(shares: Mapping[str, Tensor], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """As `compare`, for a percentage of each image: what `signed_rank` finds, and p_holm, corrected for all pairs."""
    return corrected(
        [{"method": one, "against": other} | signed_rank(shares[other], shares[one]) for one, other in pairs]
    )


def corrected(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one family of tests, p_holm beside each one's p."""
    return [row | {"p_holm": p} for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family of tests (Holm, 1979): below 0.05 means rejected, with a family-wise error of 5%.

    NaN, of what could not be tested, stays NaN and is none of the family.

    >>> holm([0.25, 0.75, 0.5])
    [0.75, 1.0, 1.0]
    >>> holm([0.25, float("nan"), 0.5])
    [0.5, nan, 0.5]
    """
    p = numpy.asarray(p_values, dtype=float)
    tested = int((~numpy.isnan(p)).sum())
    order = numpy.argsort(p)[:tested]  # NaN is sorted last
    result = numpy.full_like(p, numpy.nan)
    result[order] = numpy.maximum.accumulate((tested - numpy.arange(tested)) * p[order]).clip(max=1.0)
    return [float(value) for value in result]


def _require_images(images: Tensor) -> None:
    if not len(images):
        raise Refusal("There is no image to compare the two by: give at least one.")
