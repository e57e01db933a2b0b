"""Other sizes: whether a conversion holds for them, or for the example's size alone.

What a model computes from the size of its input may have been frozen at the example's: a pooling into as many cells as its map had
positions, a window computed from `x.shape`. So a network that may depend on that is asked once more, at twice the size. Where it is
not the model there, it takes inputs of the example's size alone (`Converted.mass_only_size`).
"""

from __future__ import annotations

from torch import fx, nn

from mass.errors import NotEquivariantError
from mass.fx.network.converted import Converted
from mass.fx.nodes import module_of, name_of
from mass.fx.rule import operation_of_module
from mass.fx.tracing.example import Example, Inputs
from mass.fx.verification.probes import Probes
from mass.fx.verification.verify import Gate
from mass.fx.verification.verify_trace import require_trace, runs
from mass.marks import marked_period
from mass.structure import leaves


def only_at_this_size(model: nn.Module, traced: Converted, gate: Gate, example: Example, moves: bool) -> str:
    """Why a network that was verified at the example's size is none for twice that size; '' where it is, or nobody could ask.

    Args:
        gate: the one that it passed; moves: whether its outputs were to move with the image.
    """
    if not any(_may_read_the_size(node) for node in traced.graph.nodes):
        return ""
    inputs = _twice_the_size(model, example)
    try:
        require_trace(model, traced, example, inputs, "at twice the example's size")
        gate.check_larger(inputs, moves)
    except NotEquivariantError as difference:
        return difference.reason
    return ""


def _twice_the_size(model: nn.Module, example: Example) -> Inputs:
    """Noise of twice the example's size: one image, where the model takes one, for it is asked often."""
    probes = Probes(example.values)
    alone = probes.of_batch(1)
    if alone is not None and runs(model, example, alone):
        probes = Probes(alone)
    return probes.doubled()


def _may_read_the_size(node: fx.Node) -> bool:
    """Whether a node gives numbers, pools into a number of cells, or is code that nobody looked into."""
    if node.op in ("placeholder", "get_attr", "output") or str(node.target).startswith("mass_"):
        return False
    if any(isinstance(value, int | float) for _, value in leaves(node.meta.get("value"))):
        return True
    module = module_of(node)
    name = name_of(node) if module is None else type(module).__name__.lower()
    if name.startswith("adaptive"):
        return set(node.meta["shape"][2:]) != {1}
    return module is not None and operation_of_module(module) is None and marked_period(module) is None
