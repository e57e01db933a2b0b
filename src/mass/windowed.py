"""Rules of windowed operations: convolution, pooling, interpolation.

Their period is the stride; conversion makes their borders circular and leaves the operation as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn

from . import layers, reduce
from .axes import OnMaps, pair_of, sizes_along
from .circular import window_pads
from .effects import Effect, Outright, Site
from .errors import NotEquivariantError, as_pair
from .flatten import size_of
from .kernels import circular_conv2d
from .lattice import Grid, Pair, stride, times
from .signals import CircularAvgPool1d, CircularConv1d, CircularMaxPool1d, circular_conv1d
from .transposed import CircularConvTranspose1d, CircularConvTranspose2d, FunctionalConvTranspose
from .unpool import max_pool_with_indices
from .upsample import MODES, CircularDownsample, CircularUpsample
from .videos import (
    AdaptivePool3d,
    CircularAvgPool3d,
    CircularConv3d,
    CircularConvTranspose3d,
    CircularMaxPool3d,
    InTime,
    circular_conv3d,
)

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


class FunctionalConv(nn.Module):
    """`F.conv1d` or `F.conv3d` with circular borders, for weights that the network computes."""

    def __init__(self, axes: int, *options: Any) -> None:
        super().__init__()
        self.convolve: Any = circular_conv1d if axes == 1 else circular_conv3d
        self.options = options

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.convolve(x, weight, bias, *self.options)

    def extra_repr(self) -> str:
        return "stride={}, padding={}, dilation={}, groups={}".format(*self.options)


def conv(site: Site) -> Effect:
    """`nn.Conv1d`, `nn.Conv2d`, `nn.Conv3d` and their functions."""
    if site.module is not None:
        axes = len(site.module.kernel_size)  # type: ignore[arg-type]
        layer: Any = recast(site.module, _CONVOLUTIONS[axes])
        if vars(layer).setdefault("before", site.map.pads) != site.map.pads:
            raise site.refuse(f"it is called with another padding before it, {layer.before}, elsewhere")
        padded = layer.padding_mode != "circular" and _pads(layer.padding, axes)
        return windowed(site, pair_of(layer.stride, axes), padded, layer, axes=axes)
    weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
    if site.values.get(weight):
        raise site.refuse("a convolution whose kernel is a map")
    axes = len(weight.meta["shape"]) - 2
    stride, padding = site.argument(3, "stride", 1), site.argument(4, "padding", 0)
    dilation, groups = site.argument(5, "dilation", 1), site.argument(6, "groups", 1)
    if axes != 2:
        options = stride, padding, dilation, groups, site.map.pads
        swap: Any = FunctionalConv(axes, *options)
        return windowed(site, pair_of(stride, axes), _pads(padding, axes), swap, (site.input, weight, bias), axes)
    stride, dilation = as_pair(stride, "stride"), as_pair(dilation, "dilation")
    padding = padding if isinstance(padding, str | tuple | list) else (padding, padding)
    swap = FunctionalConv2d(weight.meta["shape"][2:], stride, padding, dilation, groups, site.map.pads)
    return windowed(site, stride, bool(any(swap.pads)), swap, (site.input, weight, bias))


def conv_transpose(site: Site) -> Effect:
    """`nn.ConvTranspose1d`, `2d`, `3d` and their functions: the map is enlarged by the stride."""
    weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
    axes = len(site.module.kernel_size if site.module is not None else weight.meta["shape"][2:])  # type: ignore[arg-type]
    site.image_axes(axes)
    if site.module is not None:
        new: Any = _TRANSPOSED[axes].__new__(_TRANSPOSED[axes])
        new.__dict__ = site.module.__dict__
        stride = pair_of(new.stride, axes)
        inputs: tuple = (site.input,)
    else:
        if site.values.get(weight):
            raise site.refuse("a convolution whose kernel is a map")
        stride, padding = pair_of(site.argument(3, "stride", 1), axes), pair_of(site.argument(4, "padding", 0), axes, 0)
        dilation = pair_of(site.argument(7, "dilation", 1), axes)
        if axes == 3:
            raise site.refuse("a transposed convolution of videos whose weights are computed")
        new = FunctionalConvTranspose(stride, padding, site.argument(6, "groups", 1), dilation)
        inputs = (site.input, weight, bias)
    change = "wraps, moved back" if stride != (1, 1) else "wraps"
    return Effect(
        site.map, up=stride, swap=new, inputs=inputs, change=change, breaks="loses its overhang at the border"
    )


def _pads(padding: Any, axes: int) -> bool:
    return padding != "valid" if isinstance(padding, str) else any(pair_of(padding, axes, 0))


def _pool(kind: str, names: tuple[str, ...]) -> Callable[[Site], Effect]:
    """Max or average pooling along one, two or three axes, as modules or functions."""

    def rule(site: Site) -> Effect:
        axes = int(site.kind.removesuffix("_with_indices")[-2])
        given = {name: site.argument(i + 1, name) for i, name in enumerate(names)}
        given = {name: value for name, value in given.items() if value is not None}
        if _spans_the_map(site, given["kernel_size"], axes) and not _pads(given.get("padding", 0), axes):
            return adaptive_avg_pool(site, 1) if kind == "avg" else adaptive_max_pool(site, 1)
        if kind == "max" and (site.argument(6, "return_indices", False) or site.kind.endswith("with_indices")):
            if axes != 2:
                reason = f"{site.kind} returns indices, which are followed for images alone"
                raise Outright(site.node.name, reason, "return the pooled map alone")
            return max_pool_with_indices(site, nn.MaxPool2d(**{k: given[k] for k in names[:4] if k in given}))
        pool = _circular_pool(kind, axes, given)
        pool.before = site.map.pads
        return windowed(site, pair_of(pool.stride, axes), _pads(pool.padding, axes), pool, axes=axes)

    return rule


def _spans_the_map(site: Site, kernel: Any, axes: int) -> bool:
    """Whether a window is as large as its map because it was given the map's size: global pooling."""
    if site.module is not None or not isinstance(site.map, Grid):
        return False
    nodes: list[fx.Node] = []
    fx.node.map_arg((site.node.args[1:], site.node.kwargs.get("kernel_size")), nodes.append)
    size = (kernel,) * axes if isinstance(kernel, int) else tuple(kernel)
    return bool(nodes) and size == site.shape[-axes:]


def _circular_pool(kind: str, axes: int, given: dict[str, Any]) -> Any:
    if axes == 3:
        return _POOLS[kind, 3](**given)
    given = {name: value for name, value in given.items() if name not in ("ceil_mode", "count_include_pad")}
    if axes == 1:  # of a map of one row
        given = {name: pair_of(value, 1, 0 if name == "padding" else 1) for name, value in given.items()}
    return _POOLS[kind, axes](**given)


_POOLS: dict[tuple[str, int], Any] = {
    ("max", 1): CircularMaxPool1d, ("max", 2): layers.CircularMaxPool2d, ("max", 3): CircularMaxPool3d,
    ("avg", 1): CircularAvgPool1d, ("avg", 2): layers.CircularAvgPool2d, ("avg", 3): CircularAvgPool3d,
}  # fmt: skip
_TRANSPOSED: dict[int, Any] = {1: CircularConvTranspose1d, 2: CircularConvTranspose2d, 3: CircularConvTranspose3d}
_CONVOLUTIONS: dict[int, Any] = {1: CircularConv1d, 2: layers.CircularConv2d, 3: CircularConv3d}

max_pool = _pool("max", ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))
avg_pool = _pool("avg", ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"))


class UnequalWindows(NotEquivariantError):
    """Adaptive pooling whose windows differ in size; `multiple`: what the input's height and width must be multiples of."""

    multiple: Pair = (1, 1)

    def needing(self, multiple: Pair) -> UnequalWindows:
        self.multiple = multiple
        return self


def _adaptive_pool(average: bool) -> Callable[..., Effect]:
    """Adaptive pooling: global, or of windows of equal size."""

    def rule(site: Site, size: Any = None) -> Effect:
        axes = int(site.kind[-2])
        site.image_axes(axes)
        if site.map.pads != (0, 0):
            raise site.refuse("adaptive pooling of a padded map")
        size = site.argument(1, "output_size") if size is None else size
        target = tuple(size) if isinstance(size, tuple | list) else (size,) * axes
        rows, columns = pair_of(target, axes)
        out = site.sizes[0] if rows is None else rows, site.sizes[1] if columns is None else columns
        swap: nn.Module | None = AdaptivePool3d(target[0], out, average) if axes == 3 else None
        if out == (1, 1):
            largest = getattr(nn, f"AdaptiveMaxPool{axes}d")(1) if site.module is None else None
            exact = swap or (reduce.ExactMean(site.map.dims) if average else largest)
            return Effect(None, swap=exact, inputs=(site.input,), change="exact mean" if average else "")
        if site.sizes[0] % out[0] or site.sizes[1] % out[1]:
            reason = f"adaptive pooling of {site.sizes} to {out} has windows of unequal size"
            raise UnequalWindows(site.node.name, reason).needing(times(stride(site.map.lattice), out))
        period = site.sizes[0] // out[0], site.sizes[1] // out[1]
        cells = layers.CellPool2d(out, average)
        effect = windowed(site, period, False, swap or (OnMaps(cells, (2,)) if axes == 1 else cells), axes=axes)
        effect.cells = out
        return effect

    return rule


adaptive_avg_pool, adaptive_max_pool = _adaptive_pool(True), _adaptive_pool(False)


def interpolate(site: Site) -> Effect:
    """`nn.Upsample` and `F.interpolate` by integer factors (along time, by any)."""
    site.image_axes(None)
    dims, now, then = site.map.dims, site.shape, site.node.meta["shape"]
    before, after, frames = sizes_along(now, dims), sizes_along(then, dims), then[2] / now[2]
    given = str(site.argument(3, "mode", "nearest"))
    mode = {"linear": "bilinear", "trilinear": "bilinear"}.get(given, given)
    if mode not in MODES:
        raise site.refuse(f"interpolation by '{mode}'", f"use one of {', '.join(MODES)}")
    corners = bool(site.argument(4, "align_corners"))

    def on_axes(swap: nn.Module) -> nn.Module:
        if len(now) == 5:
            return InTime(swap, frames, given, corners)
        return swap if dims == (2, 3) else OnMaps(swap, dims)

    if after != before and not (before[0] % after[0] or before[1] % after[1]) and not site.argument(5, "antialias"):
        period = before[0] // after[0], before[1] // after[1]
        effect = windowed(site, period, False, on_axes(CircularDownsample(period, mode)), axes=None)
        effect.change += ", half-pixel centres" if mode != "nearest" else ""
        return effect
    if after[0] % before[0] or after[1] % before[1]:
        raise site.refuse(f"interpolation from {before} to {after} is not by an integer factor")
    factor = after[0] // before[0], after[1] // before[1]
    size = size_of(site)
    inputs = (site.input, size)
    swap = on_axes(CircularUpsample(factor, mode))
    if factor == (1, 1):
        return Effect(site.map, swap=swap, inputs=inputs) if len(now) == 5 and frames != 1 else Effect(site.map)
    change = "moved back" if mode == "nearest" else "wraps, half-pixel centres, moved back"
    if corners:
        change += ", corners no longer aligned"
    return Effect(site.map, up=factor, swap=swap, inputs=inputs, change=change, resizes=size is not None,
                  breaks="" if mode == "nearest" else "repeats the border")  # fmt: skip
