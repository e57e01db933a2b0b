"""One spelling of what may be written in several ways, so that a rule need read one: `y.max(1).values`, `flip(1, 2)`, `keepdims=`."""

from __future__ import annotations

import operator

from torch import fx

from mass.fx.nodes import CUTS, cut_along, name_of
from mass.fx.rule import operation_of

# They return named pairs of values and indices.
_PAIRS = {"max", "min", "median", "nanmedian", "mode", "kthvalue", "topk", "sort", "cummax", "cummin"}
_FIELDS = {"values": 0, "indices": 1}
_JOINS = {"cat", "concatenate", "stack"}


def spelt_alike(traced: fx.GraphModule) -> None:
    """Rewrite calls of a graph into the spelling that rules read; what they compute stays."""
    for node in traced.graph.nodes:
        if node.op not in ("call_function", "call_method"):
            continue
        if "keepdims" in node.kwargs:
            rest = {name: value for name, value in node.kwargs.items() if name != "keepdims"}
            node.kwargs = rest | {"keepdim": node.kwargs["keepdims"]}
        operation = operation_of(node)
        # The first argument of where is its condition.
        named = not node.args and "condition" not in node.kwargs
        if named and operation is not None and operation.arguments[0] in node.kwargs:
            first = operation.arguments[0]
            node.args = (node.kwargs[first],)
            node.kwargs = {name: value for name, value in node.kwargs.items() if name != first}
        if node.target is getattr and node.args[1:] == (
            "data",
        ):  # read alone: what is written to it could not be traced
            node.op, node.target, node.args = "call_method", "detach", node.args[:1]
        if name_of(node) == "flip" and len(node.args) > 2:
            node.args = (node.args[0], tuple(node.args[1:]))
        if node.target is getattr and name_of(node.args[0]) in _PAIRS and node.args[1] in _FIELDS:
            node.target, node.args = operator.getitem, (node.args[0], _FIELDS[node.args[1]])
    traced.recompile()


def _along_another_axis(whole: fx.Node) -> bool:
    """Whether the parts, or some of them, are of images or positions, not of channels."""
    while whole.target is operator.getitem and isinstance(whole.args[0], fx.Node):
        whole = whole.args[0]
    return name_of(whole) in CUTS and cut_along(whole) != 1


def tuples_unpacked(traced: fx.GraphModule) -> None:
    """Join the parts of a tuple where the tuple is joined: `torch.cat(y.chunk(2, 1), 1)`. Shapes have been noted."""
    for node in [n for n in traced.graph.nodes if n.op == "call_function" and name_of(n) in _JOINS and n.args]:
        whole = node.args[0]
        shapes = whole.meta["shape"] if isinstance(whole, fx.Node) else None
        if not isinstance(shapes, tuple) or not shapes or not all(isinstance(shape, tuple) for shape in shapes):
            continue
        if _along_another_axis(whole):  # of another batch there are other parts
            continue
        parts = []
        for number, shape in enumerate(shapes):
            with traced.graph.inserting_before(node):
                parts.append(traced.graph.call_function(operator.getitem, (whole, number)))
            parts[-1].meta |= {"shape": shape, "real": whole.meta["real"]}
        node.args = (parts, *node.args[1:])
    traced.recompile()
