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

from mass.axes import POSITIONS, sizes_along
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
    its maps lie on several lattices, where a size is at hand at which the operation needs no such thing, and where its
    rule refuses outright. Nothing has changed then.
    """
    node, values = site.node, [plan.values[n] for n in maps]
    if isinstance(refusal, UnequalWindows | Outright) or is_in_place(node) or name_of(node) == "setitem":
        return None
    if not all(isinstance(v, Grid) and v.pads == (0, 0) and v.window is None and v.batch == 0 for v in values):
        return None
    if not all(n.meta["real"] and n.meta["shape"][0] == plan.batch for n in maps):
        return None
    if 0 in site.sizes:  # a stride before it is larger than its map, which is refused by its size
        return None
    joins = Joins()
    if any(v.fine != values[0].fine or joins.unify(values[0].lattice, v.lattice) for v in values):
        return None
    if len({tuple(n.meta["shape"][d] for d in v.dims) for n, v in zip(maps, values, strict=True)}) > 1:
        return None
    fine = values[0].fine
    digit = Digit((site.sizes[0] // fine[0], site.sizes[1] // fine[1]))  # whole pixels
    lattice = (*values[0].lattice, digit)
    if plan.canonical is not None:
        joins.unify(plan.canonical, lattice)
    for other in node.all_input_nodes:
        beside = plan.flattened.get(other)
        if beside and all(joins.unify(lattice, known) for known in beside):
            return None  # what it is combined with lies in another position
    joins.commit()
    plan.canonical = lattice if plan.canonical is None else plan.canonical
    plan.digits[node] = digit
    before, after = maps[0].meta["shape"], node.meta["shape"]
    effect = Effect(None, site.sizes, cells=(1, 1), change=CHANGE, breaks=refusal.reason)
    if node.meta["real"] and _keeps_rows_and_columns(before, after, values[0]):
        effect.value = Grid(values[0].lattice, values[0].dims, fine=values[0].fine)
        effect.change += " and is moved back"
        plan.rises[node] = (digit,), fine
    else:
        plan.flattened[node] = (lattice,)
        plan.kept_canonical[node] = refusal
    plan.effects[node] = effect
    return effect


def _keeps_rows_and_columns(before: tuple[int, ...], after: object, grid: Grid) -> bool:
    return (
        isinstance(after, tuple) and len(after) == len(before) and all(after[d] == before[d] for d in (0, *grid.dims))
    )


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
