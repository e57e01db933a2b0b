"""Calls of modules that consist of other modules: where in the graph they begin and end.

A graph holds operations, and of the containers around them (`layer4`, a block) only what they did. A call remembers the
rest: which nodes were given to a container and which it returned. So hooks on containers can be run at their places
(mass.fx.network.hooks), and containers in which nothing is converted are called whole (mass.fx.heads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from mass.nn.graph.structure import Container, Slot, pack

_PLAIN = (bool, int, float, complex, str, slice, type(None), type, torch.dtype, torch.device, torch.memory_format)


@dataclass(frozen=True)
class Packed:
    """A value in which nodes stand for tensors: its structure, and the nodes by name.

    Attributes:
        known: whether that is all of it, or it holds objects that a graph does not see into.
    """

    structure: Any
    nodes: tuple[str, ...]
    known: bool = True

    def renamed(self, name: Callable[[str], str]) -> Packed:
        return replace(self, nodes=tuple(map(name, self.nodes)))


@dataclass(frozen=True)
class Moment:
    """A moment while the model ran: behind which node, and before or after other moments behind the same."""

    behind: str
    tick: int


@dataclass(frozen=True)
class Call:
    """One call of a container.

    Attributes:
        path: the module's.
        begins, ends: when the call began and when it was over.
        given: its (args, kwargs); returned: its result.
    """

    path: str
    begins: Moment
    ends: Moment
    given: Packed
    returned: Packed

    def renamed(self, name: Callable[[str], str]) -> Call:
        """The same call where nodes have other names."""
        begins, ends = (Moment(name(m.behind), m.tick) for m in (self.begins, self.ends))
        return Call(self.path, begins, ends, self.given.renamed(name), self.returned.renamed(name))

    def inside(self, graph: fx.Graph) -> list[fx.Node]:
        """The nodes between its begin and its end."""
        found, within = [], False
        for node in graph.nodes:
            if within:
                found.append(node)
            within = within or node.name == self.begins.behind
            if node.name == self.ends.behind:
                break
        return found


def packed(value: Any) -> Packed:
    """A value made while tracing, with the nodes of its symbols."""
    symbols: list[Any] = []
    structure = pack(value, lambda part: issubclass(type(part), fx.Proxy), symbols)
    known = all(isinstance(part, (Slot, Container, *_PLAIN)) for part in _parts(structure))
    return Packed(structure if known else None, tuple(symbol.node.name for symbol in symbols), known)


def _parts(structure: Any) -> Iterator[Any]:
    yield structure
    if isinstance(structure, Container):
        for part in structure.parts:
            yield from _parts(part)
