"""What a converted `nn.Sequential` is as a container: the original's modules, in their places, and none of what conversion added.

Modules can be read and, behind the last map, replaced (mass.fx.network.places). The graph calls what was there when it was
converted, so nothing can be added, taken out or cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from mass.errors import NotEquivariantError


def _names(self: nn.Module) -> list[str]:
    return [name for name in self._modules if not name.startswith("mass_")]


def _len(self: nn.Module) -> int:
    return len(_names(self))


def _iter(self: nn.Module) -> Iterator[Any]:
    return iter([self._modules[name] for name in _names(self)])


def _getitem(self: nn.Module, index: int | slice) -> Any:
    if isinstance(index, slice):
        reason = "a part of a converted network is not converted for itself"
        raise NotEquivariantError("", reason, "convert that part of the original")
    return self._modules[_names(self)[index]]


def _setitem(self: nn.Module, index: int, module: nn.Module) -> None:
    setattr(self, _names(self)[index], module)


def _refused(name: str) -> Callable[..., Any]:
    def refuse(self: nn.Module, *_: Any, **__: Any) -> Any:
        reason = f"{name} would change which modules run, and a converted network calls those that were converted"
        raise NotEquivariantError("", reason, "change the original, then convert it")

    return refuse


CONTAINER: dict[str, Any] = {
    "__len__": _len,
    "__iter__": _iter,
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    **{
        name: _refused(name)
        for name in (
            "__delitem__",
            "__add__",
            "__iadd__",
            "__mul__",
            "__rmul__",
            "__imul__",
            "append",
            "extend",
            "insert",
            "pop",
        )
    },
}
