"""Tracing: the model as a graph of operations, each with the shapes it produces (`torch.fx`)."""

from __future__ import annotations

import copy
import random
import re
import sys
import traceback
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from mass.errors import NotEquivariantError, check_module
from mass.fx.interpreter import Interpreter
from mass.fx.network.autocast import looking_at_autocast
from mass.fx.network.calls import Call, Moment, packed
from mass.fx.network.converted import Converted
from mass.fx.network.hooks import without_hooks
from mass.fx.rule import operation_of_module
from mass.fx.tracing import size_guards
from mass.fx.tracing.attributes import attributes_kept
from mass.fx.tracing.dropout import follow_training
from mass.fx.tracing.example import Example, Inputs, as_example
from mass.fx.tracing.size_guards import SizedTracer, as_modules
from mass.fx.tracing.spelling import spelt_alike, tuples_unpacked
from mass.marks import marked_period
from mass.nn.evaluating import evaluating, modes_of, set_modes
from mass.nn.graph.structure import Container, Rebuild, Slot, pack


class Untraceable(NotEquivariantError):
    """Code that cannot be traced; `module`: the innermost module that holds it, None if the model itself does."""

    module: nn.Module | None = None

    def within(self, module: nn.Module | None) -> Untraceable:
        self.module = module
        return self


class _Tracer(SizedTracer):
    def __init__(self, example: Example, opaque: frozenset[type | str] = frozenset()) -> None:
        super().__init__(example.values)
        self.example, self.opaque = example, opaque
        self.traced_func_name = example.method
        self.failed: nn.Module | None = None  # the innermost module whose forward could not be traced
        self.where = ""
        self.calls: list[Call] = []
        self._ticks = 0

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        replaced = next((name for name in ("forward", "_conv_forward") if name in vars(m)), "")
        if replaced and marked_period(m) is None and operation_of_module(m) is not None:
            reason = f"{replaced} of '{module_qualified_name}' ({type(m).__name__}) was replaced, and what it computes now is not known"
            raise NotEquivariantError(
                "", reason, "write it as a module of its own, or mark the module's class with mass.mark_leaf"
            )
        if marked_period(m) is not None or operation_of_module(m) is not None:
            return True
        if type(m) in self.opaque or module_qualified_name in self.opaque:
            return True
        if parametrize.is_parametrized(m):
            return False  # its weight is computed: trace the computation
        return super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> Any:
        """One placeholder for each of the example's values; what it leaves out is no input, but its default."""
        defaults = self.example.defaults(self.root)
        symbols = [
            self.create_proxy("placeholder", name, (defaults[name],) if name in defaults else (), {})
            for name in self.example.names(self.root)
        ]
        split = len(symbols) - len(self.example.keywords)

        def forward(*values: Any) -> Any:
            keywords = dict(zip(self.example.keywords, values[split:], strict=True))
            return self._returned(root_fn(self.root, *values[:split], **keywords))

        forward.__annotations__ = {}  # they would become the graph's
        return forward, symbols

    def _returned(self, value: Any) -> Any:
        """Tensors in a structure that a graph cannot hold are put back into it by a module."""
        found: list[Any] = []
        structure = pack(value, lambda part: issubclass(type(part), fx.Proxy), found)
        if _is_plain(structure):
            return value
        self.root.mass_output = Rebuild(structure)
        return self.create_proxy("call_module", "mass_output", tuple(found), {})

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        try:
            if not self._computing and not self._is_installed(m):
                return forward(*args, **kwargs)  # made in forward (a loss, say): what it does is the model's doing
            if self._computing or self.is_leaf_module(m, self.path_of_module(m)):
                return super().call_module(m, forward, args, kwargs)
            given, begins = packed((args, kwargs)), self._moment()
            result = super().call_module(m, forward, args, kwargs)
            returned = packed(result)
            self.calls.append(Call(self.path_of_module(m), begins, self._moment(), given, returned))
            return result
        except Exception:
            if self.failed is None and not self._computing:
                self.failed, self.where = m, f" in '{self.path_of_module(m)}' ({type(m).__name__})"
            raise

    def _is_installed(self, m: nn.Module) -> bool:
        try:
            self.path_of_module(m)
        except NameError:
            return False
        return True

    def _moment(self) -> Moment:
        self._ticks += 1
        return Moment(next(iter(reversed(self.graph.nodes))).name, self._ticks)  # no iterator itself in PyTorch 2.11


def _is_plain(structure: Any) -> bool:
    if not isinstance(structure, Container):
        return isinstance(structure, Slot | int | float | str | None)
    return structure.cls in (tuple, list, dict) and all(_is_plain(part) for part in structure.parts)


class _Shapes(Interpreter):
    """Runs the graph and notes at each node the shape of its result (nested for tuples, None for no tensor), and if it, or all of it, is real."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = shape_of(result)
        n.meta["real"] = _is_real(result)
        if not isinstance(result, Tensor):
            n.meta["value"] = result  # a size, say, that later operations take as an argument
        return result


def note_shapes(traced: fx.GraphModule, inputs: Inputs) -> None:
    """Run the graph once, in eval mode, and note the shapes of what its nodes return.

    Raises:
        NotEquivariantError: if it does not run on these inputs.
    """
    with evaluating(traced):
        try:
            _Shapes(traced).run(*inputs)
        except Exception as error:
            shapes = ", ".join(str(tuple(x.shape)) for x in inputs if isinstance(x, Tensor))
            first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            reason = f"the model does not run on the example input of shape {shapes}: {first}"
            alone = inputs[0].ndim == 3 and any(isinstance(module, nn.Conv2d) for module in traced.modules())
            raise NotEquivariantError("", reason, "add the batch axis to an image with x[None]" * alone) from error


def shape_of(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return tuple(shape_of(v) for v in value) if isinstance(value, tuple | list) else None


def _is_real(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return bool(value) and all(map(_is_real, value))
    return isinstance(value, Tensor) and value.is_floating_point()


def _adopt_state(traced: fx.GraphModule, original: nn.Module) -> None:
    """Give the graph the original's submodules, parameters and buffers: all of them, in order, under all their names."""
    made = {name: child for name, child in traced._modules.items() if name.startswith("mass_")}
    constants = {n: b for n, b in traced._buffers.items() if n not in original._buffers}
    traced._modules.clear()
    traced._modules.update(original._modules | made)
    traced._parameters = original._parameters
    traced._buffers = dict(original._buffers)
    traced._non_persistent_buffers_set = set(original._non_persistent_buffers_set)
    for name, tensor in constants.items():  # plain attributes, and tensors made in forward: no part of the state_dict
        traced.register_buffer(name, tensor, persistent=False)


def _drawn() -> tuple[str, ...]:
    """The states of the generators of random numbers that a forward may draw from."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), torch.get_rng_state().tolist(), numpy and numpy.random.get_state(legacy=False)["state"]
    return tuple(map(repr, states))


def _trace(model: nn.Module, example: Example, opaque: frozenset[type | str]) -> Converted:
    """The model's graph; modules of the classes and at the paths in `opaque` stay whole."""
    tracer = _Tracer(example, opaque)
    drawn = _drawn()
    try:
        with attributes_kept(model) as stored, looking_at_autocast() as looked:
            graph = tracer.trace(model)
        while next(iter(reversed(graph.nodes))).op != "output":  # a stored `x.shape` becomes a node when it is read
            graph.erase_node(next(iter(reversed(graph.nodes))))
        if model.training and drawn != _drawn():
            reason = f"{type(model).__name__} draws random numbers while it is traced, and they would stay what they were then"
            remedy = (
                "draw them in a module of its own that is marked by mass.mark_leaf, or by torch.rand_like and its kin"
            )
            raise NotEquivariantError("", reason, remedy)
    except NotEquivariantError:
        raise
    except Exception as error:
        stack = traceback.extract_tb(error.__traceback__)
        if stack[-1].filename == __file__:  # the tracer's own mistake, and nothing about the model
            raise
        frames = [f for f in stack if "/torch/" not in f.filename and f.filename != size_guards.__file__]
        line = f" at `{frames[-1].line}`" if len(frames) > 1 else ""
        said = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0].rstrip(".")
        reason = f"{type(model).__name__} could not be traced{tracer.where}{line}: {said}"
        remedy = "rewrite that line without looking at values, or mark the submodule that contains it as one operation"
        remedy += ": mass.mark_leaf(its class, period=…)"
        if "checkpoint(" in line:
            remedy = (
                "turn gradient checkpointing off, convert the model, and checkpoint the converted network as a whole"
            )
        elif isinstance(getattr(model, "backbone", None), nn.Module):  # a detector: what is behind it works on values
            remedy = "convert its backbone alone: model.backbone = mass.convert(model.backbone, images)"
        refusal = Untraceable("", reason, remedy)
        raise refusal.within(tracer.failed) from error
    graph._tracer_cls = None  # copies and pickles are traced anew by fx's own tracer
    traced = Converted(model, graph, class_name=f"Mass{type(model).__name__}")
    traced.mass_calls, traced.mass_looks_at_autocast = tuple(tracer.calls), frozenset(looked)
    traced.mass_stored = frozenset(stored)
    if "mass_output" in model._modules:  # belongs to the graph
        del model.mass_output
    return traced


def _trace_around(
    model: nn.Module, example: Example, opaque: frozenset[type | str]
) -> tuple[Converted, frozenset[type | str]]:
    """The model's graph, and what stayed whole in it, with the classes of modules that could not be traced."""
    while True:
        try:
            return _trace(model, example, opaque), opaque
        except Untraceable as refusal:
            if refusal.module is None or type(refusal.module) in opaque:
                raise
            opaque |= {type(refusal.module)}


def _signature(module: fx.GraphModule) -> list[str]:
    """What the graph computes, without the running numbers that tensors made in `forward` get at each tracing."""
    return [
        re.sub(r"_tensor_constant\d+", "constant", f"{n.op} {n.target} {n.args} {n.kwargs}") for n in module.graph.nodes
    ]


def trace(model: nn.Module, example_input: Any, whole: frozenset[str] = frozenset()) -> Converted:
    """A traced deep copy of `model`, with every node's shape in `node.meta['shape']`; all submodules are kept.

    Modules that cannot be traced (they look at values, say) stay whole, all of their class, and so do those at the paths `whole`. A model in eval mode that
    computes something else in training (a random branch of its own, say) is traced for evaluation alone. Hooks are not
    traced: they are called when the network runs.

    Raises:
        NotEquivariantError: what could not be traced, and how to mark it as a leaf.
    """
    example = as_example(example_input)
    check_module(model)
    if hooked := next((name for name, p in model.named_parameters() if p._backward_hooks), ""):
        remedy = "remove it, convert the model, and register it on the parameter of that name"
        raise NotEquivariantError("", f"'{hooked}' has a hook on its gradient, and PyTorch copies none", remedy)
    try:
        original = copy.deepcopy(model)
    except RuntimeError as error:
        if "deepcopy" not in str(error):
            raise
        reason = f"{type(model).__name__} holds tensors that were computed with gradients (pruned or normalised weights, say), and PyTorch copies none"
        remedy = "call it once in eval mode under torch.no_grad(), then convert it"
        if held := _computed(model):
            remedy = f"detach it: '{held}' keeps what it was made of"
        raise NotEquivariantError("", reason, remedy) from error
    with without_hooks(original):
        traced = _traced(original, example, model.training, whole)
    traced.mass_adopt(original)
    traced.mass_fixed = example.fixed(model)
    traced.mass_graph_inputs = tuple(str(n.target) for n in traced.graph.nodes if n.op == "placeholder")
    return traced


def _computed(model: nn.Module) -> str:
    """The first tensor of a model, a plain attribute or a buffer, that was computed with gradients outside of its forward; or ''.

    Pruned and normalised weights are too, and computed anew by their hooks at every call.
    """
    for path, module in model.named_modules():
        hooked = {
            getattr(hook, "name", getattr(hook, "_tensor_name", "")) for hook in module._forward_pre_hooks.values()
        }
        for name, value in [*vars(module).items(), *module._buffers.items()]:
            if isinstance(value, Tensor) and value.grad_fn is not None and name not in hooked:
                return f"{path}.{name}".lstrip(".")
    return ""


def _traced(original: nn.Module, example: Example, trains: bool, whole: frozenset[str]) -> Converted:
    """The graph of a model, traced in eval and in training mode, with the model's modules; `trains`: in which it is to be."""
    modes = modes_of(original)
    difference = ""
    traced, opaque = _trace_around(original.eval(), example, whole)
    try:
        traced_training = _trace(original.train(), example, opaque)
    except NotEquivariantError as refusal:
        if trains:
            raise
        difference = str(refusal)
    original.eval()
    if not difference:
        follow_training(original, traced, traced_training)
        traced.mass_stored |= traced_training.mass_stored
        pairs = zip(_signature(traced), _signature(traced_training), strict=False)
        difference = next((f"in evaluation: {one[:80]}" for one, other in pairs if one != other), "")
    if difference and trains:
        reason = f"in training the model computes something else ({difference})"
        remedy = "mark the module that reads self.training with mass.mark_leaf, or convert the model in eval mode"
        raise NotEquivariantError("", reason, remedy)
    as_modules(traced)
    spelt_alike(traced)
    note_shapes(traced, example.values)
    tuples_unpacked(traced)
    _adopt_state(traced, original)
    set_modes(traced, modes)
    traced.mass_evaluation_only = difference
    return traced
