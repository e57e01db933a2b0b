"""`convert`: any convolutional network, pretrained ones included, exactly shift-equivariant (paper, section 4.3)."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from . import layers
from .infer import Plan, infer
from .lattice import Digit, Grid, Lattice, Pair, stride, times
from .origin import RULES
from .trace import as_inputs, trace
from .verify import Positions, verify_equivariance


def convert(
    model: nn.Module,
    example_input: Any,
    *,
    origin: str = "l2",
    verify: bool = True,
    symmetrise: bool = False,
) -> nn.Module:
    """A copy of `model` that is equivariant to every circular shift of its input, with no new parameter.

    The copy is a `torch.fx.GraphModule` with the original's `state_dict` keys, in which `mass_origin_…`, `mass_shift`
    and `mass_restore` are nodes: strided operations sample from an origin read off the features, parallel branches
    share it (mass.lattice), borders wrap, and reductions over positions add exactly. It trains, pickles, and compiles as
    the original does.

    Args:
        model: any `torch.nn.Module` that `torch.fx` can trace; it is not changed.
        example_input: a batch (B, C, H, W), or a tuple of arguments with such a batch first. H and W must be
            multiples of the total stride; other sizes that are may be used later.
        origin: the selection rule, one of `mass.origin.RULES`; 'zero' keeps the frame's grid (a control: circular
            borders alone).
        verify: prove the result, node by node, in float64 on shifted noise (mass.verify). Not done for 'zero'.
        symmetrise: for dense outputs, average over the origins that the input's own translation symmetries leave
            undecided, so that the output has them too (Puny et al., 2022).

    Raises:
        NotEquivariantError: names the operation that cannot be converted, the reason and the way out.
        TypeError, ValueError: for a wrong example or rule.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.randn(1, 3, 16, 16)
    >>> mass_model = convert(model, x)
    >>> torch.equal(mass_model(x), mass_model(x.roll((3, 5), (2, 3))))
    True
    """
    if origin not in (*RULES, "zero"):
        raise ValueError(f"unknown origin rule {origin!r}; choose one of {', '.join(RULES)} or zero.")
    inputs = as_inputs(example_input)
    plan = infer(trace(model, inputs))
    if plan.refusals:
        raise plan.refusals[0][1]
    converted = _Rewriter(plan, origin).run()
    if verify and origin != "zero":
        verify_equivariance(converted, inputs)
    return converted


class _Rewriter:
    """Carries out a plan on its graph: each operation on a map moved to its origin, made circular and exact."""

    def __init__(self, plan: Plan, rule: str) -> None:
        self.plan, self.rule = plan, rule
        self.module, self.graph = plan.graph, plan.graph.graph
        self.source = next(n for n in self.graph.nodes if n.op == "placeholder")
        self.origins: dict[Any, fx.Node] = {}  # of digits (root, low)
        self.totals: dict[Any, fx.Node] = {}  # of lattices
        self.shifted: dict[tuple[fx.Node, fx.Node], fx.Node] = {}

    def run(self) -> fx.GraphModule:
        for node in list(self.graph.nodes):
            effect = self.plan.effects.get(node)
            if effect is None:
                continue
            if effect.swap is not None:
                self._swap(node)
            if node in self.plan.digits:
                self._align(node)
            if _is_in_place(self.module, node):
                self.shifted = {key: value for key, value in self.shifted.items() if key[0] not in node.all_input_nodes}
        for node, value in self.plan.values.items():
            if isinstance(value, Grid):
                node.meta["positions"] = Positions(value.dims, self._path(value.lattice))
        grids = [v.lattice for v in self.plan.values.values() if isinstance(v, Grid)]
        self.graph.lint()
        self.module.recompile()
        self.module.total_stride = max(map(stride, grids))
        return self.module

    def _swap(self, node: fx.Node) -> None:
        effect = self.plan.effects[node]
        swap, target = effect.swap, str(node.target)
        assert swap is not None
        if node.op == "call_module":
            there = self.module.get_submodule(target)
            called_again = any(n is not node and n.op == "call_module" and n.target == target for n in self.graph.nodes)
            if type(there) is type(swap):
                return  # swapped at an earlier call
            if not called_again or any(True for _ in there.parameters()):
                self.module.set_submodule(target, swap)
                return
        name = f"mass_{node.name}"
        self.module.add_submodule(name, swap)
        node.op, node.target, node.args, node.kwargs = "call_module", name, tuple(effect.inputs), {}

    def _align(self, node: fx.Node) -> None:
        """Give the operation its map moved to the origin it shares with all operations of its group."""
        source = self._map_of(node)
        origin = self._origin(self.plan.digits[node], source, node)
        if (source, origin) not in self.shifted:
            self.shifted[source, origin] = self._call(node, "mass_shift", layers.Shift(), (source, origin))
        node.replace_input_with(source, self.shifted[source, origin])

    def _map_of(self, node: fx.Node) -> fx.Node:
        return next(n for n in node.all_input_nodes if isinstance(self.plan.values.get(n), Grid))

    def _origin(self, digit: Digit, source: fx.Node, before: fx.Node) -> fx.Node:
        root, low = digit.find()
        if root not in self.origins:
            select = layers.SelectOrigin(root.period, self.rule)
            total = self._total(self.plan.values[source].lattice, before)
            name = f"mass_origin_{len(self.origins) + 1}"
            reading = (source,) if total is None and source is self.source else (source, self.source)
            self.origins[root] = self._call(before, name, select, reading if total is None else (*reading, total))
        if (low, digit.period) == ((1, 1), root.period):
            return self.origins[root]
        key = (root, low, digit.period)
        if key not in self.origins:
            name = f"mass_digit_{len(self.origins)}"
            self.origins[key] = self._call(before, name, layers.ReadDigit(low, digit.period), (self.origins[root],))
        return self.origins[key]

    def _path(self, lattice: Lattice) -> tuple[tuple[str, Pair], ...]:
        return tuple((self._origin(digit, self.source, self.source).name, digit.period) for digit in lattice)

    def _total(self, lattice: Lattice, before: fx.Node) -> fx.Node | None:
        """The total origin of a lattice, O = o1 + P1 o2 + …; None for the input's own."""
        total, place, path = None, (1, 1), ()  # type: ignore[var-annotated]
        for digit in lattice:
            path = (*path, (*digit.find(), digit.period))
            if path not in self.totals:
                origin = self._origin(digit, self.source, before)
                if total is None:
                    self.totals[path] = origin
                else:
                    name = f"mass_total_{len(self.totals)}"
                    self.totals[path] = self._call(before, name, layers.ComposeOrigin(place), (total, origin))
            total, place = self.totals[path], times(place, digit.period)
        return total

    def _call(self, before: fx.Node, name: str, module: nn.Module, args: tuple) -> fx.Node:
        if not hasattr(self.module, name):
            self.module.add_submodule(name, module)
        with self.graph.inserting_before(before):
            return self.graph.call_module(name, args)


def _is_in_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    name = getattr(node.target, "__name__", str(node.target))
    return bool(node.kwargs.get("inplace")) or name.endswith("_") or name in ("iadd", "imul", "isub", "itruediv")

