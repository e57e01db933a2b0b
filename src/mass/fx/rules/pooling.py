"""Rules of pooling: the period is the stride, or, adaptive, the size of a cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn

from mass.axes import pair_of, times
from mass.fx.lattice import Grid, stride
from mass.fx.rule import Effect, Outright, Site, UnequalWindows
from mass.fx.rules.unpooling import max_pool_with_indices
from mass.fx.rules.window import is_padded, windowed
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
)
from mass.nn.resize import OnMaps


def _pool(kind: str, names: tuple[str, ...]) -> Callable[[Site], Effect]:
    """Max or average pooling along one, two or three axes, as modules or functions."""

    def rule(site: Site) -> Effect:
        axes = int(site.kind.removesuffix("_with_indices")[-2])
        given = {name: site.argument(i + 1, name) for i, name in enumerate(names)}
        given = {name: value for name, value in given.items() if value is not None}
        if _spans_the_map(site, given["kernel_size"], axes) and not is_padded(given.get("padding", 0), axes):
            return adaptive_avg_pool(site, 1) if kind == "avg" else adaptive_max_pool(site, 1)
        if kind == "max" and (site.argument(6, "return_indices", False) or site.kind.endswith("with_indices")):
            if axes != 2:
                reason = f"{site.kind} returns indices, which are followed for images alone"
                raise Outright(site.node.name, reason, "return the pooled map alone")
            return max_pool_with_indices(site, nn.MaxPool2d(**{k: given[k] for k in names[:4] if k in given}))
        pool = _circular_pool(kind, axes, given)
        pool.before = site.map.pads
        return windowed(site, pair_of(pool.stride, axes), is_padded(pool.padding, axes), pool, axes=axes)

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
    ("max", 1): CircularMaxPool1d, ("max", 2): CircularMaxPool2d, ("max", 3): CircularMaxPool3d,
    ("avg", 1): CircularAvgPool1d, ("avg", 2): CircularAvgPool2d, ("avg", 3): CircularAvgPool3d,
}  # fmt: skip

max_pool = _pool("max", ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))
avg_pool = _pool("avg", ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"))


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
            exact = swap or (ExactMean(site.map.dims) if average else largest)
            return Effect(None, swap=exact, inputs=(site.input,), change="exact mean" if average else "")
        if site.sizes[0] % out[0] or site.sizes[1] % out[1]:
            reason = f"adaptive pooling of {site.sizes} to {out} has windows of unequal size"
            raise UnequalWindows(site.node.name, reason).needing(times(stride(site.map.lattice), out))
        period = site.sizes[0] // out[0], site.sizes[1] // out[1]
        cells = CellPool2d(out, average)
        effect = windowed(site, period, False, swap or (OnMaps(cells, (2,)) if axes == 1 else cells), axes=axes)
        effect.cells = out
        return effect

    return rule


adaptive_avg_pool, adaptive_max_pool = _adaptive_pool(True), _adaptive_pool(False)
