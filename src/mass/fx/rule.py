"""Rules: all that the library knows of an operation, said in one place.

    @rule(modules=[nn.PixelUnshuffle], functions=["pixel_unshuffle"], arguments=("input", "downscale_factor"))
    def pixel_unshuffle(site):
        r = site.argument("downscale_factor")
        return Effect(site.map, period=(r, r), change="origin from the features", breaks="samples a fixed grid")

A rule is a function that reads one node of the traced graph (`Site`) and says what it does to the lattice of its map and
what stands for it in a converted network (`Effect`); the decorator says which modules and functions it is for, and what
is true of every call (`Operation`). It changes nothing itself: `infer` collects effects, `rewrite` carries them out.
An operation without a rule, or one that its rule refuses, has the whole map as its period (mass.fx.rules.whole_map):
nothing is assumed to commute with shifts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn

from mass.axes import POSITIONS, Pair, pair_of
from mass.errors import NotEquivariantError
from mass.fx.lattice import Grid, stride
from mass.fx.nodes import concrete, module_of, name_of, place_of
from mass.marks import marked_period

FROM_FEATURES = "origin from the features"  # what conversion changes
FRAME = "samples a fixed grid"  # and what breaks the plain model


@dataclass(frozen=True)
class Recast:
    """The same module (parameters, hooks, training flag) with another forward, and attributes that this one reads."""

    cls: type[nn.Module]
    attributes: tuple[tuple[str, Any], ...] = ()

    def of(self, module: nn.Module) -> nn.Module:
        new = self.cls.__new__(self.cls)
        new.__dict__ = module.__dict__
        for name, value in self.attributes:
            setattr(new, name, value)
        return new


@dataclass
class Effect:
    """What one call of an operation does, and what is to be called instead.

    Attributes:
        value: what it returns: a `Grid`, None for anything without positions, a tuple of these.
        period: the period with which it commutes with shifts; (1, 1) with all.
        swap: the module to call instead, or what its module becomes, or None to leave the operation as it is.
        inputs: the nodes given to `swap`, the map first.
        parts: children of its module to be replaced, by their names.
        change, breaks: what conversion changes, and what breaks the plain model, in words.
        up: the factor by which it enlarges the map.
        cells: for an operation whose period depends on the map's size, how many periods the map holds.
        uniform: whether it returns a map-sized tensor that is the same at all positions.
        resizes: whether `up` follows from the map's size, as that of a resize to another map's size does.
        takes_origin: whether `swap` can be given the origin of its map instead of the map moved there.
    """

    value: Any
    period: Pair = (1, 1)
    swap: nn.Module | Recast | None = None
    inputs: tuple = ()
    parts: Mapping[str, nn.Module] = field(default_factory=dict)
    change: str = ""
    breaks: str = ""
    up: Pair = (1, 1)
    cells: Pair | None = None
    uniform: bool = False
    resizes: bool = False
    takes_origin: bool = False

    @property
    def spreads_one_position(self) -> bool:
        """Whether its period is the whole map, of a single position: it needs no origin here, and where there are more it would."""
        return self.cells == self.period == (1, 1) and self.value is None


@dataclass(frozen=True)
class Operation:
    """What a rule says of every call of its operation.

    Attributes:
        rule: what one call does.
        arguments: the names of a function's arguments, in order; a module has attributes of these names.
        weights: those that are parameters, not maps that must lie on the lattice of the first.
        axes: along how many axes it works, where there is one operation for each number.
        becomes: the class of modules that stands for it in a converted network.
        takes_padding: whether padding put directly before it is the border of its windows.
        takes_origin: whether what it becomes can be given the origin of its map instead of the map moved there.
        reads_indices: whether it reads the indices that a max pooling returned.
        takes_tuples: whether it reads a tuple of maps.
        reshapes: whether it only reads memory as another shape, so that tokens may become rows and columns by it.
        of_constant: what a call does with a tensor (B, C, 1, 1), which is no map: the same at all positions, say.
    """

    rule: Callable[[Site], Effect]
    arguments: tuple[str, ...] = ("input",)
    weights: tuple[str, ...] = ()
    axes: int | None = None
    becomes: type[nn.Module] | None = None
    takes_padding: bool = False
    takes_origin: bool = False
    reads_indices: bool = False
    takes_tuples: bool = False
    reshapes: bool = False
    of_constant: Callable[[Site], Effect] | None = None


@dataclass
class Site:
    """One call of an operation, with what a rule wants to know of it.

    Attributes:
        node: in the traced graph; operation: what is known of it, None if nothing is.
        values: what every node before it returns, as `Effect.value`.
        image: height and width of the network's input.
        map: the first of the maps that it reads.
    """

    node: fx.Node
    operation: Operation | None
    values: Mapping[fx.Node, Any]
    image: Pair

    def __post_init__(self) -> None:
        self.module = module_of(self.node)
        self.map: Any = next((self.values.get(n) for n in self.node.all_input_nodes if self.values.get(n)), None)

    def refuse(self, reason: str, remedy: str = "") -> NotEquivariantError:
        return NotEquivariantError(place_of(self.node), reason, remedy)

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument of a functional call; of a module, the attribute of that name."""
        if self.module is not None:
            return getattr(self.module, name, default)
        return concrete(self.given(name, default))

    def given(self, name: str, default: Any = None) -> Any:
        """An argument of a functional call as it stands in the graph; sizes are nodes there."""
        args, kwargs = self.node.args, self.node.kwargs
        names = self.operation.arguments if self.operation is not None else ()
        if name in names[: len(args)]:
            return args[names.index(name)]
        return kwargs.get("axis" if name == "dim" and "axis" in kwargs else name, default)

    @property
    def axes(self) -> int:
        """Along how many axes it works."""
        assert self.operation is not None and self.operation.axes is not None
        return self.operation.axes

    @property
    def becomes(self) -> Any:
        """The class of modules that stands for it in a converted network."""
        assert self.operation is not None and self.operation.becomes is not None
        return self.operation.becomes

    @property
    def kind(self) -> str:
        """What is called, for sentences: a module's class, a function's plain name."""
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
        total, fine = stride(self.map.lattice), self.map.fine
        return self.image[0] * fine[0] // total[0], self.image[1] * fine[1] // total[1]

    def image_axes(self, axes: int | None = 2) -> None:
        """Operations on windows of so many axes work on the last ones, others with channels on axis 1: refuse other maps."""
        rank = len(self.shape)
        last = isinstance(self.map, Grid) and self.map.dims == POSITIONS.get(rank)
        if last and rank - 1 == axes:
            reason = f"an operation on {axes} axes takes the {self.shape[0]} rows of {self.shape} for channels"
            raise Outright(place_of(self.node), reason, "add the batch axis to the example with x[None]")
        if not last or axes not in (None, rank - 2):
            where = f"a map whose rows and columns are not axes 2 and 3 of {self.shape}"
            if axes != 2:
                where = f"a map whose positions are not the last axes of {self.shape}"
            raise self.refuse(f"a windowed operation on {where}")


class Outright(NotEquivariantError):
    """A refusal that the whole map as period (mass.fx.rules.whole_map) would not mend."""


def across_images(site: Site) -> Outright:
    """The refusal of an operation that reads one position in several images: their origins differ, and so do those positions."""
    reason = f"'{site.kind}' works across images at each position, and their maps lie at origins of their own"
    return Outright(place_of(site.node), reason, "pool over positions before it, or let it work on one image")


class UnequalWindows(NotEquivariantError):
    """Adaptive pooling whose windows differ in size; `multiple`: what the input's height and width must be multiples of."""

    multiple: Pair = (1, 1)

    def needing(self, multiple: Pair) -> UnequalWindows:
        self.multiple = multiple
        return self


_FUNCTIONS: dict[str, Operation] = {}  # by plain name (mass.fx.nodes.name_of)
_MODULES: dict[
    type[nn.Module] | str, Operation
] = {}  # by class, or by the name of a class of another library, with its module or without
_SUBCLASSES: dict[type[nn.Module], Operation] = {}  # classes whose subclasses are one operation each


def rule(
    *,
    modules: Iterable[type[nn.Module] | str] = (),
    functions: Iterable[str] = (),
    subclasses: Iterable[type[nn.Module]] = (),
    **options: Any,
) -> Callable[[Callable[[Site], Effect]], Callable[[Site], Effect]]:
    """Make a function the rule of an operation; several decorators for variants that differ in what is said of them.

    Args:
        modules: classes of modules, exactly these, or names of classes of other libraries; both are traced as a whole.
        functions: plain names of functions and methods: 'add' stands for +, +=, torch.add and Tensor.add_.
        subclasses: classes of which all subclasses are traced as a whole, by this rule unless they have their own.
        options: fields of `Operation`.

    Raises:
        ValueError: for what has a rule already.
    """

    def register(function: Callable[[Site], Effect]) -> Callable[[Site], Effect]:
        operation = Operation(function, **options)
        for table, keys in ((_MODULES, modules), (_FUNCTIONS, functions), (_SUBCLASSES, subclasses)):
            for key in keys:
                if key in table:
                    raise ValueError(f"{key} has a rule already.")
                table[key] = operation  # type: ignore[index]
        return function

    return register


def operation_of_module(module: nn.Module) -> Operation | None:
    """What is known of a module, by its class."""
    cls = type(module)
    found = _MODULES.get(cls) or _MODULES.get(cls.__name__) or _MODULES.get(f"{cls.__module__}.{cls.__name__}")
    return found or next((operation for cls, operation in _SUBCLASSES.items() if isinstance(module, cls)), None)


def operation_of(node: fx.Node) -> Operation | None:
    """What is known of the operation that a node calls; marks come first (mass.mark_leaf)."""
    module = module_of(node)
    if module is None:
        return _FUNCTIONS.get(name_of(node)) if node.op in ("call_function", "call_method") else None
    return _MARKED if marked_period(module) is not None else operation_of_module(module)


def _marked(site: Site) -> Effect:
    """Modules whose class was marked as one operation of a known period."""
    period = marked_period(site.module) if site.module is not None else None
    assert period is not None
    shape, value = site.node.meta["shape"], site.map
    if shape is None:
        raise site.refuse(
            f"a marked {site.kind} that returns neither a tensor nor a tuple of tensors", "return a tuple"
        )
    if shape and isinstance(shape[0], tuple):
        value = tuple(site.map if len(part) == len(site.shape) else None for part in shape)
    return Effect(value, pair_of(period, len(site.map.dims)), breaks="" if period == 1 else FRAME)


_MARKED = Operation(_marked)
