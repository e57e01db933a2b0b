"""Blending, checked: averaged over its paths, a network gives the mean of what it gives on each path alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from mass.errors import NotEquivariantError
from mass.fx.interpreter import Interpreter
from mass.fx.network.blending import Blend, Blending, batch_rows
from mass.fx.network.converted import Converted
from mass.fx.nodes import place_of, returned
from mass.fx.tracing.example import Inputs
from mass.fx.verification.probes import Probes
from mass.fx.verification.recording import Recorder
from mass.motion import alike
from mass.nn.evaluating import evaluating
from mass.structure import leaves

_REMEDY = "leave blend at 0"
_PATHS = 3  # enough for rows that are repeated, dropped, and repeated again
_TOLERANCE = 1e-3  # float32, after the other kernels of another batch; another path differs by per cents


def blended(converted: Converted, inputs: Inputs, shares: Mapping[str, float], paths: int, verify: bool) -> Blend:
    """How a converted network blends.

    Args:
        shares: by the name of an origin (`mass.functional.origin.blend`); paths: at most how many an image has.
        verify: run it, with more ties than it will ever see, and each of its paths alone.

    Raises:
        NotEquivariantError: if there is an output that cannot be averaged, or the mean is another.
    """
    probes = Probes(inputs)
    two, four = probes.of_batch(2), probes.of_batch(4)
    if two is None or four is None:
        raise NotEquivariantError("", "blending repeats images, and other inputs depend on how many there are", _REMEDY)
    runs = Recorder(converted), Recorder(converted)
    with evaluating(converted):
        for run, given in zip(runs, (two, four), strict=True):
            run.run(*given)
    rows = tuple(batch_rows(runs[0].kept.get(n.name), runs[1].kept.get(n.name), 2) for n in converted.graph.nodes)
    blend = Blend(dict(shares), paths, rows)
    _require_means(converted, dict(zip(converted.graph.nodes, rows, strict=True)), runs[0].kept)
    if verify:
        _verify(converted, blend, two)
    return blend


def _require_means(converted: Converted, rows: Mapping[fx.Node, Any], values: Mapping[str, Any]) -> None:
    for node in returned(converted.graph):
        value = values[node.name]
        if not isinstance(value, Tensor):
            continue
        positions = node.meta.get("positions")
        if not value.is_floating_point():
            reason = f"blending averages what is returned, and this is {str(value.dtype).removeprefix('torch.')}"
        elif rows[node] != 1:
            reason = f"blending averages each image's output, and {tuple(value.shape)} is not one row an image"
        elif positions is not None and positions.digits:
            reason = "blending averages maps that were moved back, and this one stays at the origin that was chosen"
        else:
            continue
        raise NotEquivariantError(place_of(node), reason, _REMEDY)


class Replay(Interpreter):
    """Runs a graph with origins that are given."""

    def __init__(self, module: fx.GraphModule, origins: Mapping[str, Tensor]) -> None:
        super().__init__(module)
        self.origins = origins

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        return self.origins.get(n.name, result)


def _verify(converted: Converted, blend: Blend, inputs: Inputs) -> None:
    blend = replace(blend, shares=dict.fromkeys(blend.shares, 0.9), paths=_PATHS)
    inputs = Probes(inputs).noise()
    with evaluating(converted):
        blending = Blending(converted, blend)
        ours = _tensors(blending.run(*inputs))
        rank = torch.arange(len(blending.image)) - torch.searchsorted(blending.image, blending.image).cpu()
        expected = [torch.zeros_like(y, dtype=torch.float64) for y in ours]
        for k in range(int(rank.max()) + 1):
            rows = [int(((blending.image == i).cpu() & (rank <= k)).nonzero()[-1]) for i in range(2)]
            weight = blending.weight[rows] * (rank[rows] == k).to(blending.weight)  # fewer paths: not counted again
            alone = Replay(converted, {name: origins[rows] for name, origins in blending.chosen.items()})
            for total, y in zip(expected, _tensors(alone.run(*inputs)), strict=True):
                total += y.double() * weight.view(-1, *[1] * (y.ndim - 1))
    if not all(alike(a, b.double(), _TOLERANCE) for a, b in zip(expected, ours, strict=True)):
        raise NotEquivariantError("", "averaged over paths it is not the mean of what each path gives", _REMEDY)


def _tensors(output: Any) -> list[Tensor]:
    return [y for _, y in leaves(output) if isinstance(y, Tensor)]
