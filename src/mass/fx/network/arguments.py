"""What a converted network is called with: the original's arguments, in its order, with its defaults, some of them fixed."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from torch import Tensor

from mass.errors import NotEquivariantError
from mass.fx.network.autocast import require_no_autocast


def signature_of(network: Any) -> inspect.Signature:
    """The original's arguments, in its order and not in the example's; `self` first."""
    inputs = {
        str(n.target): (*n.args, inspect.Parameter.empty)[0] for n in network.graph.nodes if n.op == "placeholder"
    }
    names = network.mass_positional or tuple(inputs)
    named = [name for name in names if name in inputs or name in network.mass_fixed]
    defaults = {**network.mass_fixed, **inputs}
    first = next((k for k, name in enumerate(named) if defaults[name] is not inspect.Parameter.empty), len(named))
    kinds = inspect.Parameter
    parameters = [kinds("self", kinds.POSITIONAL_OR_KEYWORD)]
    for k, name in enumerate(named):  # one without a default cannot stand behind one that has one
        default = None if k > first and defaults[name] is kinds.empty else defaults[name]
        parameters.append(kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=default))
    parameters += [kinds(name, kinds.KEYWORD_ONLY, default=defaults[name]) for name in inputs if name not in named]
    return inspect.Signature(parameters)


def bound(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The graph's inputs, of arguments that are given as the original takes them; refuses what the network does not hold for."""
    given_so = network.mass_positional[: len(args)]
    in_place = (
        not any(name in network.mass_fixed for name in given_so) and given_so == network.mass_graph_inputs[: len(args)]
    )
    if network.mass_graph_inputs and len(given_so) == len(args) and not in_place:
        args, kwargs = (), dict(zip(given_so, args, strict=True)) | kwargs
    for name in [name for name in kwargs if name in network.mass_fixed]:
        given, fixed = kwargs.pop(name), network.mass_fixed[name]
        if given is not fixed and not (isinstance(given, bool | int | float | str) and given == fixed):
            got = f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else repr(given)
            raise TypeError(
                f"{name} is {fixed!r} in this converted network, got {got}; convert the model with an example "
                f"that gives it: a dict of arguments, or a tuple."
            )
    if network.mass_looks_at_autocast:
        require_no_autocast(network.mass_looks_at_autocast)
    return args, kwargs


def image_of(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The example's first input, by place or by name."""
    place = network.mass_positional.index(network.mass_image) if network.mass_image in network.mass_positional else 0
    return kwargs.get(network.mass_image, args[place] if place < len(args) else None)


def require_order(network: Any) -> None:
    """Refuse exporters and other tracers, which run the graph alone, where its inputs are in another order than the model's arguments."""
    taken = [name for name in network.mass_positional if name in network.mass_graph_inputs]
    if taken != [name for name in network.mass_graph_inputs if name in taken]:
        reason = f"the example names {', '.join(network.mass_graph_inputs)} and the model takes {', '.join(taken)}, which would be mixed up"
        raise NotEquivariantError("", reason, "convert it with an example in the model's order")


def order_inputs(network: Any) -> None:
    """Put the graph's inputs into the order of the model's arguments, in which exporters and tracers give them."""
    nodes = list(network.graph.nodes)
    inputs, names = [n for n in nodes if n.op == "placeholder"], network.mass_positional
    inputs.sort(key=lambda n: names.index(str(n.target)) if n.target in names else len(names))
    optional = [bool(n.args) for n in inputs]
    if optional != sorted(optional):
        return  # Python has no argument without a default behind one that has one; `require_order` tells
    for node in reversed(inputs):
        if node is not next(iter(network.graph.nodes)):
            next(iter(network.graph.nodes)).prepend(node)
    if network.mass_blend is not None:
        rows = dict(zip(nodes, network.mass_blend.rows, strict=True))
        network.mass_blend = replace(network.mass_blend, rows=tuple(rows[n] for n in network.graph.nodes))
    network.mass_graph_inputs = tuple(str(n.target) for n in inputs)
    network.recompile()
