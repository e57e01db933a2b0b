"""The class of a converted network."""

from __future__ import annotations

import copy
import functools
import inspect
import types
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, fx, nn
from torch.fx.graph_module import _format_import_block, reduce_graph_module
from torch.package import sys_importer

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.fx.interpreter import Interpreter
from mass.fx.network.arguments import bound, image_of, order_inputs, require_order, signature_of
from mass.fx.network.blending import Blend, Blending
from mass.fx.network.calls import Call
from mass.fx.network.door import OnlySize, other_size, why_not
from mass.fx.network.hooks import Hooked, has_hooks, rebind_hooks
from mass.fx.network.likeness import Own, class_like, importable
from mass.fx.network.methods import follow
from mass.fx.network.output_lattice import OutputLattice
from mass.fx.network.places import Places
from mass.fx.network.stored import mark_stored
from mass.fx.network.tools import asked_when_compiled, keep_whole, refuse
from mass.nn.evaluating import modes_of, set_modes
from mass.nn.graph.entrance import Entrance

_BLENDS = "a network that blends has as many rows as an image has near ties, which no compiler can know"
_MARK = "mark the module that reads self.training with mass.mark_leaf"


class Converted(fx.GraphModule):
    """A model on its way through conversion, and what `mass.convert` returns: traced first, then rewritten in place.

    A `torch.fx.GraphModule` that is of the original's class too (mass.fx.network.likeness) and has its plain attributes. Copied or
    pickled it stays what it is, with the submodules that its graph does not call (auxiliary classifiers, say).

    Attributes:
        total_stride: what the input's height and width must be multiples of.
        mass_outputs: where its outputs lie, by their paths (`OutputLattice`): read by `mass.output_origins`.
        mass_fixed: arguments of the model that are no inputs of the converted network, with their values.
        mass_positional: the model's arguments that may be given by position; () until it is converted: the graph's inputs.
        mass_graph_inputs: the graph's inputs, in the order of the example, and of the model's arguments once it is converted.
        mass_image: the name of the example's first input.
        mass_evaluation_only: why it was converted for evaluation alone: what the model computes otherwise in training; or ''.
        mass_calls: of containers whose inside is in the graph.
        mass_stored: paths of modules and names of attributes that the model assigns in forward (mass.fx.network.stored).
        mass_places: the modules that must stay where they are.
        mass_networks: further methods of the model, each converted, by name (`methods=`).
        mass_example_shape: of the first input that it was converted with; () until then.
        mass_blend: how it averages over origins that nearly tie; None where it chooses one.
        mass_planes: of volumes that are equivariant in depth: by path of an output, its axis of planes, and how many it has for
            each of the volume; None of all other networks.
        mass_antialiased: whether it is `mass.antialias`'s, of operations that know no origin: it can be converted.
        mass_only_size: the one size of images that it was found to hold for; None where others do (mass.fx.verification.larger).
        mass_looks_at_autocast: types of devices for which the model turns autocast off or asks for it (mass.fx.network.autocast).
        mass_tied: of such a method: the modules of the network whose parameters it computes with.
    """

    total_stride: Pair = (1, 1)
    mass_outputs: Mapping[str, OutputLattice] = MappingProxyType({})
    mass_evaluation_only: str = ""
    mass_fixed: Mapping[str, Any] = MappingProxyType({})
    mass_positional: tuple[str, ...] = ()
    mass_graph_inputs: tuple[str, ...] = ()
    mass_image: str = ""
    mass_calls: tuple[Call, ...] = ()
    mass_stored: frozenset[tuple[str, str]] = frozenset()
    mass_places: Places | None = None
    mass_networks: Mapping[str, Converted] = MappingProxyType({})
    mass_example_shape: tuple[int, ...] = ()
    mass_blend: Blend | None = None
    mass_planes: Mapping[str, tuple[int, int]] | None = None
    mass_antialiased: bool = False
    mass_tied: dict[str, nn.Module] | None = None
    mass_only_size: OnlySize | None = None
    mass_looks_at_autocast: frozenset[str] = frozenset()

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Every network has a class of its own, for `torch.fx` puts `forward` on the class."""
        base = next(c for c in cls.__mro__ if "_of_one_network" not in vars(c))
        return object.__new__(types.new_class(base.__name__, (base,), {}, lambda d: d.update(_of_one_network=True)))

    def recompile(self) -> Any:
        """Generated code calls operations alone; here it is looked whether all is in its place, and containers' hooks run.

        Here and not in `__call__`, which compilers of what holds the network pass over.
        """
        code = super().recompile()
        generated: Any = type(self).forward
        me = weakref.ref(self)

        def refused() -> str:
            """Asked when this is compiled, and it is compiled anew where modules were replaced."""
            try:
                if (network := me()) is not None:
                    network._mass_require_places()
            except NotEquivariantError as refusal:
                return str(refusal).rstrip(".")
            return ""

        def before_export() -> None:
            if (network := me()) is not None:
                network._mass_before_export()

        asked_when_compiled(refused)
        for module in self._modules.values():
            if isinstance(module, Entrance):
                module.before_export = before_export

        @functools.wraps(generated)
        def forward(self: Converted, *args: Any, **kwargs: Any) -> Any:
            self._mass_require_modes()
            if torch.compiler.is_compiling():
                if reason := refused():
                    refuse(reason)
                args, kwargs = bound(self, args, kwargs)
            else:
                self._mass_require_places()
                tracers = {v.tracer for v in (*args, *kwargs.values()) if issubclass(type(v), fx.Proxy)}
                others = [tracer for tracer in tracers if not getattr(tracer, "gives_example", False)]
                for tracer in tracers:
                    keep_whole(tracer)
                if others:  # they give the graph's inputs
                    require_order(self)
                else:
                    args, kwargs = bound(self, args, kwargs)
            hooked = any(has_hooks(_at(self, call.path)) for call in self.mass_calls)
            if self.mass_blend is not None:
                if torch.compiler.is_compiling():
                    raise NotEquivariantError("", _BLENDS, "compile one that was converted without blend")
                if hooked:
                    reason = "hooks on containers cannot be run while a network blends: an image is several rows there"
                    raise NotEquivariantError("", reason, "register them on modules inside, or convert without blend")
                return self._mass_interpreted(Blending(self, self.mass_blend), *args, **kwargs)
            if hooked:
                return self._mass_interpreted(Hooked(self, self.mass_calls), *args, **kwargs)
            return generated(self, *args, **kwargs)

        forward.__signature__ = signature_of(self)  # type: ignore[attr-defined]
        type(self).forward = forward
        return code

    def _mass_interpreted(self, interpreter: Interpreter, *args: Any, **kwargs: Any) -> Any:
        inputs = {str(n.target): n for n in self.graph.nodes if n.op == "placeholder"}
        parameters = [
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=(*n.args, inspect.Parameter.empty)[0]
            )
            for name, n in inputs.items()
        ]
        given = inspect.Signature(parameters).bind(*args, **kwargs)
        given.apply_defaults()
        return interpreter.run(*given.args)

    def _mass_require_places(self) -> None:
        """Refuse a network in which modules were replaced where maps pass."""
        if self.mass_places is not None:
            self.mass_places.check(self)

    def _mass_require_modes(self) -> None:
        """Refuse parts in a mode that the network was not converted for; compilers read it, and compile anew where a mode changes."""
        if self.mass_evaluation_only:
            for call in self.mass_calls:
                if _at(self, call.path).training:
                    reason = f"'{call.path}' is in training mode, and the network was {self._mass_why_evaluation}"
                    raise NotEquivariantError("", reason, _MARK)

    @property
    def _mass_why_evaluation(self) -> str:
        return f"converted for evaluation alone: in training the model computes something else ({self.mass_evaluation_only})"

    def _mass_before_export(self) -> None:
        """An exporter runs the graph alone."""
        self._mass_require_places()
        self._mass_require_modes()
        require_order(self)
        if self.mass_blend is not None:
            raise NotEquivariantError("", _BLENDS, "export one that was converted without blend")
        if hooked := next((call.path for call in self.mass_calls if has_hooks(_at(self, call.path))), ""):
            raise NotEquivariantError(
                "", f"hooks on '{hooked}' would not be in an export", "remove them, or register them on modules inside"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the original; arguments that the example left at their defaults are fixed.

        Raises:
            TypeError: for another value of these, and for arguments that the model does not have.
            ValueError: for an input that the network does not take, and why.
        """
        if torch.compiler.is_compiling() or not self.mass_example_shape:
            return nn.Module.__call__(self, *args, **kwargs)
        try:
            return nn.Module.__call__(self, *args, **kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            dtype = next((p.dtype for p in self.parameters() if p.is_floating_point()), None)
            image, example = image_of(self, args, kwargs), self.mass_example_shape
            reason = why_not(image, example, self.total_stride, dtype)
            if not reason and not isinstance(error, ValueError):  # one of ours says more
                reason = other_size(image, example)
            if not reason or isinstance(error, NotEquivariantError):
                raise
            raise ValueError(f"{reason}.") from error

    def mass_run_method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """One of the model's further methods that were converted."""
        follow(self, self.mass_networks[name])
        return self.mass_networks[name](*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module) and self.__dict__.get("mass_places") is not None:
            self.mass_places.check_assignment(name, value)  # type: ignore[union-attr]
        super().__setattr__(name, value)

    def _replicate_for_data_parallel(self) -> Self:
        """A replica of its own class, into which its parent puts the replicas of its modules."""
        replica = object.__new__(type(self))
        tables = {"_parameters": {}, "_buffers": self._buffers.copy(), "_modules": self._modules.copy()}
        replica.__dict__.update(self.__dict__ | tables, _is_replica=True, mass_places=None)
        return replica

    def mass_adopt(self, model: nn.Module) -> None:
        """Take on a model's plain attributes and its own hooks."""
        hooks = {name for name in nn.Module().__dict__ if "_hooks" in name}
        ours = {"forward", *self.__dict__, *self._buffers, *Converted.__annotations__} - hooks
        for name, value in model.__dict__.items():
            if name in ours:
                continue
            if isinstance(value, types.MethodType) and value.__self__ is model:
                value = Own(value.__name__)
            self.__dict__[name] = value
        rebind_hooks(model, self)

    def mass_stand_for(self, model: nn.Module, image: Tensor, positional: tuple[str, ...]) -> None:
        """Be called as the model is, that image say, and have its training flags, in what conversion made too."""
        self.mass_example_shape, self.mass_positional = tuple(image.shape), positional
        self.mass_image = self.mass_graph_inputs[0]
        order_inputs(self)
        mark_stored(self)
        set_modes(self, modes_of(model))

    def mass_become(self, original: type) -> None:
        """Become an instance of the original's class as well."""
        made = class_like(original, Converted)
        if made is not None:
            self.__class__ = types.new_class(made.__name__, (made,), {}, lambda d: d.update(_of_one_network=True))
        for name, value in list(self.__dict__.items()):
            if isinstance(value, Own):
                self.__dict__[name] = getattr(self, value.method)
        self.recompile()

    def _state(self) -> dict[str, Any]:
        """What a copy takes along: not what the original was compiled to, which computes with the original's parameters."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_graph", "_compiled_call_impl")}

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        state = {name: copy.deepcopy(value, memo) for name, value in self._state().items()}
        graph = copy.deepcopy(self._graph, memo)
        type(result).__name__ = type(self).__name__
        result.__dict__.update(state)
        result.graph = graph
        return result

    def __copy__(self) -> Any:
        result = type(self).__new__(type(self))
        type(result).__name__ = type(self).__name__
        result.__dict__.update(self._state())
        for name in ("_modules", "_parameters", "_buffers"):
            result.__dict__[name] = dict(self.__dict__[name])
        result.graph = copy.deepcopy(self._graph)
        return result

    def __reduce__(self) -> tuple:
        """Code instead of a graph, as `torch.fx` does it; nodes by number, for their names are made anew."""
        order = {n.name: str(k) for k, n in enumerate(self.graph.nodes)}
        state = self._state()
        state["mass_calls"] = tuple(call.renamed(order.__getitem__) for call in self.mass_calls)
        block = _format_import_block(self.recompile().globals, sys_importer)
        original = next((c for c in type(self).__mro__ if "_stands_for" in vars(c)), None)
        like = importable(vars(original)["_stands_for"]) if original is not None else None
        return _blank, (like, type(self).__name__), (state, block, len(order))

    def __setstate__(self, state: Any) -> None:
        kept, block, count = state
        plain: Any = reduce_graph_module({**kept, "_tracer_cls": _Again}, block)
        names = [n.name for n in plain.graph.nodes]
        calls = kept.pop("mass_calls")
        self.__dict__.update(kept)
        self.__dict__["mass_calls"] = (
            tuple(c.renamed(lambda k: names[int(k)]) for c in calls) if len(names) == count else ()
        )
        self.graph = plain.graph

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for network in self.mass_networks.values():
            for name, module in network.named_children():
                if name.startswith("mass_"):
                    module._apply(fn)
            own = {n: fn(b) for n, b in network._buffers.items() if n not in self._buffers and b is not None}
            network._buffers.update(own)
        return self

    def train(self, mode: bool = True) -> Self:
        """As `torch.nn.Module.train`; refused where the model computes something else in training than was converted."""
        if mode and self.mass_evaluation_only:
            raise NotEquivariantError("", self._mass_why_evaluation, _MARK)
        return super().train(mode)


class _Again(fx.Tracer):
    """Traces a graph's code anew where it was pickled: buffers are read when it runs, as parameters are."""

    proxy_buffer_attributes = True


def _at(root: nn.Module, path: str) -> nn.Module:
    """`root.get_submodule(path)`, which takes six times as long, of a path that is there."""
    for name in filter(None, path.split(".")):
        root = root._modules[name]  # type: ignore[assignment]
    return root


def _blank(original: type | None, name: str) -> Converted:
    """An empty network like those of a class."""
    made: Any = class_like(original, Converted) if original is not None else None
    result: Converted = Converted.__new__(made or Converted)
    type(result).__name__ = name
    return result
