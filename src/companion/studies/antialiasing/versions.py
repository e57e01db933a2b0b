"""One network in the versions that are compared, all of the same weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

import mass
from mass.baselines.aps import convert_to_aps

Make = Callable[[nn.Module, Tensor], nn.Module]


def circular(model: nn.Module, x: Tensor) -> nn.Module:
    """With borders that wrap, on the fixed grid."""
    return mass.convert(model, x, origin="zero", verify=False)


def circular_blur(model: nn.Module, x: Tensor) -> nn.Module:
    """With a filter wherever it samples, and borders that wrap, on the fixed grid."""
    return circular(mass.antialias(model, x, verify=False), x)


def converted(model: nn.Module, x: Tensor) -> nn.Module:
    """MASS."""
    return mass.convert(model, x, verify=False)


def converted_blur(model: nn.Module, x: Tensor) -> nn.Module:
    """MASS over anti-aliasing."""
    return mass.convert(mass.antialias(model, x, verify=False), x, verify=False)


# By name, as companion.figures.style colours them.
VERSIONS: dict[str, Make] = {
    "plain": lambda model, x: model,
    "circular padding": circular,
    "anti-aliased": circular_blur,
    "APS": convert_to_aps,
    "MASS": converted,
    "MASS over anti-aliasing": converted_blur,
}
