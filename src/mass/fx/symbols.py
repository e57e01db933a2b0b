"""Symbols: what a model is handed instead of tensors while it is traced.

A `torch.fx` proxy is no tensor to `isinstance`, so a model that asks takes another branch than it takes when it runs.
A symbol says it is what the example's value is. It can be counted, turned into a number and used as an index; what was
answered so is noted in the graph (mass.fx.size_guards).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx


class Symbol(fx.Proxy):
    """A proxy that answers Python's questions as the example's value would."""

    def _class(self) -> type:
        """What `isinstance` sees where the type itself does not answer."""
        tracer: Any = self.tracer
        value = tracer.value_of(self)
        return Tensor if isinstance(value, Tensor) else Symbol if value is NotImplemented else type(value)

    __class__ = property(_class)

    def __getattr__(self, name: str) -> Any:
        protocol = name.startswith("__") and name.endswith("__")  # one that this class does not have
        if protocol or name in ("_is_param", "_is_buffer"):  # by which torch tells parameters from tensors
            raise AttributeError(name)
        return SymbolAttribute(self, name)

    def __len__(self) -> int:
        tracer: Any = self.tracer
        value = tracer.value_of(self)
        return len(value) if isinstance(value, tuple | list) else tracer.number(self, len(value), "len")

    def __int__(self) -> int:
        tracer: Any = self.tracer
        return tracer.number(self, int, "int")

    def __index__(self) -> int:
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
