"""Rules of operations that move, melt, cut or read the axes of a map."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from mass.fx.lattice import Grid
from mass.fx.nodes import concrete
from mass.fx.rule import FRAME, FROM_FEATURES, Effect, Site, across_images, rule
from mass.fx.rules.whole_map import CHANGE


@rule(modules=[nn.Unflatten], functions=["view", "reshape", "unflatten"], reshapes=True)
@rule(modules=[nn.Flatten], functions=["flatten", "squeeze", "unsqueeze"])
def reshape(site: Site) -> Effect:
    """Reshapes keep the lattice where rows and columns stay axes of their own; where they melt, the period is the map."""
    before, after = site.shape, site.node.meta["shape"]
    places = {math.prod(after[:axis]): axis for axis in reversed(range(len(after)))}
    found = []
    for d in (site.map.batch, *site.map.dims):
        axis = places.get(math.prod(before[:d]), len(after))
        while axis < len(after) and after[axis] == 1 != before[d]:  # axes of size 1 start at the same place
            axis += 1
        found += [axis] if axis < len(after) and after[axis] == before[d] else []
    if len(set(found)) == 1 + len(site.map.dims):  # a row and a column of one position may have become one axis
        return Effect(Grid(site.map.lattice, tuple(found[1:]), batch=found[0], fine=site.map.fine))
    if site.map.batch:
        raise site.refuse(f"flattening {before} to {after}, whose first axis is not that of images")
    return Effect(None, site.sizes, cells=(1, 1), change=CHANGE, breaks="weights differ by position")


@rule(functions=["permute"], arguments=("input", "dims"))
def permute(site: Site) -> Effect:
    unpacked = len(site.node.args) > 2  # x.permute(0, 2, 3, 1)
    dims = concrete(site.node.args[1:]) if unpacked else site.argument("dims")
    order = [d % len(site.shape) for d in ((dims,) if isinstance(dims, int) else dims)]
    return Effect(site.map.moved(order.index))


@rule(functions=["transpose", "swapaxes"], arguments=("input", "dim0", "dim1"))
def transpose(site: Site) -> Effect:
    a, b = (site.argument(name) % len(site.shape) for name in ("dim0", "dim1"))
    return Effect(site.map.moved(lambda d: {a: b, b: a}.get(d, d)))


@rule(functions=["movedim", "moveaxis"], arguments=("input", "source", "destination"))
def movedim(site: Site) -> Effect:
    rank = len(site.shape)
    source, destination = (
        [d % rank for d in ((given,) if isinstance(given, int) else given)]
        for given in (site.argument("source"), site.argument("destination"))
    )
    order = [d for d in range(rank) if d not in source]
    for to, d in sorted(zip(destination, source, strict=True)):
        order.insert(to, d)
    return Effect(site.map.moved(order.index))


@rule(functions=["roll"], arguments=("input", "shifts", "dims"))
def roll(site: Site) -> Effect:
    """A roll along positions commutes with all shifts, one along channels anyway; one of all axes as one does not."""
    if site.argument("dims") in (None, ()):
        raise site.refuse("rolling a map as one long vector")
    dims = site.argument("dims")
    if site.map.batch in {d % len(site.shape) for d in ((dims,) if isinstance(dims, int) else dims)}:
        raise across_images(site)
    return Effect(site.map)


@rule(functions=["getitem"], takes_tuples=True)
def getitem(site: Site) -> Effect:
    """One of several maps; or every s-th row and column, with the period s."""
    value = site.values.get(site.input)
    index: Any = concrete(site.node.args[1])
    if isinstance(value, tuple):
        return Effect(value[index])
    if value is None:
        return Effect(None)
    index = tuple(index) if isinstance(index, tuple | list) else (index,)
    read = [i for i in index if i is not None]
    if Ellipsis in index:
        at, missing = index.index(Ellipsis), len(site.shape) - len(read) + 1
        index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
        read = [i for i in index if i is not None]
    if any(not isinstance(i, int | slice) for i in read):
        raise site.refuse(f"indexing a map by {index}", "index it with plain slices")
    period = [1, 1]
    place = {d: which for which, d in value.axes.items()}
    for axis, i in enumerate(read):
        if axis in place and i != slice(None):
            step = getattr(i, "step", None) or 1  # of a step s all s first positions do, each its own phase
            if not isinstance(i, slice) or i.stop is not None or not 0 <= (i.start or 0) < step:
                raise site.refuse("cropping a map keeps some positions and loses others", "crop before the network")
            period[place[axis]] = step
        elif axis == value.batch and i != slice(None):
            raise site.refuse(
                "picking images out of the batch", "pick them before the network, or from what it returns"
            )
    kept = site.map.moved(_kept(index, len(site.shape)).__getitem__)
    if period != [1, 1]:
        return Effect(kept, (period[0], period[1]), change=FROM_FEATURES, breaks=FRAME)
    return Effect(kept)


def _kept(index: tuple[Any, ...], rank: int) -> dict[int, int]:
    """Where each axis that an index of slices, numbers and None leaves is in what it gives."""
    found, axis, made = dict[int, int](), 0, 0
    for i in index:
        if isinstance(i, slice):
            found[axis] = made
        axis += i is not None
        made += not isinstance(i, int)
    return found | {d: d - axis + made for d in range(axis, rank)}


def _constant(site: Site) -> Effect:
    return Effect(None, uniform=True)


@rule(functions=["expand"], of_constant=_constant)
@rule(functions=["expand_as"])
def expand(site: Site) -> Effect:
    """`y.expand_as(x)`: what is the same at all positions stays so; a map only grows channels or images."""
    if site.values.get(site.input) is None:
        return Effect(None, uniform=True)
    raise site.refuse("expanding a map", "multiply by ones instead")


@rule(functions=["size", "getattr", "dim", "numel", "_assert", "is_floating_point"])
def no_tensor(site: Site) -> Effect:
    """Sizes and checks; an attribute that is a tensor (`x.T`, `x.real`) has no rule."""
    if all(isinstance(size, int) for size in site.node.meta["shape"] or (None,)):
        raise site.refuse(
            f"the attribute '{site.node.args[1]}' of a map" if len(site.node.args) > 1 else "this view of a map"
        )
    return Effect(None)
