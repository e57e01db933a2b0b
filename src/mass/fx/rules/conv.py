"""Rules of convolutions: their period is the stride, their borders wrap; transposed, they enlarge by it."""

from __future__ import annotations

from typing import Any

from torch import nn

from mass.axes import pair_of
from mass.errors import as_pair
from mass.fx.rule import Effect, Recast, Site, rule
from mass.fx.rules.window import is_padded, windowed
from mass.nn.conv import CircularConv1d, CircularConv2d, CircularConv3d, FunctionalConv, FunctionalConv2d
from mass.nn.conv_transpose import (
    CircularConvTranspose1d,
    CircularConvTranspose2d,
    CircularConvTranspose3d,
    FunctionalConvTranspose,
)

_CONV: dict[str, Any] = {
    "arguments": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "weights": ("weight", "bias"),
    "takes_padding": True,
    "takes_origin": True,
}
_TRANSPOSED: dict[str, Any] = {
    "arguments": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "weights": ("weight", "bias"),
}


@rule(modules=[nn.Conv1d], functions=["conv1d"], axes=1, becomes=CircularConv1d, **_CONV)
@rule(modules=[nn.Conv2d], functions=["conv2d"], axes=2, becomes=CircularConv2d, **_CONV)
@rule(modules=[nn.Conv3d], functions=["conv3d"], axes=3, becomes=CircularConv3d, **_CONV)
def conv(site: Site) -> Effect:
    stride, padding = site.argument("stride", 1), site.argument("padding", 0)
    if site.module is not None:
        padded = site.argument("padding_mode") != "circular" and is_padded(padding, site.axes)
        circular = Recast(site.becomes, (("before", site.map.pads),))
        return windowed(site, pair_of(stride, site.axes), padded, circular)
    weight, bias = _weights(site)
    dilation, groups = site.argument("dilation", 1), site.argument("groups", 1)
    inputs = site.input, weight, bias
    if site.axes != 2:
        swap: Any = FunctionalConv(stride, padding, dilation, groups, site.map.pads)
        return windowed(site, pair_of(stride, site.axes), is_padded(padding, site.axes), swap, inputs)
    stride, dilation = as_pair(stride, "stride"), as_pair(dilation, "dilation")
    padding = padding if isinstance(padding, str | tuple | list) else (padding, padding)
    swap = FunctionalConv2d(weight.meta["shape"][2:], stride, padding, dilation, groups, site.map.pads)
    return windowed(site, stride, bool(any(swap.pads)), swap, inputs)


def _weights(site: Site) -> tuple[Any, Any]:
    """The nodes of a functional call's weight and bias."""
    weight, bias = site.argument("weight"), site.argument("bias")
    if site.values.get(weight):
        raise site.refuse("a convolution whose kernel is a map")
    return weight, bias


@rule(
    modules=[nn.ConvTranspose1d], functions=["conv_transpose1d"], axes=1, becomes=CircularConvTranspose1d, **_TRANSPOSED
)
@rule(
    modules=[nn.ConvTranspose2d], functions=["conv_transpose2d"], axes=2, becomes=CircularConvTranspose2d, **_TRANSPOSED
)
@rule(
    modules=[nn.ConvTranspose3d], functions=["conv_transpose3d"], axes=3, becomes=CircularConvTranspose3d, **_TRANSPOSED
)
def conv_transpose(site: Site) -> Effect:
    site.image_axes(site.axes)
    stride = pair_of(site.argument("stride", 1), site.axes)
    if site.module is not None:
        swap: Any = Recast(site.becomes)
        inputs: tuple = (site.input,)
    else:
        weight, bias = _weights(site)
        padding = pair_of(site.argument("padding", 0), site.axes, 0)
        dilation = pair_of(site.argument("dilation", 1), site.axes)
        if site.axes == 3:
            raise site.refuse("a transposed convolution of videos whose weights are computed")
        swap = FunctionalConvTranspose(stride, padding, site.argument("groups", 1), dilation)
        inputs = (site.input, weight, bias)
    change = "wraps, moved back" if stride != (1, 1) else "wraps"
    breaks = "loses its overhang at the border"
    return Effect(site.map, up=stride, swap=swap, inputs=inputs, change=change, breaks=breaks)
