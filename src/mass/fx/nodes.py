"""Nodes of a traced graph, read: what they call, with which values, and whether they write to what they are given."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from mass.nn.graph.entrance import Entrance

_DISPATCHED = {  # their __name__ is 'fn'
    getattr(F, name): name for kind in ("max_pool", "adaptive_max_pool") for name in (f"{kind}{n}d" for n in (1, 2, 3))
}
_ALIASES = {
    "iadd": "add", "imul": "mul", "isub": "sub", "itruediv": "truediv", "concat": "cat", "multiply": "mul", "divide": "div",
    "true_divide": "truediv", "floor_divide": "floordiv", "subtract": "sub", "absolute": "abs", "negative": "neg", "fix": "trunc",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "special_expit": "sigmoid",
    "special_xlogy": "xlogy", "log_sigmoid": "logsigmoid", "_threshold": "threshold", "arctan2": "atan2", **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}  # fmt: skip


CUTS = (
    "split",
    "chunk",
    "unbind",
    "tensor_split",
    "hsplit",
    "vsplit",
    "dsplit",
)  # into parts, as many as the size allows


def name_of(node: fx.Node) -> str:
    """The plain name of a called function or method: 'add' for +, += and torch.add_."""
    target: Any = node.target
    name = str(_DISPATCHED.get(target) or getattr(target, "__name__", target))  # the target of a method is its name
    name = name if name.startswith("_") else name.rstrip("_")
    return _ALIASES.get(name, name)


def module_of(node: fx.Node) -> nn.Module | None:
    """The module that a node calls, if it calls one."""
    if node.op != "call_module":
        return None
    owner = node.graph.owning_module
    assert owner is not None, "the graph belongs to several modules"
    return owner.get_submodule(str(node.target))


def inside_of(image: fx.Node) -> fx.Node:
    """What stands for an input inside of a converted network: the entrance that reads it, else itself."""
    return next((user for user in image.users if isinstance(module_of(user), Entrance)), image)


def place_of(node: fx.Node) -> str:
    """Where a user finds an operation: by the path of the module that is called, else by the node's name."""
    return str(node.target) if node.op == "call_module" else node.name


def returned(graph: fx.Graph) -> list[fx.Node]:
    """The nodes whose values a graph returns, in whatever structure."""
    found = graph.output_node().all_input_nodes
    return [n for node in found for n in (node.all_input_nodes if node.target == "mass_output" else [node])]


def stand_in(node: fx.Node, other: fx.Node, *but: fx.Node) -> None:
    """Let all that read a node read another instead, but for these."""
    for user in list(node.users):
        if user not in but:
            user.replace_input_with(node, other)


def nodes_in(arguments: Any) -> list[fx.Node]:
    """The nodes among arguments, however deep they lie in tuples, lists, dicts and slices."""
    found: list[fx.Node] = []
    fx.node.map_arg(arguments, found.append)
    return found


def concrete(argument: Any) -> Any:
    """An argument with the values that sizes and numbers computed in the graph had on the example input."""
    return fx.node.map_arg(argument, lambda n: n.meta.get("value", n))


def sizes_in(number: fx.Node) -> list[tuple[fx.Node, int]]:
    """The sizes that a number of the graph is computed from: tensors, and the axis of each."""
    found: list[tuple[fx.Node, int]] = []
    for source in number.all_input_nodes:
        index = number.args[1] if len(number.args) > 1 else None
        of_shape = name_of(source) == "size" or (name_of(source) == "getattr" and source.args[1:] == ("shape",))
        if name_of(number) == "size" and isinstance(index, int):
            found.append((source, index))
        elif name_of(number) == "getitem" and of_shape and isinstance(index, int):
            found.append((source.all_input_nodes[0], index))
        elif name_of(number) == "len" and isinstance(source.meta.get("shape"), tuple):
            found.append((source, 0))
        elif "value" in source.meta:
            found += sizes_in(source)
    return found


def cut_along(node: fx.Node) -> Any:
    """The axis along which `split`, `chunk` or `unbind` cut a tensor into parts."""
    place = 1 if name_of(node) == "unbind" else 2
    return node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)


def writes_out(node: fx.Node) -> bool:
    """Whether a call is given a tensor to write to."""
    return node.kwargs.get("out") is not None


def is_in_place(node: fx.Node) -> bool:
    """Whether an operation writes to a tensor that others may read."""
    if node.op == "call_module":
        return bool(getattr(module_of(node), "inplace", False))
    name = getattr(node.target, "__name__", str(node.target))
    written = bool(node.kwargs.get("inplace")) or writes_out(node)
    return written or (name.endswith("_") and not name.endswith("__")) or name in ("iadd", "imul", "isub", "itruediv")
