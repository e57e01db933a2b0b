"""Lattice inference: every operation's period, every tensor's lattice, and which operations must share an origin.

One walk over the traced graph gives each node the lattice of its inputs, adds a digit where an operation has a period,
and unifies what meets. The result is a `Plan`; `mass.convert` carries it out, `mass.explain` prints it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import fx

from mass.axes import POSITIONS, moving_dims, sizes_along, times
from mass.errors import NotEquivariantError, sizes_that_do
from mass.fx.lattice import Digit, Grid, rise, stride, unify
from mass.fx.network.converted import Converted
from mass.fx.nodes import is_in_place, place_of
from mass.fx.outputs import from_whole_map
from mass.fx.plan import Plan, total_stride
from mass.fx.rule import Effect, Operation, Recast, Site, UnequalWindows, operation_of
from mass.fx.rules.tokens import without_positions
from mass.fx.rules.whole_map import (
    follow_canonical_position,
    in_canonical_position,
    leave_canonical_position,
    whole_map,
)

_BACK = (
    "bring them back to the rows and columns they came from, or reduce over them; "
    "where a view makes blocks of pixels channels, call F.pixel_unshuffle"
)


def infer(graph: Converted, keep_sizes: bool = False) -> Plan:
    """Infer lattices over a graph traced by `mass.fx.tracing.trace.trace`. Refusals are collected, not raised.

    With `keep_sizes`, operations whose maps would have another size if their borders wrapped keep borders and size,
    and have the whole map as period: for layers behind them that count positions.
    """
    inputs = [n for n in graph.graph.nodes if n.op == "placeholder"]
    shape = inputs[0].meta["shape"]
    dims = POSITIONS[len(shape)]
    plan = Plan(graph, sizes_along(shape, dims), shape[0], dims, keep_sizes)
    for node in graph.graph.nodes:
        if node in inputs:
            shape, first = node.meta["shape"] or (), inputs[0].meta["shape"]
            moving = moving_dims(shape, first)
            plan.values[node] = Grid((), moving) if moving else None
            if len(shape) == len(first) and not moving:
                reason = f"a second image of {tuple(shape[d] for d in dims)}, where the first has {plan.image}"
                plan.refusals.append(
                    (node, NotEquivariantError(place_of(node), reason, "bring both to one size first"))
                )
            elif not moving and not node.meta["real"] and _is_reduced(shape, first):
                reason = f"it looks like labels of {shape[1:]} for images of {plan.image}, and would not move with them"
                remedy = "give labels of the images' size, or compute the loss outside of the network"
                plan.refusals.append((node, NotEquivariantError(place_of(node), reason, remedy)))
        elif node.op == "get_attr":
            plan.values[node] = None
        else:
            try:
                plan.values[node] = _visit(node, plan)
            except NotEquivariantError as refusal:
                plan.refusals.append((node, refusal))
                plan.values[node] = None
    if plan.indivisible:
        _refuse_size(plan)
    _name_sizes(plan)
    plan.from_whole_map = from_whole_map(plan)
    return plan


def _is_reduced(shape: tuple[int, ...], images: tuple[int, ...]) -> bool:
    """Whether something has a row of positions for every so many of the images', and a column."""
    sizes = images[2:]
    if len(shape) != len(images) - 1 or shape[0] != images[0] or 0 in shape or len(sizes) < 2 or max(shape[1:]) == 1:
        return False
    return len({size / n for size, n in zip(sizes, shape[1:], strict=True)}) == 1


def _visit(node: fx.Node, plan: Plan) -> Any:
    maps = [n for n in node.all_input_nodes if plan.values.get(n) is not None]
    if node.op == "output" or node.target == "mass_output":
        return _leave(node, maps, plan)
    site = Site(node, operation_of(node), plan.values, plan.image)
    if not maps:
        return _without_positions(site, plan)
    try:
        return _apply(site, maps, plan)
    except NotEquivariantError as refusal:
        found = whole_map(site, maps, plan, refusal)
        if found is None:
            raise
        return found.value


def _known(site: Site, plan: Plan) -> Operation:
    """What is known of an operation that meets a map; a refusal, naming it, where nothing is."""
    operation = site.operation
    if isinstance(site.map, tuple) and not (operation is not None and operation.takes_tuples):
        raise site.refuse("an operation on a tuple of maps", "take them out of the tuple first")
    if operation is None:
        remedy = _of_unknown_module(site, plan) if site.module is not None else ""
        raise site.refuse(f"{site.kind} is not known to commute with shifts", remedy)
    return operation


def _of_unknown_module(site: Site, plan: Plan) -> str:
    """The way out for a module that nothing is known of."""
    if is_in_place(site.node):
        return "set its inplace to False: it may write to a map that others read"
    grids = [value for n in site.node.all_input_nodes if isinstance(value := plan.values.get(n), Grid)]
    if len({stride(grid.lattice) for grid in grids}) > 1:  # no period is one of several levels
        return "let it return maps of the size of one that it reads, or of the image's"
    return "if it does, say so with mass.mark_leaf(its class, period=…)"


def _apply(site: Site, maps: list[fx.Node], plan: Plan) -> Any:
    """What the operation's rule makes of its maps."""
    node, operation = site.node, _known(site, plan)
    if all(isinstance(plan.values[n], Grid) for n in maps):
        _meet(site, maps, plan)
    effect = operation.rule(site)
    if any(_is_index(plan.values[n]) for n in maps) and not operation.reads_indices and effect.value is not None:
        raise site.refuse("it reads the indices of a max pooling, which count inside its windows")
    padded = any(isinstance(v := plan.values[n], Grid) and v.pads != (0, 0) for n in maps)
    if padded and not operation.takes_padding:
        raise site.refuse("it reads a padded map", "pad directly before a convolution or pooling, whose border it is")
    _check_sizes(site, effect, plan)
    _check_calls(site, effect, plan)
    plan.effects[node] = effect
    if effect.uniform:
        plan.uniform.add(node)
    value = _sample(site, effect, plan) if effect.period != (1, 1) else effect.value
    if effect.cells == (1, 1) and effect.value is None:
        plan.flattened[node] = (
            (in_canonical_position((*site.map.lattice, plan.digits[node]), plan),) if node in plan.digits else ()
        )
    if effect.up != (1, 1):
        return _rise(site, effect, plan)
    return value


def _check_calls(site: Site, effect: Effect, plan: Plan) -> None:
    """A module that is called several times becomes the same at each."""
    if site.module is None or not isinstance(effect.swap, Recast):
        return
    first = plan.recasts.setdefault(site.module, effect.swap)
    if first != effect.swap:
        before = dict(first.attributes)["before"]
        raise site.refuse(f"it is called with another padding before it, {before}, elsewhere")


def _check_sizes(site: Site, effect: Effect, plan: Plan) -> None:
    """Refuse, for the whole map to be its period, what changes sizes that the network relies on.

    Once there is a canonical position, a map that a stride does not divide is sampled there, as it was.
    """
    after = site.node.meta["shape"]
    if not isinstance(site.map, Grid):
        return
    divides = all(p and size % p == 0 for size, p in zip(site.sizes, effect.period, strict=True))
    if plan.canonical is not None and not divides:
        raise site.refuse(f"its map of {site.sizes} is no multiple of its period {effect.period}")
    if plan.keep_sizes and isinstance(effect.value, Grid) and isinstance(after, tuple):
        rows, columns = (size * up // p for size, up, p in zip(site.sizes, effect.up, effect.period, strict=True))
        if sizes_along(after, effect.value.dims) != (rows, columns):
            raise site.refuse(f"it makes {after} of a map of {site.sizes}, and layers behind it count positions")


def _without_positions(site: Site, plan: Plan) -> Any:
    effect = without_positions(site, plan)
    if effect is None:
        return None
    plan.effects[site.node] = effect
    if effect.uniform:
        plan.uniform.add(site.node)
    return _rise(site, effect, plan) if effect.up != (1, 1) else effect.value


def _is_index(value: Any) -> bool:
    return isinstance(value, Grid) and value.window is not None


def _rise(site: Site, effect: Effect, plan: Plan) -> Grid:
    """The lattice of an enlarged map: the finest digits are taken off it."""
    risen = rise(effect.value.lattice, effect.up)
    if risen is None:
        here = stride(effect.value.lattice)
        raise site.refuse(f"it enlarges a map of total stride {here} by {effect.up}, between the strides taken before")
    lattice, taken, left = risen
    if lattice and effect.value.fine != (1, 1):
        raise site.refuse("it enlarges a map that is finer than the input, between the strides taken before")
    plan.rises[site.node] = taken, left
    if not effect.resizes:
        plan.rigid += taken
    return Grid(lattice, effect.value.dims, fine=times(effect.value.fine, left))


def _leave(node: fx.Node, maps: list[fx.Node], plan: Plan) -> None:
    """What the network returns must mean something outside of it."""
    for n in maps:
        value = plan.values[n]
        parts = value if isinstance(value, tuple) else (value,)
        if any(_is_index(part) for part in parts):
            reason = "max pooling that returns indices to the outside: they count positions from (0, 0)"
            raise NotEquivariantError(n.name, reason, "return the pooled map alone")
        if any(isinstance(part, Grid) and part.pads != (0, 0) for part in parts):
            raise NotEquivariantError(n.name, "a padded map is returned", "return the map itself")
    for n in list(node.all_input_nodes):
        shape = n.meta["shape"] or ()
        if n in plan.flattened and not all(isinstance(size, int) for size in shape):
            if any(_is_spread(part, plan) for part in shape):
                reason = f"it returns several tensors {shape}, and positions that were flattened leave the network as axes of one"
                raise NotEquivariantError(place_of(n), reason, "unpack them in forward, and return each")
        elif n in plan.flattened and _is_spread(shape, plan):
            if leave_canonical_position(n, node, plan):
                continue
            cause = next((r for kept, r in plan.kept_canonical.items() if kept is n or kept in _behind(n)), None)
            if cause is not None:
                raise cause
            reason = f"positions that were flattened leave the network as axes of {n.meta['shape']}"
            raise NotEquivariantError(n.name, reason, _BACK)


def _is_spread(shape: Any, plan: Plan) -> bool:
    """Whether something of this shape, or a part of it, may have positions along its last axes."""
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        return isinstance(shape, tuple) and any(_is_spread(part, plan) for part in shape)
    return len(shape) > 1 + len(plan.dims) and min(shape[-len(plan.dims) :]) > 1


def _behind(node: fx.Node) -> set[fx.Node]:
    """All that a node was computed from."""
    seen: set[fx.Node] = set()
    left = [node]
    while left:
        new = [n for n in left.pop().all_input_nodes if n not in seen]
        seen.update(new)
        left += new
    return seen


def _meet(site: Site, maps: list[fx.Node], plan: Plan) -> None:
    """All maps that an operation reads lie on one lattice; what is no map is the same at all positions."""
    first = plan.values[maps[0]]
    rank = len(maps[0].meta["shape"])
    for other in maps[1:]:
        value = plan.values[other]
        if [d - rank for d in first.dims] != [d - len(other.meta["shape"]) for d in value.dims]:
            raise site.refuse("it joins maps whose positions lie on different axes")
        if value.fine != first.fine:
            raise site.refuse(
                "it joins maps of different resolutions, finer than the input", "bring both to one size first"
            )
        reason = unify(first.lattice, value.lattice)
        if reason:
            raise site.refuse(reason, "bring both to one size first")
    if site.node.op == "call_module" or not isinstance(site.node.meta["shape"], tuple):
        return
    for other in site.node.all_input_nodes:
        shape = other.meta.get("shape")
        if (
            other in maps
            or other in plan.uniform
            or not isinstance(shape, tuple)
            or not all(isinstance(s, int) for s in shape)
        ):
            continue
        varying = [d for d in first.dims if len(shape) >= rank - d and shape[d - rank] != 1]
        if varying and len(site.node.meta["shape"]) == rank and other not in _weights(site):
            reason = (
                f"it combines the map with '{other.name}' of shape {shape}, which differs from position to position"
            )
            raise site.refuse(reason, "make it the same at all positions")


def _weights(site: Site) -> list[Any]:
    """Arguments of functional calls that are parameters of the operation, not a map beside it."""
    return [site.given(name) for name in site.operation.weights] if site.operation is not None else []


def _sample(site: Site, effect: Effect, plan: Plan) -> Any:
    if site.shape[0] != plan.batch:
        raise site.refuse(f"its batch of {site.shape[0]} is not the input's of {plan.batch}, so origins have no image")
    for axis in (0, 1):
        if not site.sizes[axis] or site.sizes[axis] % effect.period[axis]:
            plan.indivisible.append((site.node, axis, site.sizes[axis], effect.period[axis]))
            break
    if site.map.fine != (1, 1) and effect.cells != (1, 1):
        return _coarser(site, effect)
    digit = Digit((effect.period[0] // site.map.fine[0], effect.period[1] // site.map.fine[1]))  # whole pixels
    plan.digits[site.node] = digit
    if plan.canonical is not None and effect.cells is None:
        follow_canonical_position((*site.map.lattice, digit), plan)
    if effect.value is None:
        return None
    if isinstance(effect.value, tuple):
        return tuple(value and replace(value, lattice=(*value.lattice, digit)) for value in effect.value)
    return replace(effect.value, lattice=(*effect.value.lattice, digit))


def _coarser(site: Site, effect: Effect) -> Any:
    """A map that is finer than the input, sampled: its shifts are multiples of `fine`, so no origin needs to be chosen."""
    if any(fine % p for fine, p in zip(site.map.fine, effect.period, strict=True)):
        raise site.refuse(f"it samples with period {effect.period} a map of {site.map.fine} samples for each pixel")
    fine = site.map.fine[0] // effect.period[0], site.map.fine[1] // effect.period[1]
    if isinstance(effect.value, tuple):
        return tuple(value and replace(value, fine=fine) for value in effect.value)
    return None if effect.value is None else replace(effect.value, fine=fine)


def _refuse_size(plan: Plan) -> None:
    """One refusal for a size that is not divisible, naming sizes that all operations of the network can divide."""
    node, axis, size, period = plan.indivisible[0]
    total = total_stride(plan)[axis]
    name, given = ("height", "width" if len(plan.dims) > 1 else "length")[axis], plan.image[axis]
    would = sizes_that_do(given, total)
    reason = f"the map has {name} {size} there, not a multiple of the operation's period {period}"
    remedy = f"the network's total stride is {total} and the input's {name} {given}: {would} would do"
    plan.refusals.insert(0, (node, NotEquivariantError(place_of(node), reason, remedy)))


def _name_sizes(plan: Plan) -> None:
    """Sizes that all adaptive poolings of the network can divide, in the refusal of each that cannot."""
    unequal = {k: r for k, (_, r) in enumerate(plan.refusals) if isinstance(r, UnequalWindows)}
    would = [
        -(-size // (multiple := math.lcm(*(r.multiple[axis] for r in unequal.values())))) * multiple
        for axis, size in enumerate(plan.image)
    ]
    for k, refusal in unequal.items():
        remedy = f"an input of {' x '.join(map(str, would[2 - len(plan.dims) :]))} would do"
        plan.refusals[k] = plan.refusals[k][0], NotEquivariantError(refusal.node, refusal.reason, remedy)
