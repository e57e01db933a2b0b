"""The lattices of a network's outputs, read off its plan: what positions in them mean once it has been rewritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import fx

from mass.axes import times
from mass.fx.lattice import Digit, Grid, Lattice, same
from mass.fx.network.output_lattice import OriginDigit, OutputLattice
from mass.fx.nodes import module_of
from mass.fx.plan import Plan
from mass.nn.graph.structure import Rebuild, Slot, packed_leaves
from mass.structure import leaves


def output_lattices(plan: Plan, chosen: Mapping[Digit, fx.Node]) -> dict[str, OutputLattice]:
    """The lattice of every output that has positions, or was computed from the whole map, by its path.

    Args:
        plan: of the network, rewritten; chosen: the node that chooses each origin.
    """
    found = {}
    for path, node in outputs_of(plan.graph.graph):
        for at, value in _parts(plan.values.get(node), path):
            found[at] = OutputLattice(value.dims, _digits(value.lattice, chosen))
    for path, lattice in plan.from_whole_map.items():
        found[path] = OutputLattice((), None if lattice is None else _digits(lattice, chosen))
    return found


def from_whole_map(plan: Plan) -> dict[str, Lattice | None]:
    """Outputs without positions that depend on where in the image things lay: by path, the lattice whose origin that was.

    Positions spread over other axes (a flatten, then a linear layer), and sums over what positions were made part of (a
    soft-argmax multiplies a map by its coordinates). None where there is more than one such origin.
    """
    seen: dict[fx.Node, Lattice | None] = {}
    for node in plan.graph.graph.nodes:
        known = [seen[n] for n in node.all_input_nodes if n in seen]
        effect = plan.effects.get(node)
        if effect is not None and effect.cells == (1, 1) and node in plan.digits:
            grid = next(value for n in node.all_input_nodes if isinstance(value := plan.values.get(n), Grid))
            known.append((*grid.lattice, plan.digits[node]))
        if node in plan.flattened:
            known = [lattices[0] if (lattices := plan.flattened[node]) else None]
        if known:
            one = all(other is not None and known[0] is not None and same(known[0], other) for other in known)
            seen[node] = known[0] if one else None
    return {
        path: seen[node]
        for path, node in outputs_of(plan.graph.graph)
        if node in seen and plan.values.get(node) is None
    }


def outputs_of(graph: fx.Graph) -> Iterator[tuple[str, fx.Node]]:
    """Every node that the network returns, with its path in what it returns."""
    returned: Any = graph.output_node().args[0]
    rebuild = module_of(returned) if isinstance(returned, fx.Node) else None
    if isinstance(rebuild, Rebuild):
        nodes = list(returned.args)
        yield from (
            (path, nodes[slot.index]) for path, slot in packed_leaves(rebuild.structure) if isinstance(slot, Slot)
        )
        return
    for path, node in leaves(returned):
        if isinstance(node, fx.Node):
            yield path, node


def about_coordinates(paths: Sequence[str]) -> str:
    """What is to be known of outputs that were computed from the whole map: they stay, and so do coordinates in them; or ''.

    >>> about_coordinates(["boxes"])
    "Output 'boxes' is computed from the whole map at its origin: coordinates in it are relative to that origin (mass.output_origins)."
    """
    if not paths:
        return ""
    named = ", ".join(f"'{path}'" for path in paths)
    which = f"Outputs {named} are" if len(paths) > 1 else f"Output {named} is" if paths[0] else "The output is"
    them = "them" if len(paths) > 1 else "it"
    return f"{which} computed from the whole map at its origin: coordinates in {them} are relative to that origin (mass.output_origins)."


def _parts(value: Any, path: str) -> Iterator[tuple[str, Grid]]:
    if isinstance(value, Grid):
        yield path, value
    elif isinstance(value, tuple):
        for k, part in enumerate(value):
            yield from _parts(part, f"{path}[{k}]")


def _digits(lattice: Lattice, chosen: Mapping[Digit, fx.Node]) -> tuple[OriginDigit, ...] | None:
    found = []
    for digit in lattice:
        root, low = digit.find()
        if root not in chosen:
            return None
        last = times(low, digit.period) == root.period
        found.append(OriginDigit(str(chosen[root].target), low, digit.period, last))
    return tuple(found)
