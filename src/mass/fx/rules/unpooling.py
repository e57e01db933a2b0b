"""Rules of max pooling that returns indices, and of its way back."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from mass.errors import as_pair
from mass.fx.nodes import place_of
from mass.fx.rule import FRAME, Effect, Outright, Site, rule
from mass.nn.unpooling import PoolIndices, Unpool

_POOL = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")


@rule(functions=["max_pool1d_with_indices"], axes=1, arguments=_POOL, takes_padding=True)
@rule(functions=["max_pool2d_with_indices"], axes=2, arguments=_POOL, takes_padding=True)
@rule(functions=["max_pool3d_with_indices"], axes=3, arguments=_POOL, takes_padding=True)
def max_pool_with_indices(site: Site) -> Effect:
    """A tuple of maps, the second for an unpooling alone."""
    if site.axes != 2:
        reason = f"{site.kind} returns indices, which are followed for images alone"
        raise Outright(place_of(site.node), reason, "return the pooled map alone")
    given = {name: site.argument(name) for name in ("kernel_size", "stride", "padding", "dilation")}
    pool = nn.MaxPool2d(**{name: value for name, value in given.items() if value is not None})
    site.image_axes()
    window = PoolIndices(pool, site.map.pads)
    value = replace(site.map, pads=(0, 0)), replace(site.map, pads=(0, 0), window=window)
    change = "origin from the features, indices inside the window"
    return Effect(value, window.stride, window, (site.input,), change=change, breaks=FRAME)


@rule(
    modules=[nn.MaxUnpool2d],
    functions=["max_unpool2d"],
    arguments=("input", "indices", "kernel_size", "stride", "padding", "output_size"),
    reads_indices=True,
)
def max_unpool(site: Site) -> Effect:
    """By the windows of the pooling that gave the indices."""
    site.image_axes()
    index = site.given("indices")
    window = getattr(site.values.get(index), "window", None)
    if not isinstance(window, PoolIndices):
        raise site.refuse("max unpooling by indices that no max pooling gave")
    kernel = as_pair(site.argument("kernel_size"), "kernel_size")
    stride = as_pair(site.argument("stride") or kernel, "stride")
    if (kernel, stride) != (window.kernel, window.stride):
        reason = (
            f"max unpooling of windows {kernel}, stride {stride}, that were pooled as {window.kernel}, {window.stride}"
        )
        raise site.refuse(reason, "use the arguments of the pooling")
    breaks = "puts values at fixed indices"
    return Effect(
        site.map, up=stride, swap=Unpool(window), inputs=(site.input, index), change="moved back", breaks=breaks
    )
