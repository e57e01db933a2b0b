"""Rules of convolutions: their period is the stride, their borders wrap."""

from __future__ import annotations

from typing import Any

from mass.axes import pair_of
from mass.errors import as_pair
from mass.fx.rule import Effect, Site, recast
from mass.fx.rules.window import is_padded, windowed
from mass.nn.conv import CircularConv1d, CircularConv2d, CircularConv3d, FunctionalConv, FunctionalConv2d
from mass.nn.conv_transpose import (
    CircularConvTranspose1d,
    CircularConvTranspose2d,
    CircularConvTranspose3d,
    FunctionalConvTranspose,
)


def conv(site: Site) -> Effect:
    """`nn.Conv1d`, `nn.Conv2d`, `nn.Conv3d` and their functions."""
    if site.module is not None:
        axes = len(site.module.kernel_size)  # type: ignore[arg-type]
        layer: Any = recast(site.module, _CONVOLUTIONS[axes])
        if vars(layer).setdefault("before", site.map.pads) != site.map.pads:
            raise site.refuse(f"it is called with another padding before it, {layer.before}, elsewhere")
        padded = layer.padding_mode != "circular" and is_padded(layer.padding, axes)
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
        return windowed(site, pair_of(stride, axes), is_padded(padding, axes), swap, (site.input, weight, bias), axes)
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


_TRANSPOSED: dict[int, Any] = {1: CircularConvTranspose1d, 2: CircularConvTranspose2d, 3: CircularConvTranspose3d}
_CONVOLUTIONS: dict[int, Any] = {1: CircularConv1d, 2: CircularConv2d, 3: CircularConv3d}
