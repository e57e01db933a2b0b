"""How sure an origin is of itself: lattices, the stride, and noise."""

from __future__ import annotations

from typing import Any

from torch import nn

from companion.data.labelled import Labelled
from companion.measures.margins import margins, summary
from companion.measures.noise import labels_under_noise


def under_noise(network: nn.Module, data: Labelled, noise: float, count: int) -> dict[str, Any]:
    """Percentages of test images whose label changes under noise, and, where origins are chosen, whose origins do."""
    return labels_under_noise(network, data.test.first(count).batches(100), data.normalize, noise).shares()


def first_margin(network: nn.Module, data: Labelled, count: int) -> float:
    """The median margin at the first origin, in percent of its energy."""
    return 100 * float(summary(margins(network, data.test.first(count).batches(100), data.normalize))["median"].iloc[0])
