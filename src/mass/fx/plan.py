"""What lattice inference finds, and rewriting carries out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from mass.axes import Dims, Pair
from mass.errors import NotEquivariantError
from mass.fx.lattice import Digit, Grid, Lattice, stride
from mass.fx.network.converted import Converted
from mass.fx.rule import Effect, Recast


@dataclass
class Plan:
    """What lattice inference found.

    Attributes:
        graph: the traced model.
        image: height and width of its input; batch: how many images it holds; dims: its axes of positions.
        keep_sizes: whether operations keep the sizes of the plain model, whatever becomes of their borders.
        values: per node, its `Grid`, or None for what has no positions, or a tuple of these.
        effects: per operation that meets a map, its `Effect`.
        recasts: what modules become, the same at all their calls.
        digits: per operation with a period, the origin digit it samples at.
        levels: per operation with the whole map as period, the digit of the maps of each total stride: a pyramid has several.
        rises: per operation that enlarges its map, the digits it takes off the lattice, and by how much it enlarges beyond.
        refusals: what cannot be made equivariant, in graph order.
        uniform: map-sized tensors that are the same at all positions.
        flattened: tensors in which positions are spread over other axes, and the lattices that these lie on: behind
            a digit whose period is the whole map.
        rigid: digits that are taken off by a factor of its own: if their period follows the map's size, it must not change.
        indivisible: operations whose period does not divide their map: node, axis, size, period.
        canonical: the first lattice that ends in a digit whose period is the whole map; all others share its origin.
        from_whole_map: outputs without positions that depend on where in the image things lay: by path, the lattice whose
            origin that was, or None where there are several.
        kept_canonical: operations that left it no rows and columns, with what their rules said of them.
    """

    graph: Converted
    image: Pair
    batch: int
    dims: Dims = (2, 3)
    keep_sizes: bool = False
    values: dict[fx.Node, Any] = field(default_factory=dict)
    effects: dict[fx.Node, Effect] = field(default_factory=dict)
    recasts: dict[nn.Module, Recast] = field(default_factory=dict)
    digits: dict[fx.Node, Digit] = field(default_factory=dict)
    levels: dict[fx.Node, dict[Pair, Digit]] = field(default_factory=dict)
    rises: dict[fx.Node, tuple[Lattice, Pair]] = field(default_factory=dict)
    refusals: list[tuple[fx.Node, NotEquivariantError]] = field(default_factory=list)
    uniform: set[fx.Node] = field(default_factory=set)
    flattened: dict[fx.Node, tuple[Lattice, ...]] = field(default_factory=dict)
    rigid: list[Digit] = field(default_factory=list)
    indivisible: list[tuple[fx.Node, int, int, int]] = field(default_factory=list)
    canonical: Lattice | None = None
    from_whole_map: dict[str, Lattice | None] = field(default_factory=dict)
    kept_canonical: dict[fx.Node, NotEquivariantError] = field(default_factory=dict)


def total_stride(plan: Plan) -> Pair:
    """What the input's height and width must be multiples of: the total stride of the coarsest lattice."""
    strides = [stride(value.lattice) for value in plan.values.values() if isinstance(value, Grid)]
    return math.lcm(*(s[0] for s in strides)), math.lcm(*(s[1] for s in strides))
