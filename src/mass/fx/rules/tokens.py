"""Flattened positions: tokens of attention, inputs of a linear layer, maps cut into windows.

Flattening has the whole map as its period: the map is moved to its origin first, and whatever happens to the tokens after
that happens to the same tokens wherever the image lies. Where they become rows and columns again the map is enlarged
by that period, and moved back: so attention over positions, positional embeddings and window partitions convert, exactly,
without a word about what they compute. Tokens of several maps that meet share one origin, digit by digit.
"""

from __future__ import annotations

from typing import Any

from mass.axes import POSITIONS, sizes_along
from mass.fx.lattice import Grid, Joins, Lattice
from mass.fx.nodes import name_of
from mass.fx.plan import Plan
from mass.fx.rule import Effect, Site
from mass.nn.graph.guards import Make


def without_positions(site: Site, plan: Plan) -> Effect | None:
    """The effect of an operation that reads no map: most have none, for their inputs do not move with the image."""
    node, operation = site.node, site.operation
    shape: Any = node.meta.get("shape")
    rank = len(shape) if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape) else 0
    known = [plan.flattened[n] for n in node.all_input_nodes if n in plan.flattened]
    if known:
        lattices = _together(known)
        reshapes = operation is not None and operation.reshapes
        if reshapes and len(POSITIONS.get(rank, ())) == len(plan.dims) and shape[0] == plan.batch:
            effect = _as_map(site, shape, lattices)
            if effect is not None:
                return effect
        plan.flattened[node] = lattices
    made = isinstance(site.module, Make) and site.module.name in ("zeros", "ones", "full")
    if made or (rank and 0 in shape):
        plan.uniform.add(node)
    first = node.all_input_nodes[0].meta.get("shape") if node.all_input_nodes else None
    constant = rank == 4 and isinstance(first, tuple) and len(first) == 4 and first[2:] == (1, 1)
    if constant and operation is not None and operation.of_constant is not None:
        return operation.of_constant(site)
    return None


def _together(known: list[tuple[Lattice, ...]]) -> tuple[Lattice, ...]:
    """Tokens of several maps that meet lie at the same places; where that cannot be they never are a map again."""
    found, joins = list(known[0]), Joins()
    for lattices in known[1:]:
        for lattice in lattices:
            if not found or joins.unify(found[0], lattice):
                return ()
            if all(other[-1].period != lattice[-1].period for other in found):
                found.append(lattice)
    joins.commit()
    return tuple(found)


def _as_map(site: Site, shape: tuple[int, ...], lattices: tuple[Lattice, ...]) -> Effect | None:
    """The map that tokens become by a reshape to the height and width that were flattened; None if they do not."""
    for lattice in lattices:
        rows, columns = lattice[-1].period
        heads = shape[1] == rows * columns and all(name_of(u) in ("permute", "transpose") for u in site.node.users)
        last = POSITIONS[len(shape)]
        for dims in (last, tuple(d - 1 for d in last)):  # channels first, channels last
            if sizes_along(shape, dims) == (rows, columns) and not heads:
                return Effect(Grid(lattice, dims), up=(rows, columns), resizes=True, change="moved back")
    return None
