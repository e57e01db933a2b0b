"""Runs of a graph that are kept, and compared node by node with a run on shifted input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.fx.interpreter import Probing
from mass.fx.lattice import Positions
from mass.fx.nodes import place_of
from mass.fx.verification.shifts import Lattice
from mass.motion import cancelled, distance
from mass.nn.graph.alignment import ComposeOrigin, ReadDigit, SelectOrigin

NOISE = (
    "all of it may be rounding, as of a map that is constant and then normalised; convert with weights, or an example, "
    "for which that map is not constant"
)
ORIGINS = (SelectOrigin, ReadDigit, ComposeOrigin)


class Recorder(Probing):
    """Runs the graph, keeping what every node returned."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.kept: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        # A later operation may overwrite its input in place.
        self.kept[n.name] = result.clone() if isinstance(result, Tensor) else result
        return result

    def lattices(self) -> list[Lattice]:
        """Where the samples of its maps lie, each lattice once."""
        found: dict[Any, Lattice] = {}
        graph: Any = self.module.graph
        for node in graph.nodes:
            positions, y = node.meta.get("positions"), self.kept.get(node.name)
            if positions is None or not isinstance(y, Tensor):
                continue
            held = [y.shape[d] for d in positions.dims]
            sizes = (1, *held)[-2:]
            origin, stride = positions.total(self.kept)
            found.setdefault((positions.digits, positions.fine, sizes), Lattice(origin, stride, positions.fine, sizes))
        return list(found.values())


class Comparer(Probing):
    """Runs the graph on shifted input and stops at the first node that does not hold the recorded values, moved.

    A node on lattice (S, O) holds at position n what lies at input position O + S n. On the shifted input,
    x'[n] = x[n + t], the lattice has another origin O', and the node must hold the same values k = (t + O' - O) / S
    positions further.
    """

    def __init__(self, module: fx.GraphModule, recorded: dict[str, Any], t: Pair, tolerance: float) -> None:
        super().__init__(module)
        self.recorded, self.t, self.tolerance = recorded, t, tolerance
        self.kept: dict[str, Tensor] = {}  # origins

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if not isinstance(result, Tensor):
            return result
        if n.op == "call_module" and isinstance(self.module.get_submodule(str(n.target)), ORIGINS):
            self.kept[n.name] = result
            return result
        recorded: Any = self.recorded.get(n.name)
        if n.op in ("output", "placeholder", "get_attr") or "shape" not in n.meta or not isinstance(recorded, Tensor):
            return result
        expected = self._moved(n.meta["positions"], recorded) if "positions" in n.meta else recorded
        if expected is None:
            raise self._refusal(n, "its samples lie between the shifted samples: the origin did not follow the shift")
        difference, scale = distance(expected, result)
        read = [self.recorded.get(i.name) for i in n.all_input_nodes]
        if not difference <= max(self.tolerance * scale, cancelled(self.tolerance, read)):
            how = f"its output differs by {difference:.2g} (of {scale:.2g})" if scale > 1e-299 else "its output differs"
            raise self._refusal(n, how)
        return result

    def _moved(self, positions: Positions, recorded: Tensor) -> Tensor | None:
        before, stride = positions.total(self.recorded)
        after, _ = positions.total(self.kept)
        moved = torch.tensor(self.t) * torch.tensor(positions.fine) + (after - before).cpu()
        if (moved % torch.tensor(stride)).any():
            return None
        steps = moved // torch.tensor(stride)
        steps = steps[..., 2 - len(positions.dims) :]  # a signal has columns alone
        if steps.ndim == 1:
            return recorded.roll((-steps).tolist(), positions.dims)
        images = recorded.movedim(positions.batch, 0)
        dims = [d - (d > positions.batch) for d in positions.dims]
        rows = [row.roll((-s).tolist(), dims) for row, s in zip(images, steps, strict=True)]
        return torch.stack(rows).movedim(0, positions.batch)

    def _refusal(self, node: fx.Node, how: str) -> NotEquivariantError:
        reason = f"after a circular shift of the input by {self.t} {how}"
        return NotEquivariantError(
            place_of(node), reason, "the operation does not commute with shifts as its rule or mark says"
        )
