"""How rules see an operation (`Site`) and what they say of it (`Effect`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from mass.axes import POSITIONS, Pair
from mass.errors import NotEquivariantError
from mass.fx.lattice import Grid, stride


@dataclass
class Effect:
    """What an operation does.

    Attributes:
        value: what it returns: a `Grid`, None for anything without positions, a tuple of these.
        period: the period with which it commutes with shifts; (1, 1) with all.
        swap: the module to call instead, or None to leave the operation as it is.
        inputs: the nodes given to `swap`, the map first.
        change, breaks: what conversion changes, and what breaks the plain model, in words.
        up: the factor by which it enlarges the map.
        cells: for an operation whose period depends on the map's size, how many periods the map holds.
        uniform: whether it returns a map-sized tensor that is the same at all positions.
        resizes: whether `up` follows from the map's size, as that of a resize to another map's size does.
        folds: whether it takes up the padding put before its map.
    """

    value: Any
    period: Pair = (1, 1)
    swap: nn.Module | None = None
    inputs: tuple = ()
    change: str = ""
    breaks: str = ""
    up: Pair = (1, 1)
    cells: Pair | None = None
    uniform: bool = False
    resizes: bool = False
    folds: bool = False


@dataclass
class Site:
    """A node with what a rule wants to know of it."""

    node: fx.Node
    module: nn.Module | None
    values: dict[fx.Node, Any]
    image: Pair  # height and width of the network's input

    def __post_init__(self) -> None:
        self.map: Any = next((self.values.get(n) for n in self.node.all_input_nodes if self.values.get(n)), None)

    def refuse(self, reason: str, remedy: str = "") -> NotEquivariantError:
        return NotEquivariantError(self.node.name, reason, remedy)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument of a functional call; of a module, the attribute of that name."""
        if self.module is not None:
            return getattr(self.module, name, default)
        args, kwargs = self.node.args, self.node.kwargs
        if name == "dim" and "axis" in kwargs:
            name = "axis"
        return concrete(args[position] if len(args) > position else kwargs.get(name, default))

    @property
    def kind(self) -> str:
        """What is called: a module's class, a function's plain name."""
        return name_of(self.node) if self.module is None else type(self.module).__name__

    @property
    def input(self) -> fx.Node:
        return self.node.args[0] if self.node.args else next(iter(self.node.kwargs.values()))  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.input.meta["shape"]

    @property
    def sizes(self) -> Pair:
        """Height and width of the map that goes in, when every border wraps: the input's over the total stride."""
        total = stride(self.map.lattice)
        return self.image[0] // total[0], self.image[1] // total[1]

    def image_axes(self, axes: int | None = 2) -> None:
        """Operations on windows of so many axes work on the last ones, others with channels on axis 1: refuse other maps."""
        rank = len(self.shape)
        last = isinstance(self.map, Grid) and self.map.dims == POSITIONS.get(rank)
        if last and rank - 1 == axes:
            reason = f"an operation on {axes} axes takes the {self.shape[0]} rows of {self.shape} for channels"
            raise Outright(self.node.name, reason, "add the batch axis to the example with x[None]")
        if not last or axes not in (None, rank - 2):
            where = f"a map whose rows and columns are not axes 2 and 3 of {self.shape}"
            if axes != 2:
                where = f"a map whose positions are not the last axes of {self.shape}"
            raise self.refuse(f"a windowed operation on {where}")


class Outright(NotEquivariantError):
    """A refusal that the whole map as period (mass.fx.rules.whole_map) would not mend."""


_DISPATCHED = {  # their __name__ is 'fn'
    getattr(F, name): name for kind in ("max_pool", "adaptive_max_pool") for name in (f"{kind}{n}d" for n in (1, 2, 3))
}
_ALIASES = {"iadd": "add", "imul": "mul", "isub": "sub", "itruediv": "truediv", "concat": "cat"}


def concrete(argument: Any) -> Any:
    """An argument with the values that sizes and numbers computed in the graph had on the example input."""
    return fx.node.map_arg(argument, lambda n: n.meta.get("value", n))


def name_of(node: fx.Node) -> str:
    """The plain name of a called function or method: 'add' for +, += and torch.add_."""
    target: Any = node.target
    name = str(_DISPATCHED.get(target) or getattr(target, "__name__", target))  # the target of a method is its name
    name = name if name.startswith("_") else name.rstrip("_")
    return _ALIASES.get(name, name)


def is_in_place(node: fx.Node, module: nn.Module | None = None) -> bool:
    """Whether an operation writes to a tensor that others may read."""
    if node.op == "call_module":
        return bool(getattr(module, "inplace", False))
    name = getattr(node.target, "__name__", str(node.target))
    written = bool(node.kwargs.get("inplace")) or "out" in node.kwargs
    return written or (name.endswith("_") and not name.endswith("__")) or name in ("iadd", "imul", "isub", "itruediv")


def recast(module: nn.Module, cls: type[nn.Module]) -> nn.Module:
    """The same module (parameters, hooks, training flag) with another forward."""
    new = cls.__new__(cls)
    new.__dict__ = module.__dict__
    return new


class UnequalWindows(NotEquivariantError):
    """Adaptive pooling whose windows differ in size; `multiple`: what the input's height and width must be multiples of."""

    multiple: Pair = (1, 1)

    def needing(self, multiple: Pair) -> UnequalWindows:
        self.multiple = multiple
        return self


Rule = Callable[[Site], Effect]
