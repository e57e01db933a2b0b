"""Rules of max pooling that returns indices, and of its way back."""

from __future__ import annotations

from typing import Any

from torch import nn

from mass.errors import as_pair
from mass.fx.lattice import Grid
from mass.fx.rule import Effect, Site
from mass.nn.unpooling import PoolIndices, Unpool


def max_pool_with_indices(site: Site, pool: nn.MaxPool2d) -> Effect:
    """The rule of max pooling that returns indices: a tuple of maps, the second for an unpooling alone."""
    site.image_axes()
    window = PoolIndices(pool, site.map.pads)
    value = Grid(site.map.lattice, site.map.dims), Grid(site.map.lattice, site.map.dims, window=window)
    change = "origin from the features, indices inside the window"
    return Effect(value, window.stride, window, (site.input,), change, "samples the frame's grid", folds=True)


def max_unpool(site: Site) -> Effect:
    """`nn.MaxUnpool2d`, `F.max_unpool2d`: by the windows of the pooling that gave the indices."""
    site.image_axes()
    index: Any = site.node.args[1] if len(site.node.args) > 1 else site.node.kwargs["indices"]
    window = getattr(site.values.get(index), "window", None)
    if not isinstance(window, PoolIndices):
        raise site.refuse("max unpooling by indices that no max pooling gave")
    kernel = as_pair(site.argument(2, "kernel_size"), "kernel_size")
    stride = as_pair(site.argument(3, "stride") or kernel, "stride")
    if (kernel, stride) != (window.kernel, window.stride):
        reason = (
            f"max unpooling of windows {kernel}, stride {stride}, that were pooled as {window.kernel}, {window.stride}"
        )
        raise site.refuse(reason, "use the arguments of the pooling")
    return Effect(site.map, up=stride, swap=Unpool(window), inputs=(site.input, index), change="moved back",
                  breaks="puts values at the frame's indices")  # fmt: skip
