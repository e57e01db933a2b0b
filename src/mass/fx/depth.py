"""Equivariance in depth, beside that in rows and columns: a converted network of volumes, called on volumes in their canonical position.

In depth the whole volume is the period: nothing is assumed of what a network does along its planes, which are padded and
sampled as by the original. The volume is shifted to its canonical position before anything reads it (mass.functional.origin.depth), so
all that is computed is bit-identical wherever it lay; outputs that have its planes are shifted back.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx

from mass.axes import moving_dims
from mass.errors import NotEquivariantError
from mass.fx.network.converted import Converted
from mass.fx.nodes import inside_of, module_of, place_of, returned, stand_in
from mass.fx.outputs import outputs_of
from mass.fx.tracing.example import Inputs
from mass.fx.verification.probes import Probes
from mass.fx.verification.recording import Recorder
from mass.nn.evaluating import evaluating
from mass.nn.graph.depth import SelectPlane, ShiftPlanes
from mass.nn.graph.entrance import Entrance
from mass.structure import leaves


def move_in_depth(network: Converted, inputs: Inputs, verify: bool = True) -> None:
    """Make a converted network of volumes (B, C, D, H, W) equivariant in depth too, in place.

    Raises:
        NotEquivariantError: for an output of which it cannot be told where its planes lie; naming it.
    """
    first = tuple(inputs[0].shape)
    planes = _planes(network, inputs)
    graph = network.graph
    inside = [inside_of(n) for n in graph.nodes if n.op == "placeholder"]
    moving = [(n, dims[0] - 1) for n, x in zip(inside, inputs, strict=True) if (dims := _dims(x, first)) is not None]
    doors = [n for n in graph.nodes if n.op == "placeholder" or isinstance(module_of(n), Entrance)]
    with graph.inserting_after(doors[-1]):
        images = [n for n in inside if isinstance(module_of(n), Entrance)]
        origin = _call(network, "mass_plane", SelectPlane(), *images)
    last = origin
    for node, axis in moving:
        with graph.inserting_after(last):
            last = _call(network, f"mass_shift_planes_{axis}", ShiftPlanes(axis), node, origin)
        stand_in(node, last, last, origin)
        last.meta.update({key: value for key, value in node.meta.items() if key in ("shape", "positions")})
    network.mass_planes = {path: planes[node] for path, node in outputs_of(graph) if node in planes}
    for node, (axis, scale) in planes.items():
        for user in list(node.users):
            if user.op == "output" or user.target == "mass_output":
                with graph.inserting_before(user):
                    module = ShiftPlanes(axis, -scale)
                    back = _call(network, f"mass_restore_planes_{axis}_{scale}", module, node, origin)
                user.replace_input_with(node, back)
                back.meta.update({key: value for key, value in node.meta.items() if key in ("shape", "positions")})
    graph.lint()
    network.recompile()
    if verify:
        _check(network, inputs)


def _call(network: Converted, name: str, module: Any, *args: fx.Node) -> fx.Node:
    if not hasattr(network, name):
        network.add_submodule(name, module)
    return network.graph.call_module(name, args)


def _dims(value: Any, first: tuple[int, ...]) -> tuple[int, ...] | None:
    return moving_dims(tuple(value.shape), first) if isinstance(value, Tensor) else None


def _deeper(inputs: Inputs) -> Inputs:
    """Volumes of twice as many planes."""
    first = tuple(inputs[0].shape)
    return tuple(torch.cat((x, x), dims[0] - 1) if (dims := _dims(x, first)) is not None else x for x in inputs)


def _planes(network: Converted, inputs: Inputs) -> dict[fx.Node, tuple[int, int]]:
    """The axis of planes of every output that has one, and how many it has for each of the volume: what grows with the volume."""
    depth, found = inputs[0].shape[2], {}
    shapes, deeper = _shapes(network, inputs), _shapes(network, _deeper(inputs))
    for node in returned(network.graph):
        here, there = shapes.get(node.name), deeper.get(node.name)
        if not isinstance(here, tuple):
            continue
        if not isinstance(there, tuple) or len(there) != len(here):
            if depth in here[1:]:
                reason = f"an output of shape {here}, in which planes cannot be told from other axes: the network takes volumes of {depth} planes alone"
                raise NotEquivariantError(place_of(node), reason, "leave dims as it is, or reduce over depth")
            continue
        grown = [axis for axis, (a, b) in enumerate(zip(here, there, strict=True)) if a != b]
        if not grown:
            continue
        axis = grown[0]
        if len(grown) > 1 or here[axis] % depth or there[axis] != 2 * here[axis] or axis == 0:
            reason = f"an output of shape {here} of a volume of {depth} planes: its own lie at places relative to the plane that is read first"
            raise NotEquivariantError(
                place_of(node), reason, "return as many planes as the volume has, or reduce over depth"
            )
        found[node] = axis, here[axis] // depth
    return found


def _shapes(network: Converted, inputs: Inputs) -> dict[str, Any]:
    recorder = Recorder(network)
    try:
        with evaluating(network):
            recorder.run(*inputs)
    except (RuntimeError, ValueError, NotEquivariantError):
        return {}
    return {name: tuple(y.shape) if isinstance(y, Tensor) else None for name, y in recorder.kept.items()}


def _check(network: Converted, inputs: Inputs) -> None:
    """All outputs are bit-identical, but shifted, under shifts in depth, alone and together with rows and columns."""
    probes = Probes(inputs)
    start, first = probes.moving(), tuple(inputs[0].shape)
    planes = network.mass_planes or {}
    depth, same = first[2], copy.deepcopy(network).eval()
    with torch.no_grad():
        for by, t in ((1 % depth, (0, 0)), (depth // 2, (1, 1)), (depth - 1, (3, 2))):
            there = probes.shifted(start, t)
            deep = tuple(x.roll(-by, dims[0] - 1) if (dims := _dims(x, first)) is not None else x for x in there)
            expected, found = dict(leaves(same(*there))), dict(leaves(same(*deep)))
            for path, y in expected.items():
                if not isinstance(y, Tensor):
                    continue
                if path in planes:
                    axis, scale = planes[path]
                    y = y.roll(-by * scale, axis)
                if not torch.equal(y, found[path]):
                    reason = f"output '{path}' of shape {tuple(y.shape)} is not the same after a shift by {by} planes"
                    raise NotEquivariantError("", reason, "leave dims as it is, and report it")
