"""Submodules that stay whole though they can be traced: each must be seen to move with its maps before it may be moved back with them.

Whole, a submodule keeps the borders of the model, so that the plain network's outputs move in no exact way behind it, and
say nothing about axes that only happen to be as long as rows and columns. So it is asked here as it was traced, with
borders that wrap.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, fx

from mass.fx.interpreter import copies
from mass.fx.network.converted import Converted
from mass.fx.tracing.example import Inputs
from mass.fx.verification.probes import Probes, awake
from mass.fx.verification.reference import Reference
from mass.fx.verification.shifts import coarse_step
from mass.motion import observed
from mass.structure import leaves

_TOLERANCE = 1e-7


def move_along(
    traced: Converted, wraps: set[str], paths: Iterable[str], inputs: Inputs, stride: tuple[int, int]
) -> bool:
    """Whether all that calls of these submodules return moves with the images, with its rows and columns, or stays.

    What has as many rows and columns as a map that the call is given, must move. False where nobody can tell: where the
    plain network does not run in float64 with borders that wrap, at twice the size where a step leads around the image.

    Args:
        traced: a graph in which the inside of the submodules is traced.
        wraps: names of the operations whose borders wrap; those inside of the submodules do in any case.
        stride: the total stride of the coarsest map that they are given.
    """
    probes = Probes(inputs)
    if any(n <= s and n > 1 for n, s in zip(probes.size, stride, strict=True)):  # a step would lead around the image
        probes = Probes(probes.doubled())
    calls = [call for call in traced.mass_calls if call.path in paths]
    windows = {n.name for call in calls for n in call.inside(traced.graph)}
    step = coarse_step(probes.size, stride)
    if not calls or not all(step[2 - len(probes.dims) :]) or not all(call.returned.known for call in calls):
        return False
    plain = copy.deepcopy(traced)
    awake(plain)
    plain.double().eval()
    moving = tuple(x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in probes.moving())
    try:
        with torch.no_grad():
            before, after = (
                _kept(plain, wraps | windows, len(probes.dims), x) for x in (moving, probes.shifted(moving, step))
            )
    except Exception:  # noqa: BLE001 - another dtype, another size: it is not known how it moves
        return False
    for call in calls:
        given = [before[name] for name in call.given.nodes]
        sizes = {
            tuple(x.shape[-len(probes.dims) :])
            for x in given
            if isinstance(x, Tensor) and x.ndim >= 2 + len(probes.dims)
        }
        for name in call.returned.nodes:
            for (_, y), (_, z) in zip(leaves(before[name]), leaves(after[name]), strict=True):
                if isinstance(y, Tensor) and not _moves(y, z, sizes, step, probes):
                    return False
    return True


def _kept(plain: fx.GraphModule, wraps: set[str], axes: int, inputs: Inputs) -> dict[str, object]:
    reference = Reference(plain, wraps, axes)
    reference.run(*copies(inputs))
    return reference.kept


def _moves(y: Tensor, z: Tensor, sizes: set[tuple[int, ...]], step: tuple[int, int], probes: Probes) -> bool:
    axes = len(probes.dims)
    last = tuple(range(y.ndim - axes, y.ndim))
    found = {motion.axes for motion in observed(y, z, step, probes.size, axes, _TOLERANCE)}
    return last in found or (() in found and tuple(y.shape[-axes:]) not in sizes)
