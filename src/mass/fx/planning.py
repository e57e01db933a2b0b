"""Planning: a model traced, and what inference makes of it, with submodules kept whole in which something is refused.

A refusal without a way out is no verdict on the module around it: rows and columns that are joined in one sequence (coordinate
attention), taken together, are an operation of maps like any other of which nothing is known. So the innermost
submodule that holds such an operation is traced as one operation, whose period is the whole map, and the plan is made once more; where that is
refused too, the next one around it is tried. It must be seen to move with its maps (mass.fx.verification.kept_whole); what comes of it passes the same gate.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

from torch import fx, nn

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.fx.infer import infer
from mass.fx.lattice import Grid, stride
from mass.fx.network.converted import Converted
from mass.fx.nodes import place_of
from mass.fx.plan import Plan
from mass.fx.rule import Outright, UnequalWindows
from mass.fx.tracing.example import Example
from mass.fx.tracing.trace import trace
from mass.fx.verification.kept_whole import move_along

_SUBMODULE = (
    "a module of its own, with what its maps are computed from, would be tried as one operation of the whole map"
)


@dataclass(frozen=True)
class Planned:
    """A traced model, the plan of a copy of it, and the submodules that stay whole, each with the refusal that it was for."""

    traced: Converted
    plan: Plan
    whole: dict[str, NotEquivariantError]


def planned(model: nn.Module, example: Example) -> Planned:
    """A model's graph and its plan. Refusals are in the plan: where keeping submodules whole does not mend all, those of the graph without.

    Raises:
        NotEquivariantError: what could not be traced.
    """
    traced = trace(model, example)
    first = found = Planned(traced, infer(copied(traced)), {})
    while found.plan.refusals:
        node, refusal = found.plan.refusals[0]
        no_way_out = _has_no_way_out(found, node, refusal)
        path = _around(found, node) if no_way_out else ""
        if not path:
            if found is first and no_way_out:
                found.plan.refusals[0] = node, NotEquivariantError(refusal.node, refusal.reason, _SUBMODULE)
            return first
        inside = [known for known in found.whole if known.startswith(f"{path}.")]
        whole = {known: why for known, why in found.whole.items() if known not in inside}
        whole[path] = found.whole[inside[-1]] if inside else refusal
        try:
            traced = trace(model, example, frozenset(whole))
        except NotEquivariantError:
            return first
        found = Planned(traced, infer(copied(traced)), whole)
    if not found.whole:
        return found
    wraps = {n.name for n, effect in first.plan.effects.items() if effect.swap is not None}
    kept = move_along(first.traced, wraps, found.whole, example.values, _coarsest_read(found))
    return found if kept else first


def copied(traced: Converted) -> Converted:
    """A graph of modules of its own over the same parameters and buffers."""
    tensors = [*traced.parameters(), *traced.buffers()]
    made = copy.deepcopy(traced, {id(tensor): tensor for tensor in tensors})
    for ours, theirs in zip(made.graph.nodes, traced.graph.nodes, strict=True):
        ours.meta = dict(theirs.meta)
    return made


def _coarsest_read(found: Planned) -> Pair:
    """The total stride of the coarsest map that a submodule which stays whole is given."""
    nodes = [n for n in found.plan.graph.graph.nodes if n.op == "call_module" and str(n.target) in found.whole]
    read = [value for n in nodes for m in n.all_input_nodes if isinstance(value := found.plan.values.get(m), Grid)]
    strides = [stride(value.lattice) for value in read]
    return math.lcm(*(s[0] for s in strides)), math.lcm(*(s[1] for s in strides))


def _has_no_way_out(found: Planned, node: fx.Node, refusal: NotEquivariantError) -> bool:
    """Whether a refusal names nothing that would do; what it says of a module that was kept whole is no way out."""
    if found.plan.indivisible or isinstance(refusal, Outright | UnequalWindows) or node in _ends(found):
        return False
    return not refusal.remedy or place_of(node) in found.whole


def _ends(found: Planned) -> list[fx.Node]:
    """What is refused where it leaves the network is no matter of what is around it."""
    return [n for n in found.plan.graph.graph.nodes if n.op == "output" or n.target == "mass_output"]


def _around(found: Planned, node: fx.Node) -> str:
    """The path of the innermost container whose inside holds a node; '' where the model itself is."""
    calls = [(call.inside(found.traced.graph), call) for call in found.traced.mass_calls]
    holding = [(len(nodes), call.path) for nodes, call in calls if any(n.name == node.name for n in nodes)]
    return min(holding, default=(0, ""))[1]
