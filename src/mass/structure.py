"""Structured outputs: every value in them, with the path that leads there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of nested mappings, sequences, named tuples and dataclasses, in order, each with its path.

    >>> list(leaves({"scores": 1, "maps": [2, (3, 4)]}))
    [('scores', 1), ('maps[0]', 2), ('maps[1][0]', 3), ('maps[1][1]', 4)]
    """
    named: Any = None
    if isinstance(value, Mapping):
        named = value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        named = zip(value._fields, value, strict=True)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    if named is not None:
        for name, part in named:
            yield from leaves(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, part in enumerate(value):
            yield from leaves(part, f"{path}[{index}]")
    else:
        yield path, value
