"""What a model returns its tensors in: named tuples, dataclasses, outputs of other libraries."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn


@dataclasses.dataclass(frozen=True)
class Slot:
    """The place of one value in a structure."""

    index: int


@dataclasses.dataclass(frozen=True)
class Container:
    """A mapping, a sequence or a dataclass: its class, the names of its parts if they have any, and the parts."""

    cls: type
    names: tuple[Any, ...] | None
    parts: tuple[Any, ...]


def pack(value: Any, is_value: Any, found: list[Any]) -> Any:
    """The structure of what a model returned, its values taken out in order.

    Args:
        value: what it returned.
        is_value: tells what is to be taken out.
        found: the values taken out so far; new ones are appended.
    """

    def parts(values: Any) -> tuple[Any, ...]:
        return tuple(pack(part, is_value, found) for part in values)

    if is_value(value):
        found.append(value)
        return Slot(len(found) - 1)
    if isinstance(value, Mapping):
        return Container(type(value), tuple(value), parts(value.values()))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Container(type(value), value._fields, parts(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = tuple(field.name for field in dataclasses.fields(value) if field.init)
        return Container(type(value), names, parts(getattr(value, name) for name in names))
    if isinstance(value, tuple | list):
        return Container(type(value), None, parts(value))
    return value


def unpack(structure: Any, values: tuple[Any, ...]) -> Any:
    """The structure with its values put back.

    >>> found = []
    >>> structure = pack({"scores": 1.5, "names": ("a", 2.5)}, lambda value: isinstance(value, float), found)
    >>> found, unpack(structure, (10, 20))
    ([1.5, 2.5], {'scores': 10, 'names': ('a', 20)})
    """
    if isinstance(structure, Slot):
        return values[structure.index]
    if not isinstance(structure, Container):
        return structure
    parts = [unpack(part, values) for part in structure.parts]
    if structure.names is None:
        return structure.cls(parts)
    if structure.cls is dict or not all(isinstance(name, str) for name in structure.names):
        return structure.cls(zip(structure.names, parts, strict=True))
    return structure.cls(**dict(zip(structure.names, parts, strict=True)))


def packed_leaves(structure: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """As `mass.structure.leaves` of what `unpack` would make of it, without making it.

    >>> list(packed_leaves(pack({"scores": 1.5, "maps": (2.5,)}, lambda value: isinstance(value, float), [])))
    [('scores', Slot(index=0)), ('maps[0]', Slot(index=1))]
    """
    if not isinstance(structure, Container):
        yield path, structure
        return
    for k, part in enumerate(structure.parts):
        if structure.names is None:
            yield from packed_leaves(part, f"{path}[{k}]")
        else:
            yield from packed_leaves(part, f"{path}.{structure.names[k]}" if path else str(structure.names[k]))


class Rebuild(nn.Module):
    """Puts values into the structure that the model returned them in: the last node of a converted network, if any."""

    def __init__(self, structure: Any) -> None:
        super().__init__()
        self.structure = structure

    def forward(self, *values: Any) -> Any:
        return unpack(self.structure, values)
