"""The lattices of a network's outputs, read off its plan: what positions in them mean once it has been rewritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import fx

from mass.axes import times
from mass.fx.lattice import Digit, Grid, Lattice
from mass.fx.network.output_lattice import OriginDigit, OutputLattice
from mass.fx.nodes import module_of
from mass.fx.plan import Plan
from mass.nn.structure import Rebuild, Slot, packed_leaves
from mass.structure import leaves


def output_lattices(plan: Plan, chosen: Mapping[Digit, fx.Node]) -> dict[str, OutputLattice]:
    """The lattice of every output that has positions, or was computed from the whole map, by its path.

    Args:
        plan: of the network, rewritten; chosen: the node that chooses each origin.
    """
    found = {}
    for path, node in outputs_of(plan):
        for at, value in _parts(plan.values.get(node), path):
            found[at] = OutputLattice(value.dims, _digits(value.lattice, chosen))
        if node in plan.flattened:
            lattices = plan.flattened[node]
            found[path] = OutputLattice((), _digits(lattices[0], chosen) if lattices else None)
    return found


def outputs_of(plan: Plan) -> Iterator[tuple[str, fx.Node]]:
    """Every node that the network returns, with its path in what it returns."""
    graph = plan.graph.graph
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
