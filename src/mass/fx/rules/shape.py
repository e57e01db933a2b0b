"""Rules of operations that move, mix, cut or join axes."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import nn

from mass.fx.lattice import Grid
from mass.fx.rule import Effect, Site, concrete, name_of
from mass.fx.rules.window import FRAME
from mass.nn.pointwise import ChannelsLast, GatedLinear


def drop_axes(site: Site, axes: tuple[int, ...]) -> Grid:
    return site.map.moved(lambda d: d - sum(a < d for a in axes))


def as_shape(size: Any) -> tuple:
    return (size,) if isinstance(size, int) else tuple(size)


def _reshape(site: Site) -> Effect:
    """Reshapes keep the lattice where rows and columns stay axes of their own; where they melt, the period is the map."""
    before, after = site.shape, site.node.meta["shape"]
    places = {math.prod(after[:axis]): axis for axis in reversed(range(len(after)))}
    found = []
    for d in (site.map.batch, *site.map.dims):
        axis = places.get(math.prod(before[:d]), len(after))
        while axis < len(after) and after[axis] == 1 != before[d]:  # axes of size 1 start at the same place
            axis += 1
        found += [axis] if axis < len(after) and after[axis] == before[d] else []
    if len(found) == 1 + len(site.map.dims):
        return Effect(Grid(site.map.lattice, tuple(found[1:]), batch=found[0]))
    if site.map.batch:
        raise site.refuse(f"flattening {before} to {after}, whose first axis is not that of images")
    change, breaks = "the whole map starts at its origin", "weights differ by position"
    return Effect(None, site.sizes, cells=(1, 1), change=change, breaks=breaks)


def _roll(site: Site) -> Effect:
    """A roll along positions commutes with all shifts, one along channels anyway; one of all axes as one does not."""
    if site.argument(2, "dims") in (None, ()):
        raise site.refuse("rolling a map as one long vector")
    return Effect(site.map)


def _merge_patches(site: Site) -> Effect:
    """Torchvision's Swin: 2 x 2 pixels of a map (B, H, W, C) become one of 4 C channels."""
    return Effect(site.map, (2, 2), change="origin from the features", breaks=FRAME)


def _permute(site: Site) -> Effect:
    rank = len(site.shape)
    if name_of(site.node) == "permute":
        unpacked = site.module is None and len(site.node.args) > 2  # x.permute(0, 2, 3, 1)
        dims = concrete(site.node.args[1:]) if unpacked else site.argument(1, "dims")
        order = [d % rank for d in as_shape(dims)]
    else:
        a, b = (d % rank for d in (site.argument(1, "dim0"), site.argument(2, "dim1")))
        order = list(range(rank))
        order[a], order[b] = order[b], order[a]
    return Effect(site.map.moved(order.index))


def _stack(site: Site) -> Effect:
    """A new axis, before or among the others."""
    first = site.node.args[0][0] if site.node.args else site.node.kwargs["tensors"][0]  # type: ignore[index]
    rank = len(first.meta["shape"])  # type: ignore[union-attr]
    dim = site.argument(1, "dim", 0) % (rank + 1)
    return Effect(site.map.moved(lambda d: d + (d >= dim)))


def _along_channels(site: Site) -> Effect:
    """cat, chunk, split, softmax: on an axis that is not a position."""
    first = site.input[0] if isinstance(site.input, tuple | list) else site.input
    rank = len(first.meta["shape"])
    name = name_of(site.node)
    default = {"softmax": None, "log_softmax": None, "glu": -1}.get(name, 0)
    dim = site.argument(2 if name in ("chunk", "split", "tensor_split") else 1, "dim", default)
    value = site.values.get(first)
    taken = (value.batch, *value.dims) if isinstance(value, Grid) else (0, 2, 3)
    if dim is None or dim % rank in taken:
        raise site.refuse(f"'{name}' along axis {dim}, which is no axis of channels")
    if name == "unbind":
        return Effect(tuple(drop_axes(site, (dim % rank,)) for _ in site.node.meta["shape"]))
    if name in ("chunk", "split", "tensor_split"):
        return Effect(tuple(site.map for _ in site.node.meta["shape"]))
    if name == "glu" or isinstance(site.module, nn.GLU):
        return Effect(site.map, swap=GatedLinear(dim), inputs=(site.input,))
    if "softmax" in name or site.module is not None:
        log = name == "log_softmax" or isinstance(site.module, nn.LogSoftmax)
        return Effect(site.map, swap=ChannelsLast(F.log_softmax if log else F.softmax, dim), inputs=(site.input,))
    return Effect(site.map)


def _getitem(site: Site) -> Effect:
    value = site.values.get(site.input)
    index: Any = concrete(site.node.args[1])
    if isinstance(value, tuple):
        return Effect(value[index])
    if value is None:
        return Effect(None)
    index = tuple(index) if isinstance(index, tuple | list) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (len(site.shape) - len(index) + 1), *index[at + 1 :])
    if any(not isinstance(i, int | slice) for i in index):
        raise site.refuse(f"indexing a map by {index}", "index it with plain slices")
    period, dropped = [1, 1], []
    place = {d: which for which, d in value.axes.items()}
    for axis, i in enumerate(index):
        if axis in place and i != slice(None):
            step = getattr(i, "step", None) or 1  # of a step s all s first positions do, each its own phase
            if not isinstance(i, slice) or i.stop is not None or not 0 <= (i.start or 0) < step:
                raise site.refuse("cropping a map keeps some positions and loses others", "crop before the network")
            period[place[axis]] = step
        elif axis == value.batch and i != slice(None):
            raise site.refuse("picking images out of the batch")
        elif isinstance(i, int):
            dropped.append(axis)
    if period != [1, 1]:
        kept = drop_axes(site, tuple(dropped))
        return Effect(kept, (period[0], period[1]), change="origin from the features", breaks=FRAME)
    return Effect(drop_axes(site, tuple(dropped)))


def _expand(site: Site) -> Effect:
    """`y.expand_as(x)`: what is the same at all positions stays so; a map only grows channels or images."""
    if site.values.get(site.input) is None:
        return Effect(None, uniform=True)
    raise site.refuse("expanding a map", "multiply by ones instead")


def _no_tensor(site: Site) -> Effect:
    """Sizes and checks; an attribute that is a tensor (`x.T`, `x.real`) has no rule."""
    if all(isinstance(size, int) for size in site.node.meta["shape"] or (None,)):
        raise site.refuse(
            f"the attribute '{site.node.args[1]}' of a map" if len(site.node.args) > 1 else "this view of a map"
        )
    return Effect(None)
