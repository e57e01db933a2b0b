"""Rules of windowed operations: convolution, pooling, interpolation.

Their period is the stride; conversion makes their borders circular and leaves the operation as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from . import layers, reduce
from .circular import window_pads
from .effects import Effect, Site
from .errors import NotEquivariantError, as_pair
from .flatten import size_of
from .kernels import circular_conv2d
from .lattice import Pair, stride, times
from .unpool import max_pool_with_indices
from .upsample import MODES, CircularDownsample, CircularUpsample

FRAME = "samples the frame's grid"
BORDER = "padding marks the border"


def windowed(site: Site, period: Pair, padded: bool, swap: nn.Module, inputs: tuple = ()) -> Effect:
    """The effect of an operation with a stride (its period) and, where `padded`, a border that must wrap."""
    site.image_axes()
    padded = padded or site.map.pads != (0, 0)
    breaks = [why for broken, why in ((period != (1, 1), FRAME), (padded, BORDER)) if broken]
    changes = ((period != (1, 1), "origin from the features"), (padded, "circular border"))
    change = [what for done, what in changes if done]
    value = replace(site.map, pads=(0, 0))
    return Effect(value, period, swap, inputs or (site.input,), ", ".join(change), ", ".join(breaks), folds=True)


def recast(module: nn.Module, cls: type[nn.Module]) -> nn.Module:
    """The same module (parameters, hooks, training flag) with another forward."""
    new = cls.__new__(cls)
    new.__dict__ = module.__dict__
    return new


class FunctionalConv2d(nn.Module):
    """`F.conv2d` with circular borders, for weights that the network computes."""

    def __init__(
        self, kernel_size: Pair, stride: Pair, padding: Any, dilation: Pair, groups: int, before: Pair = (0, 0)
    ) -> None:
        super().__init__()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.pads = window_pads(kernel_size, stride, padding, dilation, before)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return circular_conv2d(x, weight, bias, self.stride, self.dilation, self.groups, self.pads)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, dilation={self.dilation}, groups={self.groups}, pads={self.pads}"


def conv(site: Site) -> Effect:
    """`nn.Conv2d` and `F.conv2d`."""
    if site.module is not None:
        layer = recast(site.module, layers.CircularConv2d)
        assert isinstance(layer, nn.Conv2d)
        if vars(layer).setdefault("before", site.map.pads) != site.map.pads:
            raise site.refuse(f"it is called with another padding before it, {layer.before}, elsewhere")
        padded = layer.padding not in ((0, 0), "valid") and layer.padding_mode != "circular"
        return windowed(site, as_pair(layer.stride, "stride"), padded, layer)
    weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
    if site.values.get(weight):
        raise site.refuse("a convolution whose kernel is a map")
    stride, padding = as_pair(site.argument(3, "stride", 1), "stride"), site.argument(4, "padding", 0)
    padding = padding if isinstance(padding, str | tuple | list) else (padding, padding)
    dilation, groups = as_pair(site.argument(5, "dilation", 1), "dilation"), site.argument(6, "groups", 1)
    swap = FunctionalConv2d(weight.meta["shape"][2:], stride, padding, dilation, groups, site.map.pads)
    return windowed(site, stride, bool(any(swap.pads)), swap, (site.input, weight, bias))


def pool(plain: type[nn.Module], circular: type[nn.Module]) -> Callable[[Site], Effect]:
    """Max and average pooling, as modules or functions."""
    names = ["kernel_size", "stride", "padding", "dilation" if plain is nn.MaxPool2d else "ceil_mode"]

    def rule(site: Site) -> Effect:
        given = {name: site.argument(i + 1, name) for i, name in enumerate(names)}
        indices = site.argument(6, "return_indices", False) or site.kind == "max_pool2d_with_indices"
        if indices and plain is nn.MaxPool2d:
            plain_pool = nn.MaxPool2d(**{k: v for k, v in given.items() if v is not None})
            return max_pool_with_indices(site, plain_pool)
        pool: Any = circular(**{k: v for k, v in given.items() if v is not None and k != "ceil_mode"})
        pool.before = site.map.pads
        if plain is nn.AvgPool2d:
            pool.divisor_override = site.argument(6, "divisor_override")
        return windowed(site, as_pair(pool.stride, "stride"), pool.padding not in (0, (0, 0)), pool)

    return rule


class UnequalWindows(NotEquivariantError):
    """Adaptive pooling whose windows differ in size; `multiple`: what the input's height and width must be multiples of."""

    multiple: Pair = (1, 1)

    def needing(self, multiple: Pair) -> UnequalWindows:
        self.multiple = multiple
        return self


def adaptive_pool(average: bool) -> Callable[[Site], Effect]:
    """Adaptive pooling: global, or of windows of equal size."""

    def rule(site: Site) -> Effect:
        site.image_axes()
        if site.map.pads != (0, 0):
            raise site.refuse("adaptive pooling of a padded map")
        size = site.argument(1, "output_size")
        rows, columns = _as_target(size)
        out = site.sizes[0] if rows is None else rows, site.sizes[1] if columns is None else columns
        if out == (1, 1):
            return Effect(None, swap=reduce.ExactMean() if average else None, inputs=(site.input,),
                          change="exact mean" if average else "")  # fmt: skip
        if site.sizes[0] % out[0] or site.sizes[1] % out[1]:
            reason = f"adaptive pooling of {site.sizes} to {out} has windows of unequal size"
            raise UnequalWindows(site.node.name, reason).needing(times(stride(site.map.lattice), out))
        period = site.sizes[0] // out[0], site.sizes[1] // out[1]
        effect = windowed(site, period, False, layers.CellPool2d(out, average))
        effect.cells = out
        return effect

    return rule


def _as_target(size: Any) -> tuple:
    return (size, size) if size is None or isinstance(size, int) else tuple(size)


def interpolate(site: Site) -> Effect:
    """`nn.Upsample` and `F.interpolate` by integer factors."""
    site.image_axes()
    before, after = site.shape[2:], site.node.meta["shape"][2:]
    mode = str(site.argument(3, "mode", "nearest"))
    if mode not in MODES:
        raise site.refuse(f"interpolation by '{mode}'", f"use one of {', '.join(MODES)}")
    if after != before and not (before[0] % after[0] or before[1] % after[1]) and not site.argument(5, "antialias"):
        period = before[0] // after[0], before[1] // after[1]
        effect = windowed(site, period, False, CircularDownsample(period, mode))
        effect.change += ", half-pixel centres" if mode != "nearest" else ""
        return effect
    if after[0] % before[0] or after[1] % before[1]:
        raise site.refuse(f"interpolation from {before} to {after} is not by an integer factor")
    factor = after[0] // before[0], after[1] // before[1]
    if factor == (1, 1):
        return Effect(site.map)
    change = "moved back" if mode == "nearest" else "wraps, half-pixel centres, moved back"
    if site.argument(4, "align_corners"):
        change += ", corners no longer aligned"
    size = size_of(site)
    inputs = (site.input, size)
    return Effect(site.map, up=factor, swap=CircularUpsample(factor, mode), inputs=inputs, change=change, resizes=size is not None,
                  breaks="" if mode == "nearest" else "repeats the border")  # fmt: skip
