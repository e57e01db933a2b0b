"""The whole map as period: what makes any operation equivariant of which nothing else is known.

A crop, an embedding added to the positions, attention over them, a padding that stays, code that cannot be traced: each
commutes with shifts by the whole map, which are none. On a map moved to its origin, f is bit-identical wherever the
image lies. Where f keeps the map's rows and columns its result is moved back, y = restore(f(shift(x, o)), o), and
lives on the map's own lattice; else it stays in that position, as everything computed from it does (mass.fx.rules.tokens).

A network has one canonical position: all its operations of this kind share an origin, digit by digit, and what is sampled behind the
first of them is sampled by it, so that windows, masks, embeddings and strides lie to each other as they did.
"""

from __future__ import annotations

from dataclasses import replace

from torch import fx

from mass.axes import POSITIONS, Pair, sizes_along
from mass.errors import NotEquivariantError
from mass.fx.lattice import Digit, Grid, Joins, Lattice, rise, stride, unify
from mass.fx.nodes import is_in_place, name_of
from mass.fx.plan import Plan
from mass.fx.rule import Effect, Outright, Site, UnequalWindows

CHANGE = "the whole map starts at its origin"


def in_canonical_position(lattice: Lattice, plan: Plan) -> Lattice:
    """The lattice, its origin shared with the network's canonical position where that is possible."""
    if plan.canonical is None:
        plan.canonical = lattice
    else:
        unify(plan.canonical, lattice)
    return lattice


def follow_canonical_position(lattice: Lattice, plan: Plan) -> None:
    """What is sampled once there is a canonical position is sampled from there, where that is possible."""
    total = stride(lattice)
    if plan.canonical is not None and not (plan.image[0] % total[0] or plan.image[1] % total[1]):
        unify(plan.canonical, (*lattice, Digit((plan.image[0] // total[0], plan.image[1] // total[1]))))


def whole_map(site: Site, maps: list[fx.Node], plan: Plan, refusal: NotEquivariantError) -> Effect | None:
    """The effect of an operation that its rule refuses, on maps moved to their origin; None if that does not help.

    It does not where the operation writes to a map that others read, where images are not told apart any more, where
    its maps cannot be moved to one position (only what nothing is known of may read several levels), where a size is at hand at which the operation needs no such thing, and where its
    rule refuses outright. Nothing has changed then.
    """
    node, values = site.node, [plan.values[n] for n in maps]
    if isinstance(refusal, UnequalWindows | Outright) or is_in_place(node) or name_of(node) == "setitem":
        return None
    if not all(isinstance(v, Grid) and v.pads == (0, 0) and v.window is None and v.batch == 0 for v in values):
        return None
    if not all(n.meta["real"] and n.meta["shape"][0] == plan.batch for n in maps):
        return None
    joins = Joins()
    held: dict[Pair, tuple[fx.Node, Lattice]] = {}  # by total stride: the first map of each, its lattice and digit
    for n, v in zip(maps, values, strict=True):
        total = stride(v.lattice)
        first, lattice = held.setdefault(total, (n, (*v.lattice, _whole_pixels(total, plan))))
        alike = v.fine == values[0].fine and _sizes(n, v) == _sizes(first, plan.values[first])
        if not alike or joins.unify(lattice[:-1], v.lattice):
            return None
        if 0 in lattice[-1].period:  # a stride before it is larger than its map, which is refused by its size
            return None
    levels = [lattice for _, lattice in held.values()]
    if len(levels) > 1 and (site.operation is not None or any(joins.unify(levels[0], other) for other in levels)):
        return None
    if plan.canonical is not None:
        joins.unify(plan.canonical, levels[0])
    for other in node.all_input_nodes:
        beside = plan.flattened.get(other)
        if beside and all(joins.unify(levels[0], known) for known in beside):
            return None  # what it is combined with lies in another position
    joins.commit()
    plan.canonical = levels[0] if plan.canonical is None else plan.canonical
    plan.digits[node], plan.levels[node] = levels[0][-1], {stride(lattice[:-1]): lattice[-1] for lattice in levels}
    effect = Effect(None, site.sizes, cells=(1, 1), change=CHANGE, breaks=refusal.reason)
    kept = next((n for n, _ in held.values() if node.meta["real"] and _keeps_rows_and_columns(n, node, plan)), None)
    if kept is not None:
        grid = plan.values[kept]
        effect.value = Grid(grid.lattice, grid.dims, fine=grid.fine)
        effect.change += " and is moved back"
        plan.rises[node] = (plan.levels[node][stride(grid.lattice)],), grid.fine
    else:
        plan.flattened[node] = tuple(levels)
        plan.kept_canonical[node] = refusal
    plan.effects[node] = effect
    return effect


def _whole_pixels(total: Pair, plan: Plan) -> Digit:
    """The digit whose period is the whole map, of a map of this total stride."""
    return Digit((plan.image[0] // total[0], plan.image[1] // total[1]))


def _sizes(node: fx.Node, grid: Grid) -> tuple[int, ...]:
    return tuple(node.meta["shape"][d] for d in grid.dims)


def _keeps_rows_and_columns(given: fx.Node, node: fx.Node, plan: Plan) -> bool:
    before, after, dims = given.meta["shape"], node.meta["shape"], plan.values[given].dims
    return isinstance(after, tuple) and len(after) == len(before) and all(after[d] == before[d] for d in (0, *dims))


def leave_canonical_position(node: fx.Node, leaving: fx.Node, plan: Plan) -> bool:
    """Shift a dense output that was computed in the canonical position back to where the image lies; False if it cannot be told how.

    That can only be told of the input's own rows and columns: of others nobody knows which axes they are. Where other operations read
    it as well, a copy is moved back for `leaving`, and they go on in the canonical position.
    """
    batch, dims = node.meta["shape"][0], POSITIONS.get(len(node.meta["shape"]), ())
    if len(dims) != len(plan.dims):
        return False
    height, width = sizes_along(node.meta["shape"], dims)
    if batch != plan.batch or (height, width) != plan.image:
        return False
    for lattice in plan.flattened[node]:
        risen = rise(lattice, (height, width))
        if risen is not None and risen[2] == (1, 1):
            kept, taken, _ = risen
            node = _copied(node, leaving, plan) if len(node.users) > 1 else node
            plan.rises[node] = taken, (1, 1)
            plan.values[node] = Grid(kept, dims)
            effect = (
                plan.effects[node] if node in plan.digits else Effect(None)
            )  # of the whole map: its period, and its cells
            change = f"{effect.change} and is moved back" if effect.change else "moved back"
            plan.effects[node] = replace(effect, value=plan.values[node], change=change)
            return True
    return False


def _copied(node: fx.Node, leaving: fx.Node, plan: Plan) -> fx.Node:
    """A copy of what a node returns, which `leaving` alone reads."""
    with plan.graph.graph.inserting_before(leaving):
        copied = plan.graph.graph.call_method("clone", (node,))
    copied.meta.update(node.meta)
    leaving.replace_input_with(node, copied)
    return copied
