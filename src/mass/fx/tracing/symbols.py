"""Symbols: what a model is handed instead of tensors while it is traced.

A `torch.fx` proxy is no tensor to `isinstance`, so a model that asks takes another branch than it takes when it runs.
While a model is traced, `isinstance` answers for a symbol what it answers for the example's value. (A symbol must not say so
itself, by its `__class__`: torch's parser of arguments believes that, and reads a Python object as a tensor.) Symbols can be
counted and turned into numbers; what was answered so is noted in the graph (mass.fx.tracing.size_guards). They have no `__index__`, which
torch's parser would call only to see whether it is there.
"""

from __future__ import annotations

from typing import Any

from torch import fx

_OWN = ("tracer", "node", "root", "attr", "_node")


class Symbol(fx.Proxy):
    """A proxy that answers Python's questions as the example's value would."""

    def __getattr__(self, name: str) -> Any:
        protocol = name.startswith("__") and name.endswith("__")  # one that this class does not have
        if protocol or name in ("_is_param", "_is_buffer"):  # by which torch tells parameters from tensors
            raise AttributeError(name)
        return SymbolAttribute(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _OWN:  # weight.data = …, which a graph would lose
            raise fx.proxy.TraceError(f"'{name}' of a tensor is assigned, and a graph assigns none")
        object.__setattr__(self, name, value)

    def __len__(self) -> int:
        tracer: Any = self.tracer
        value = tracer.value_of(self)
        return tracer.parts(self) if isinstance(value, tuple | list) else tracer.number(self, len(value), "len")

    def __int__(self) -> int:
        tracer: Any = self.tracer
        return tracer.number(self, int, "int")

    def __float__(self) -> float:
        tracer: Any = self.tracer
        return tracer.number(self, float, "float")


class SymbolAttribute(Symbol):
    """An attribute of a symbol: a node of its own once it is used as anything but a method."""

    def __init__(self, root: Symbol, attribute: str) -> None:
        self.root, self.attr, self.tracer = root, attribute, root.tracer
        self._node: fx.Node | None = None

    @property
    def node(self) -> fx.Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)
