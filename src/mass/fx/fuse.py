"""One copy instead of two: a shift that only windowed operations read is left to them.

    mass_shift = shift(x, o);  y = conv(mass_shift)   ->   y = conv(x, origin=o)

A window wraps its borders, which copies the map anyway (or, compiled, reads it where it lies): moving it to its origin on
the way costs nothing. The origin is an argument of the operation then, in plain sight.
"""

from __future__ import annotations

from torch import fx, nn

from mass.fx.nodes import module_of
from mass.nn.graph.alignment import ComposeOrigin, ReadDigit, SelectOrigin, Shift

_CHOICES = (SelectOrigin, ComposeOrigin, ReadDigit, Shift)


def fuse_shifts(module: fx.GraphModule) -> None:
    """Give windowed operations the origin of their map instead of the moved map, wherever nothing else reads that."""
    for node in list(module.graph.nodes):
        if type(module_of(node)) is Shift and all(_reads_alone(n, node) for n in node.users):
            x, origin = node.args  # unchanged until here: after a write to any map, rewriting shifts it anew
            for user in list(node.users):
                user.args, user.kwargs = (x,), {"origin": origin}  # by name: a hook that changes the map leaves it
            module.graph.erase_node(node)
    _without(module, Shift)
    module.recompile()


def drop_unread(module: fx.GraphModule) -> None:
    """Remove origins that nothing reads: those of lattices that only the verification of a conversion asks for."""
    for node in reversed(module.graph.nodes):
        if isinstance(module_of(node), _CHOICES) and not node.users:
            module.graph.erase_node(node)
    _without(module, *_CHOICES)
    module.recompile()


def _without(module: fx.GraphModule, *kinds: type[nn.Module]) -> None:
    """Remove modules of these kinds that the graph no longer calls."""
    called = {str(node.target) for node in module.graph.nodes if node.op == "call_module"}
    for name, child in list(module.named_children()):
        if isinstance(child, kinds) and name not in called:
            delattr(module, name)


def _reads_alone(user: fx.Node, node: fx.Node) -> bool:
    """Whether a node can be given an origin, and reads this map and no more."""
    return user.meta.get("takes_origin", False) and user.args == (node,) and not user.kwargs
