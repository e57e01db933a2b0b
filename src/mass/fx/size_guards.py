"""Tracing through decisions: what a model decides by its input's size is decided by the example's, and guarded.

`torch.fx` hands a model symbols instead of tensors, so `if x.shape[2] % 32` cannot be answered. Here the question is put
to the example: sizes are computed on fake tensors, which have shapes and no values, and only when somebody asks. What
was decided is noted in the graph as a `Decision`, which refuses inputs for which the model would have decided
otherwise. Sizes themselves stay symbols: a size that reaches an operation's arguments is computed anew at each input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mass.fx.interpreter import plain
from mass.nn.guards import Decision, Make

_SCALARS = (bool, int, float, str, type(None))
_FACTORIES = ("empty", "zeros", "ones", "full", "arange", "linspace")  # do not know symbols among their arguments


def _decide(value: Any, outcome: bool, question: str) -> None:
    """Stands for a `Decision` while the graph is made."""


class SizedTracer(fx.Tracer):
    """An `fx.Tracer` that answers what depends on sizes alone from an example."""

    def __init__(self, inputs: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._inputs = [self._mode.from_tensor(v) if isinstance(v, Tensor) else v for v in inputs]
        self._values: dict[fx.Node, Any] = {}
        self._computing = False

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        with _factories(self):
            return super().trace(root, concrete_args)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """Arguments that the example leaves at their defaults are no inputs: a model may ask whether they were given."""
        function, args = super().create_args_for_root(root_fn, is_module, concrete_args)
        for place in range(len(self._inputs) + 1, len(args)):
            argument = args[place]
            if isinstance(argument, fx.Proxy) and argument.node.args and not argument.node.users:
                args[place] = argument.node.args[0]
                self.graph.erase_node(argument.node)
        return function, args

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self._computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = self._value(obj.node)
        if not isinstance(value, _SCALARS) or not self._from_sizes(obj.node):
            return super().to_bool(obj)
        question = f"{getattr(obj.node.target, '__name__', obj.node.target)}({', '.join(self._shown(obj.node))})"
        self.create_proxy("call_function", _decide, (obj, bool(value), question), {})
        return bool(value)

    def iter(self, obj: Any) -> Iterator:
        value = self._value(obj.node)
        if not isinstance(value, tuple | list):
            return super().iter(obj)
        return (obj[i] for i in range(len(value)))

    def _shown(self, node: fx.Node) -> list[str]:
        return [str(self._values.get(a, a) if isinstance(a, fx.Node) else a) for a in node.args]

    def _from_sizes(self, node: fx.Node) -> bool:
        """Whether a number follows from shapes: what asks for a dtype or a device must not freeze the answer."""
        seen, left = {node}, [node]
        while left:
            n = left.pop()
            if any(isinstance(self._values.get(a), Tensor) for a in n.all_input_nodes):
                asked = n.args[1] if n.target is getattr else n.target
                if asked not in ("shape", "ndim", "size", "dim", "numel"):
                    return False
                continue  # what the tensor was computed from is of no matter
            left += [a for a in n.all_input_nodes if a not in seen]
            seen.update(n.all_input_nodes)
        return True

    def _value(self, node: fx.Node) -> Any:
        """What a node is for the example: a number, a size, or a fake tensor; NotImplemented if it cannot be told."""
        needed, left = {node}, [node]
        while left:
            new = [n for n in left.pop().all_input_nodes if n not in needed and n not in self._values]
            needed.update(new)
            left += new
        self._computing = True
        try:
            with self._mode, torch.no_grad():
                for n in self.graph.nodes:
                    if n in needed and n not in self._values:
                        self._values[n] = self._compute(n)
        finally:
            self._computing = False
        return self._values[node]

    def _compute(self, node: fx.Node) -> Any:
        if any(self._values[n] is NotImplemented for n in node.all_input_nodes):
            return NotImplemented
        args, kwargs = plain(fx.node.map_arg((node.args, node.kwargs), self._values.__getitem__))
        target: Any = node.target
        try:
            if node.op == "placeholder":
                place = [n for n in self.graph.nodes if n.op == "placeholder"].index(node)
                return self._inputs[place] if place < len(self._inputs) else args[0]
            if node.op == "get_attr":
                value: Any = self.root
                for name in target.split("."):
                    value = object.__getattribute__(value, name) if name in vars(value) else getattr(value, name)
                return value
            if node.op == "call_module":
                module = self.root.get_submodule(target)
                modes = [(m, m.training) for m in module.modules()]
                module.eval()  # the shapes are the same, and normalisation of a single value is no error
                try:
                    return module(*args, **kwargs)
                finally:
                    for m, mode in modes:
                        m.training = mode
            return (
                getattr(args[0], target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)
            )
        except Exception:  # noqa: BLE001 - what fails here fails on the example itself, or not: trace on without an answer
            return NotImplemented


@contextmanager
def _factories(tracer: fx.Tracer) -> Iterator[None]:
    """Meanwhile functions that make tensors take symbols as sizes."""
    plain = {name: getattr(torch, name) for name in _FACTORIES}

    def symbolic(function: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            symbols: list[Any] = []
            torch.utils._pytree.tree_map(
                lambda v: symbols.append(v) if isinstance(v, fx.Proxy) else None, (args, kwargs)
            )
            return (
                tracer.create_proxy("call_function", function, args, kwargs) if symbols else function(*args, **kwargs)
            )

        return make

    for name, function in plain.items():
        setattr(torch, name, symbolic(function))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(torch, name, function)


def as_modules(module: fx.GraphModule) -> None:
    """Make decisions and factories submodules: a Python function as a node does not survive pickling."""
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        name = f"mass_{node.name.strip('_')}"
        if node.target is _decide:
            module.add_submodule(name, Decision(*node.args[1:]))
            node.args = node.args[:1]
        elif getattr(node.target, "__name__", "") in _FACTORIES and node.target is getattr(torch, node.target.__name__):
            module.add_submodule(name, Make(node.target.__name__))
        else:
            continue
        node.op, node.target = "call_module", name
