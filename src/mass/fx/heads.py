"""Heads: containers behind the last map are called whole.

Where no input of a module holds positions, and nothing in it was given an effect, its operations stay as they are; so
the graph need not see them. Called as one, the module can be replaced (`converted.classifier = nn.Sequential(…)`), its hooks
are its own, and it follows the training flag as it did.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from torch import fx

from mass.fx.network.calls import Call
from mass.fx.network.converted import Converted
from mass.fx.nodes import is_in_place
from mass.fx.plan import Plan
from mass.nn.graph.structure import Container, Slot, unpack


def call_heads_whole(traced: Converted, plan: Plan) -> bool:
    """Let the graph call containers that meet no map as one operation each, the outermost ones.

    Args:
        traced: a traced graph; it is changed.
        plan: of the same graph, or of a copy of it.

    Returns: whether there were any.
    """
    met = [n for n in plan.graph.graph.nodes if meets_map(n, plan)]
    meets, maps = {n.name for n in met}, {n.name for n, value in plan.values.items() if value is not None}
    converted = {m for n in met if n.op == "call_module" for m in traced.get_submodule(str(n.target)).modules()}
    inside = {call: call.inside(traced.graph) for call in traced.mass_calls}

    def is_whole(call: Call) -> bool:
        apart = converted.isdisjoint(traced.get_submodule(call.path).modules())
        return apart and _is_whole(call, inside[call], meets, maps)

    mixed = {call.path for call in inside if not is_whole(call)}
    done: list[tuple[Call, list[fx.Node]]] = []
    for call, nodes in sorted(inside.items(), key=lambda item: item[0].begins.tick):  # the outer ones first
        if call.path not in mixed and not any(_within(call, outer) for outer, _ in done):
            done.append((call, nodes))
    stands = {n.name: n for n in traced.graph.nodes}
    for call, nodes in done:
        _collapse(traced, call, nodes, stands)
    kept = [c for c in traced.mass_calls if not any(_within(c, outer) for outer, _ in done)]
    traced.mass_calls = tuple(call.renamed(lambda name: stands[name].name) for call in kept)
    _forget_uncalled(traced)
    traced.graph.lint()
    traced.recompile()
    return bool(done)


def meets_map(node: fx.Node, plan: Plan) -> bool:
    """Whether an operation reads or returns something that has positions, or was given an effect."""
    return node in plan.effects or any(plan.values.get(n) is not None for n in (node, *node.all_input_nodes))


def _is_whole(call: Call, nodes: list[fx.Node], meets: set[str], maps: set[str]) -> bool:
    """Whether a call can stand for the nodes inside of it."""
    if not (nodes and call.given.known and call.returned.known):
        return False
    within, results = set(nodes), set(call.returned.nodes)
    for node in nodes:
        read = [n for n in node.all_input_nodes if n not in within]
        if node.name in meets:
            return False
        if is_in_place(node) and read:
            return False  # it may write to what a map is read off
        if any(user not in within for user in node.users) and node.name not in results:
            return False  # a parameter that is read elsewhere too
    return bool(results & {n.name for n in nodes}) and not maps & set(call.given.nodes)


def _collapse(traced: Converted, call: Call, nodes: list[fx.Node], stands: dict[str, fx.Node]) -> None:
    """One node in the place of those inside of a call; `stands`: what stands for a node, by name."""
    graph, within = traced.graph, set(nodes)
    args, kwargs = unpack(call.given.structure, tuple(stands[name] for name in call.given.nodes))
    with graph.inserting_after(nodes[-1]):
        whole = following = graph.call_module(call.path, tuple(args), dict(kwargs))
    for index, path in _places(call.returned.structure):
        node, found = stands[call.returned.nodes[index]], whole
        if node not in within or not any(user not in within for user in node.users):
            continue
        for step in path:
            with graph.inserting_after(following):
                found = following = graph.call_function(operator.getitem, (found, step))
        node.replace_all_uses_with(found, delete_user_cb=lambda user: user not in within)
        stands[node.name] = found
    for node in reversed(nodes):
        if stands[node.name] is node:
            stands[node.name] = whole
        graph.erase_node(node)


def _within(one: Call, other: Call) -> bool:
    return other.begins.tick <= one.begins.tick and one.ends.tick <= other.ends.tick


def _places(structure: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Every slot of a structure, with the keys that lead to it."""
    if isinstance(structure, Slot):
        yield structure.index, ()
    elif isinstance(structure, Container):
        named = structure.names is not None and not issubclass(structure.cls, tuple)
        keys: Any = structure.names if named else range(len(structure.parts))
        for key, part in zip(keys, structure.parts, strict=True):
            for index, path in _places(part):
                yield index, (key, *path)


def _forget_uncalled(traced: Converted) -> None:
    """Remove what was added for operations that are called whole now."""
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    for name in [n for n, _ in traced.named_children() if n.startswith("mass_")]:
        if name not in called:
            delattr(traced, name)
