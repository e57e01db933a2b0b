"""Rewriting: a plan carried out on its graph, each operation on a map moved to the origin that it shares."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from mass.axes import Pair, times
from mass.fx.lattice import Digit, Grid, Lattice, Positions, stride
from mass.fx.network.converted import Converted
from mass.fx.network.hooks import rebind_hooks
from mass.fx.nodes import is_in_place, module_of, nodes_in, returned, sizes_in, stand_in
from mass.fx.outputs import output_lattices
from mass.fx.plan import Plan, total_stride
from mass.fx.rule import Recast
from mass.nn.graph.alignment import ComposeOrigin, Concatenate, ReadDigit, Restore, SelectOrigin, Shift
from mass.nn.graph.entrance import Entrance
from mass.nn.graph.guards import Decision


def _cells(plan: Plan) -> dict[Digit, Pair]:
    """Origins whose period follows the map's size: those whose last digit is of an operation with so many cells."""
    found = {}
    for node, digit in plan.digits.items():
        root, low = digit.find()
        cells = plan.effects[node].cells
        if cells and times(low, digit.period) == root.period:
            found[root] = cells
    return found


def _named(name: str, module: Shift) -> str:
    """A name for what works on these axes, by this scale."""
    name = name if module.dims == (2, 3) else "_".join(map(str, (name, *module.dims)))
    return name if module.scale == (1, 1) else f"{name}_by_{module.scale[0]}_{module.scale[1]}"


def _hear(there: nn.Module, swap: nn.Module) -> None:
    """What is called instead of a module calls its hooks."""
    names = [
        name for name in vars(there) if "_hooks" in name and name.removeprefix("_").startswith(("forward", "back"))
    ]
    vars(swap).update({name: vars(there)[name] for name in (*names, "_is_full_backward_hook")})
    rebind_hooks(there, swap)


class Rewriter:
    """Carries out a plan on its graph: each operation on a map moved to its origin, made circular and exact."""

    def __init__(self, plan: Plan, rule: str) -> None:
        self.plan, self.rule = plan, rule
        self.module, self.graph = plan.graph, plan.graph.graph
        self.images = self._images()
        self.source = self._all_images()
        self._cells = _cells(plan)
        self.roots: dict[Digit, fx.Node] = {}  # the origins that are chosen
        self.digits: dict[tuple, fx.Node] = {}  # the digits that are read off them
        self.totals: dict[Any, fx.Node] = {}  # of lattices
        self.shifted: dict[tuple[fx.Node, fx.Node], fx.Node] = {}
        self.restored: dict[fx.Node, fx.Node] = {}  # what stands for an enlarged map from then on

    def _all_images(self) -> fx.Node:
        """The network's input; several images are read together, for a symmetry of one may be broken by another."""
        inputs, images, dims = self._placeholders(), self.images, self.plan.dims
        if len(images) == 1 and dims == (2, 3):
            return images[0]
        return self._call(inputs[-1].next, "mass_source", Concatenate(dims), tuple(images))

    def _placeholders(self) -> list[fx.Node]:
        return [n for n in self.graph.nodes if n.op == "placeholder"]

    def _images(self) -> list[fx.Node]:
        """Inputs with positions that predictions are computed from; labels that only a loss reads break no ties."""
        found = [n for n in self._placeholders() if isinstance(self.plan.values.get(n), Grid)]
        return [n for n in found if n is found[0] or self._conditions(n)]

    def _conditions(self, image: fx.Node) -> bool:
        """Whether an operation with a period, or an output with positions, is computed from it."""
        reached, outputs = {image}, set(returned(self.graph))
        for node in self.graph.nodes:
            if reached.intersection(node.all_input_nodes):
                reached.add(node)
                if node in self.plan.digits or (node in outputs and self.plan.values.get(node) is not None):
                    return True
        return False

    def run(self) -> Converted:
        for node in list(self.graph.nodes):
            effect = self.plan.effects.get(node)
            if effect is None:
                continue
            for name, part in effect.parts.items():
                setattr(module_of(node), name, part)
            if effect.swap is not None:
                self._swap(node)
            if effect.takes_origin:
                node.meta["takes_origin"] = True  # fuse_shifts may give it one
            if node in self.plan.digits:
                self._align(node)
            if node in self.plan.rises:
                self._restore(node)
            if is_in_place(node):
                self.shifted.clear()  # a view of any map may have been written to
        for node, value in self.plan.values.items():
            if isinstance(value, Grid):
                node.meta["positions"] = Positions(value.dims, self._path(value.lattice, node), value.batch, value.fine)
        self._open_door()
        self.graph.lint()
        self.module.recompile()
        self.module.total_stride = total_stride(self.plan)
        self.module.mass_outputs = output_lattices(self.plan, self.roots)
        return self.module

    def _open_door(self) -> None:
        """All images come in by one memory format."""
        for image in self.images:
            first = next(n for n in self.graph.nodes if n.op != "placeholder")
            inside = self._call(first, "mass_input", Entrance(self.module), (image,))
            stand_in(image, inside, inside)
            inside.meta.update({key: value for key, value in image.meta.items() if key in ("shape", "positions")})

    def _swap(self, node: fx.Node) -> None:
        """Call what the effect says instead of what the node calls."""
        effect, there, target = self.plan.effects[node], module_of(node), str(node.target)
        swap = effect.swap
        if isinstance(swap, Recast):
            assert there is not None
            swap = swap.of(there)
        assert swap is not None
        if there is not None:
            _hear(there, swap)
            done = type(there) is type(swap)  # at an earlier call
            called_again = any(n is not node and n.op == "call_module" and n.target == target for n in self.graph.nodes)
            everywhere = not called_again or bool(there.state_dict())
            if done or everywhere:
                node.args, node.kwargs = self._inputs(effect.inputs), {}
                if not done:
                    self._replace(there, swap)
                return
        self._guard_numbers(node, effect.inputs)
        name = f"mass_{node.name}"
        self.module.add_submodule(name, swap)
        node.op, node.target, node.kwargs = "call_module", name, {}
        node.args = self._inputs(effect.inputs)

    def _guard_numbers(self, node: fx.Node, inputs: tuple) -> None:
        """Numbers that what stands for a call has as the example has them must stay so, where they follow from how many images there
        are, or from another input's size; what follows from the image's size is asked at other sizes (mass.fx.verification.larger)."""
        given = nodes_in(inputs)
        for number in nodes_in((node.args, node.kwargs)):
            name, value = f"mass_kept_{number.name}", number.meta.get("value")
            counts = any(self._counts_images(tensor, axis) for tensor, axis in sizes_in(number))
            if (
                counts
                and number not in given
                and isinstance(value, bool | int | float)
                and not hasattr(self.module, name)
            ):
                self._call(node, name, Decision(value, f"{number.name} ="), (number,))

    def _counts_images(self, tensor: fx.Node, axis: int) -> bool:
        value = self.plan.values.get(tensor)
        return not isinstance(value, Grid) or axis % len(tensor.meta["shape"]) == value.batch

    def _replace(self, there: nn.Module, swap: nn.Module) -> None:
        """Put a module in the place of another, under all its names."""
        for name, module in list(self.module.named_modules(remove_duplicate=False)):
            if module is there:
                self.module.set_submodule(name, swap)

    def _inputs(self, inputs: tuple) -> Any:
        """Inputs of a swapped operation, with what stands for maps that were moved back since."""
        return fx.node.map_arg(inputs, lambda n: self.restored.get(n, n))

    def _align(self, node: fx.Node) -> None:
        """Give the operation its map moved to the origin it shares with all operations of its group."""
        maps = [n for n in node.all_input_nodes if isinstance(self.plan.values.get(n), Grid)]
        levels = self.plan.levels.get(node, {})
        for source in maps:
            value = self.plan.values[source]
            digit = levels.get(stride(value.lattice), self.plan.digits[node])
            origin = self._origin(digit, source, node)
            if (source, origin) not in self.shifted:
                shift = Shift(value.dims, value.fine)
                self.shifted[source, origin] = self._call(node, _named("mass_shift", shift), shift, (source, origin))
            node.replace_input_with(source, self.shifted[source, origin])

    def _restore(self, node: fx.Node) -> None:
        """Move an enlarged map back by the digits it leaves behind."""
        following = node.next
        value = self.plan.values.pop(node)
        self._path(value.lattice, following)
        digits, scale = self.plan.rises[node]
        if not digits:  # from the input's own lattice to a finer one
            self.plan.values[node] = value
            return
        origin = self._total(digits, following)
        restore = Restore(value.dims, scale)
        restored = self._call(following, _named("mass_restore", restore), restore, (node, origin))
        node.replace_all_uses_with(restored, delete_user_cb=lambda user: user is not restored)
        restored.meta["shape"] = node.meta.pop("shape")
        self.plan.values[restored] = value
        self.restored[node] = restored

    def _origin(self, digit: Digit, source: fx.Node, before: fx.Node) -> fx.Node:
        root, low = digit.find()
        if root not in self.roots:
            self.roots[root] = self._select(root, source, before)
        last = times(low, digit.period) == root.period
        if last and low == (1, 1):
            return self.roots[root]
        key = (root, low, digit.period)
        if key not in self.digits:
            name = f"mass_digit_{len(self.digits) + 1}"
            read = ReadDigit(low, None if last else digit.period)
            self.digits[key] = self._call(before, name, read, (self.roots[root],))
        return self.digits[key]

    def _select(self, root: Digit, source: fx.Node, before: fx.Node) -> fx.Node:
        """Choose an origin from the first map of its group; a tie is broken by the network's input."""
        total = self._total(self.plan.values[source].lattice, before)
        args = (source,) if source is self.source else (source, self.source)
        name = f"mass_origin_{len(self.roots) + 1}"
        dims = self.plan.values[source].dims
        cells = self._cells.get(root)
        select = SelectOrigin(root.period, self.rule, cells, dims, self.plan.values[source].fine)
        if cells and any(digit.find()[0] is root for digit in self.plan.rigid):
            select.only = cells[0] * root.period[0], cells[1] * root.period[1]
        return self._call(before, name, select, args if total is None else (*args, total))

    def _path(self, lattice: Lattice, before: fx.Node) -> tuple[tuple[str, Pair], ...]:
        """The origin node and the period of every digit of a lattice."""
        return tuple((self._origin(digit, self.source, before).name, digit.period) for digit in lattice)

    def _total(self, lattice: Lattice, before: fx.Node) -> fx.Node | None:
        """The total origin of a lattice, O = o1 + P1 o2 + …; None for the input's own."""
        total: fx.Node | None = None
        place, path = (1, 1), tuple[Any, ...]()
        for digit in lattice:
            path = (*path, (*digit.find(), digit.period))
            if path not in self.totals:
                origin = self._origin(digit, self.source, before)
                if total is None:
                    self.totals[path] = origin
                else:
                    name = f"mass_total_{len(self.totals)}"
                    self.totals[path] = self._call(before, name, ComposeOrigin(place), (total, origin))
            total, place = self.totals[path], times(place, digit.period)
        return total

    def _call(self, before: fx.Node, name: str, module: nn.Module, args: tuple) -> fx.Node:
        if not hasattr(self.module, name):
            self.module.add_submodule(name, module)
        with self.graph.inserting_before(before):
            return self.graph.call_module(name, args)
