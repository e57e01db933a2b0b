"""Tracing through decisions: what a model decides by its input's size is decided by the example's, and guarded.

`torch.fx` hands a model symbols instead of tensors, so `if x.shape[2] % 32` cannot be answered. Here the question is put
to the example: what a symbol stands for is computed from it, in eval mode and only when somebody asks. What was decided
is noted in the graph as a `Decision`, which refuses inputs for which the model would have decided otherwise. Sizes
themselves stay symbols: a size that reaches an operation's arguments is computed anew at each input. What follows from
the values of a tensor is never answered.
"""

from __future__ import annotations

import builtins
import threading
from builtins import len as count  # while a model is traced, the name means another
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from mass.fx.interpreter import plain
from mass.fx.nodes import CUTS, cut_along, name_of
from mass.fx.tracing.symbols import Symbol, SymbolAttribute
from mass.nn.graph.guards import Decision, Make
from mass.structure import leaves

_SCALARS = (bool, int, float, str, type(None))
_FACTORIES = ("empty", "zeros", "ones", "full", "arange", "linspace")  # do not know symbols among their arguments
_LIMITS = ("finfo", "iinfo")  # nor do these: torch.finfo(y.dtype).min
# What may be asked of a tensor: none of it depends on its values.
_ASKED = {"shape", "ndim", "size", "dim", "numel", "nelement", "dtype", "device", "layout", "is_cuda", "is_sparse",
          "is_floating_point", "is_complex", "is_contiguous", "requires_grad", "element_size", "itemsize", "stride"}  # fmt: skip
_tracing = threading.RLock()  # torch.fx patches torch.nn.Module for all threads


def _decide(value: Any, outcome: Any, question: str) -> None:
    """Stands for a `Decision` while the graph is made."""


class SizedTracer(fx.Tracer):
    """An `fx.Tracer` that answers what does not depend on values from an example."""

    proxy_buffer_attributes = True  # what is computed from buffers follows them, as it follows parameters
    gives_example = True  # and calls a converted network in the example's order

    def __init__(self, inputs: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self._inputs = inputs
        self._values: dict[fx.Node, Any] = {}
        self._computing = False

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Symbol(node, self)

    def create_arg(self, a: Any) -> Any:
        return a.node if issubclass(type(a), fx.Proxy) else super().create_arg(a)  # a symbol says it is a tensor

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        with _tracing, _factories(self):
            return super().trace(root, concrete_args)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self._computing else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self._computing else super().getattr(attr, attr_val, parameter_proxy_cache)

    def to_bool(self, obj: fx.Proxy) -> bool:
        value = self._value(obj.node)
        if isinstance(value, tuple | list | dict):  # `if shape:`
            return self._decided(obj, bool(value), "bool")
        if not isinstance(value, _SCALARS) or not self._asked(obj.node):
            return super().to_bool(obj)
        return self._decided(obj, bool(value), "")

    def number(self, obj: fx.Proxy, kind: type, name: str) -> Any:
        """A symbol's number for the example, which other inputs must give too."""
        value = self._value(obj.node)
        if not isinstance(value, int | float) or not self._asked(obj.node):
            raise fx.proxy.TraceError(f"the values of tensors are not known while tracing, {name}() asks for one")
        return self._decided(obj, kind(value), name)

    def value_of(self, obj: fx.Proxy) -> Any:
        """What a symbol stands for, for the example; NotImplemented if that cannot be told."""
        return self._value(obj.node)

    def _decided(self, obj: fx.Proxy, outcome: Any, name: str) -> Any:
        asked = f"{getattr(obj.node.target, '__name__', obj.node.target)}({', '.join(self._shown(obj.node))})"
        self.create_proxy("call_function", _decide, (obj, outcome, f"{name}({asked})" if name else asked), {})
        return outcome

    def iter(self, obj: Any) -> Iterator:
        if not isinstance(self._value(obj.node), tuple | list):
            return super().iter(obj)
        return (obj[i] for i in range(self.parts(obj)))

    def parts(self, obj: Any) -> int:
        """How many values a tuple or list has for the example; other inputs must give as many parts of a tensor."""
        number = count(self._value(obj.node))
        node = obj.node
        if name_of(node) in CUTS and cut_along(node) != 1:
            self._decided(self.create_proxy("call_function", count, (obj,), {}), number, "")
        return number

    def _shown(self, node: fx.Node) -> list[str]:
        values = [(a, self._values.get(a, a)) if isinstance(a, fx.Node) else (a, a) for a in node.args]
        return [str(a if any(isinstance(part, Tensor) for _, part in leaves(v)) else v) for a, v in values]

    def _asked(self, node: fx.Node) -> bool:
        """Whether a number follows from what tensors are, and not from their values."""
        seen, left = {node}, [node]
        while left:
            n = left.pop()
            if any(isinstance(self._values.get(a), Tensor) for a in n.all_input_nodes):
                asked = n.args[1] if n.target is getattr else n.target
                if asked not in _ASKED:
                    return False
                continue  # what the tensor was computed from is of no matter
            left += [a for a in n.all_input_nodes if a not in seen]
            seen.update(n.all_input_nodes)
        return True

    def _value(self, node: fx.Node) -> Any:
        """What a node is for the example; NotImplemented if it cannot be told."""
        needed, left = {node}, [node]
        while left:
            new = [n for n in left.pop().all_input_nodes if n not in needed and n not in self._values]
            needed.update(new)
            left += new
        self._computing = True
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
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
                value = self._inputs[place]
                return value.clone() if isinstance(value, Tensor) else value  # the model may write to it
            if node.op == "get_attr":
                owner: Any = self.root
                for name in target.split("."):
                    owner = object.__getattribute__(owner, name) if name in vars(owner) else getattr(owner, name)
                return owner.detach().clone() if isinstance(owner, Tensor) else owner
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
    """Meanwhile functions that make tensors take symbols as sizes, and those that tell a dtype's limits one as a dtype."""
    plain = {name: getattr(torch, name) for name in (*_FACTORIES, *_LIMITS)}
    is_instance, numbers = builtins.isinstance, builtins.range

    def symbolic_isinstance(value: Any, kinds: Any) -> bool:
        if is_instance(value, kinds):
            return True
        return type(value) in (Symbol, SymbolAttribute) and is_instance(value.tracer.value_of(value), kinds)

    def symbolic_len(value: Any) -> Any:
        """Of a tensor, a size that may change; of a shape, how many axes there are."""
        is_symbol = type(value) in (Symbol, SymbolAttribute)
        return value.shape[0] if is_symbol and is_instance(value.tracer.value_of(value), Tensor) else count(value)

    class Range(type):
        """Of `range`, which many ask for as a type."""

        def __call__(cls, *bounds: Any) -> range:
            return numbers(*(int(bound) if type(bound) in (Symbol, SymbolAttribute) else bound for bound in bounds))

        def __instancecheck__(cls, value: Any) -> bool:
            return is_instance(value, numbers)

    symbolic_range = Range("range", (), {})

    def symbolic(function: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            symbols: list[Any] = []
            torch.utils._pytree.tree_map(
                lambda v: symbols.append(v) if issubclass(type(v), fx.Proxy) else None, (args, kwargs)
            )
            return (
                tracer.create_proxy("call_function", function, args, kwargs) if symbols else function(*args, **kwargs)
            )

        return make

    for name, function in plain.items():
        setattr(torch, name, symbolic(function))
    builtins.len, builtins.isinstance = symbolic_len, symbolic_isinstance
    builtins.range = symbolic_range  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        builtins.len, builtins.isinstance = count, is_instance
        builtins.range = numbers  # type: ignore[misc]
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
        elif getattr(node.target, "__name__", "") in (*_FACTORIES, *_LIMITS) and node.target is getattr(
            torch, node.target.__name__
        ):
            module.add_submodule(name, Make(node.target.__name__))
        else:
            continue
        node.op, node.target = "call_module", name
