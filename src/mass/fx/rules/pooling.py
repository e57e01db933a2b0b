"""Rules of pooling: the period is the stride, or, adaptive, the size of a cell; global pooling reduces exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from mass.axes import pair_of, times
from mass.fx.lattice import Grid, stride
from mass.fx.nodes import nodes_in, place_of
from mass.fx.rule import Effect, Recast, Site, UnequalWindows, rule
from mass.fx.rules.unpooling import max_pool_with_indices
from mass.fx.rules.window import is_padded, windowed
from mass.nn.blurpool import BlurPool
from mass.nn.exact import ExactMean
from mass.nn.pooling import (
    AdaptivePool3d,
    CellPool2d,
    CircularAvgPool1d,
    CircularAvgPool2d,
    CircularAvgPool3d,
    CircularMaxPool1d,
    CircularMaxPool2d,
    CircularMaxPool3d,
    CutToMap,
    OverTheMap,
)
from mass.nn.resize import OnMaps

_WINDOW = {"takes_padding": True, "takes_origin": True}
_MAX: dict[str, Any] = {
    "arguments": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    **_WINDOW,
}
_AVG: dict[str, Any] = {
    "arguments": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    **_WINDOW,
}
_ADAPTIVE = ("input", "output_size")


@rule(modules=[nn.MaxPool1d], functions=["max_pool1d"], axes=1, becomes=CircularMaxPool1d, **_MAX)
@rule(modules=[nn.MaxPool2d], functions=["max_pool2d"], axes=2, becomes=CircularMaxPool2d, **_MAX)
@rule(modules=[nn.MaxPool3d], functions=["max_pool3d"], axes=3, becomes=CircularMaxPool3d, **_MAX)
def max_pool(site: Site) -> Effect:
    if site.argument("return_indices", False):
        return max_pool_with_indices(site)
    return _whole(site, average=False) if _spans_the_map(site) else _pool(site)


@rule(modules=[nn.AvgPool1d], functions=["avg_pool1d"], axes=1, becomes=CircularAvgPool1d, **_AVG)
@rule(modules=[nn.AvgPool2d], functions=["avg_pool2d"], axes=2, becomes=CircularAvgPool2d, **_AVG)
@rule(modules=[nn.AvgPool3d], functions=["avg_pool3d"], axes=3, becomes=CircularAvgPool3d, **_AVG)
def avg_pool(site: Site) -> Effect:
    return _whole(site, average=True) if _spans_the_map(site) else _pool(site)


def _whole(site: Site, average: bool) -> Effect:
    """Global pooling, for maps that the window covers alone."""
    effect = _adaptive(site, 1, average)
    inner = effect.swap if isinstance(effect.swap, nn.Module) else _GLOBAL_MAX[site.axes](1)
    if not _is_cut_to_the_map(site):
        inputs = site.input, site.given("kernel_size")
        return replace(effect, swap=OverTheMap(site.axes, inner), inputs=inputs)
    window = tuple(pair_of(site.argument("kernel_size"), site.axes)[-site.axes :])
    return replace(effect, swap=CutToMap(window, inner), inputs=(site.input,))


def _spans_the_map(site: Site) -> bool:
    """Whether a window is as large as its map because it was given the map's size, or cut to it: global pooling."""
    if _is_cut_to_the_map(site):
        return True
    if site.module is not None or not isinstance(site.map, Grid) or is_padded(site.argument("padding", 0), site.axes):
        return False
    kernel = site.argument("kernel_size")
    size = (kernel,) * site.axes if isinstance(kernel, int) else tuple(kernel)
    return bool(nodes_in((site.node.args[1:], site.given("kernel_size")))) and size == site.shape[-site.axes :]


def _is_cut_to_the_map(site: Site) -> bool:
    """Whether a window is larger than the whole image, so that `ceil_mode` cuts it to the map (transformers' EfficientNet)."""
    if not (site.argument("ceil_mode", False) and isinstance(site.map, Grid)) or site.argument("divisor_override"):
        return False
    kernel = pair_of(site.argument("kernel_size"), site.axes)
    padded = is_padded(site.argument("padding", 0), site.axes)
    return site.axes < 3 and not padded and all(k >= n for k, n in zip(kernel, site.image, strict=True))


def _pool(site: Site) -> Effect:
    assert site.operation is not None
    given = {name: site.argument(name) for name in site.operation.arguments[1:] if name != "return_indices"}
    given = {name: value for name, value in given.items() if value is not None}
    if site.axes != 3:  # every size that the stride divides gives H / stride outputs
        given = {name: value for name, value in given.items() if name not in ("ceil_mode", "count_include_pad")}
    if site.axes == 1:  # of a map of one row
        given = {name: pair_of(value, 1, 0 if name == "padding" else 1) for name, value in given.items()}
    pool = site.becomes(**given)
    pool.before = site.map.pads
    return windowed(site, pair_of(pool.stride, site.axes), is_padded(pool.padding, site.axes), pool)


@rule(modules=[BlurPool], axes=2, becomes=BlurPool, takes_origin=True)
def blur_pool(site: Site) -> Effect:
    blur: Any = site.module
    circular = Recast(site.becomes, (("padding_mode", "circular"),))
    return windowed(site, blur.stride, blur.padding_mode != "circular", circular)


@rule(modules=[nn.AdaptiveAvgPool1d], functions=["adaptive_avg_pool1d"], axes=1, arguments=_ADAPTIVE)
@rule(modules=[nn.AdaptiveAvgPool2d], functions=["adaptive_avg_pool2d"], axes=2, arguments=_ADAPTIVE)
@rule(modules=[nn.AdaptiveAvgPool3d], functions=["adaptive_avg_pool3d"], axes=3, arguments=_ADAPTIVE)
def adaptive_avg_pool(site: Site) -> Effect:
    return _adaptive(site, site.argument("output_size"), average=True)


@rule(modules=[nn.AdaptiveMaxPool1d], functions=["adaptive_max_pool1d"], axes=1, arguments=_ADAPTIVE)
@rule(modules=[nn.AdaptiveMaxPool2d], functions=["adaptive_max_pool2d"], axes=2, arguments=_ADAPTIVE)
@rule(modules=[nn.AdaptiveMaxPool3d], functions=["adaptive_max_pool3d"], axes=3, arguments=_ADAPTIVE)
def adaptive_max_pool(site: Site) -> Effect:
    return _adaptive(site, site.argument("output_size"), average=False)


_GLOBAL_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}


def _adaptive(site: Site, size: Any, average: bool) -> Effect:
    """Adaptive pooling: global, or of windows of equal size."""
    axes = site.axes
    site.image_axes(axes)
    if site.map.pads != (0, 0):
        raise site.refuse("adaptive pooling of a padded map")
    target = tuple(size) if isinstance(size, tuple | list) else (size,) * axes
    rows, columns = pair_of(target, axes)
    out = site.sizes[0] if rows is None else rows, site.sizes[1] if columns is None else columns
    swap: nn.Module | None = AdaptivePool3d(target[0], out, average) if axes == 3 else None
    if out == (1, 1):
        largest = _GLOBAL_MAX[axes](1) if site.module is None else None
        exact = swap or (ExactMean(site.map.dims) if average else largest)
        return Effect(None, swap=exact, inputs=(site.input,), change="exact mean" if average else "")
    if site.sizes[0] % out[0] or site.sizes[1] % out[1]:
        reason = f"adaptive pooling of {site.sizes} to {out} has windows of unequal size"
        raise UnequalWindows(place_of(site.node), reason).needing(times(stride(site.map.lattice), out))
    period = site.sizes[0] // out[0], site.sizes[1] // out[1]
    cells = CellPool2d(out, average)
    effect = windowed(site, period, False, swap or (OnMaps(cells, (2,)) if axes == 1 else cells))
    effect.cells, effect.takes_origin = out, False
    return effect
