"""The proof of a conversion: run it in float64 on x and on a shifted x, and compare node by node.

A node on lattice (S, O) holds at position n what lies at input position O + S n. On the shifted input, x'[n] = x[n + t],
the lattice has another origin O', and the node must hold the same values k = (t + O' - O) / S positions further. The
first node that does not is the operation that breaks equivariance, whatever a rule claimed of it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from mass.axes import POSITIONS, Pair, as_map, sizes_along, times
from mass.errors import NotEquivariantError, as_pair
from mass.functional.position_hash import layout_hash
from mass.fx.converted import Converted
from mass.fx.interpreter import Interpreter
from mass.nn.evaluating import evaluating

# Float64 rounding is about 1e-13 of a map's maximum, more in badly conditioned networks; a wrong origin moves it by
# 1e-3 and more.
_TOLERANCE = 1e-7
_COARSE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Positions:
    """Where a node's samples lie: its row and column axes, and the (origin node, period) of each digit of its lattice."""

    dims: tuple[int, ...]
    digits: tuple[tuple[str, Pair], ...]
    batch: int = 0

    def total(self, origins: dict[str, Tensor]) -> tuple[Tensor, Pair]:
        """Total origin O (B, 2) or zero, and total stride S."""
        total, place = torch.zeros(2, dtype=torch.int64), (1, 1)
        for name, period in self.digits:
            total = total + origins[name] * torch.tensor(place, device=origins[name].device)
            place = times(place, period)
        return total, place


class _Recorder(Interpreter):
    """Runs the graph, keeping what every node returned."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.kept: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        # A later operation may overwrite its input in place.
        self.kept[n.name] = result.clone() if isinstance(result, Tensor) else result
        return result


class _Comparer(Interpreter):
    """Runs the graph on shifted input and stops at the first node that disagrees with the recording, which it uses up."""

    def __init__(self, module: fx.GraphModule, recorded: dict[str, Any], t: Pair, tolerance: float) -> None:
        super().__init__(module)
        self.recorded, self.t, self.tolerance = recorded, t, tolerance
        self.kept: dict[str, Tensor] = {}  # origins

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor) and not result.is_floating_point():
            self.kept[n.name] = result.clone()
            return result
        recorded: Any = self.recorded.pop(n.name, None)
        if n.op != "output" and "shape" in n.meta and isinstance(result, Tensor) and result.is_floating_point():
            expected = self._moved(n.meta["positions"], recorded) if "positions" in n.meta else recorded
            if expected is None:
                raise self._refusal(
                    n, "its samples lie between the shifted samples: the origin did not follow the shift"
                )
            difference, scale = _difference(result, expected) if result.numel() else (0.0, 1.0)
            if not difference <= self.tolerance * scale:
                raise self._refusal(n, f"its output differs by {difference:.2g} (of {scale:.2g})")
        return result

    def _moved(self, positions: Positions, recorded: Tensor) -> Tensor | None:
        before, stride = positions.total(self.recorded)
        after, _ = positions.total(self.kept)
        distance = torch.tensor(self.t) + (after - before).cpu()
        if (distance % torch.tensor(stride)).any():
            return None
        steps = distance // torch.tensor(stride)
        steps = steps[..., 2 - len(positions.dims) :]  # a signal has columns alone
        if steps.ndim == 1:
            return recorded.roll((-steps).tolist(), positions.dims)
        images = recorded.movedim(positions.batch, 0)
        dims = [d - (d > positions.batch) for d in positions.dims]
        rows = [row.roll((-s).tolist(), dims) for row, s in zip(images, steps, strict=True)]
        return torch.stack(rows).movedim(0, positions.batch)

    def _refusal(self, node: fx.Node, how: str) -> NotEquivariantError:
        reason = f"after a circular shift of the input by {self.t} {how}"
        return NotEquivariantError(
            node.name, reason, "the operation does not commute with shifts as its rule or mark says"
        )


def _difference(result: Tensor, expected: Tensor) -> tuple[float, float]:
    """The largest, and the largest finite value beside which it is large; equal infinities do not differ."""
    difference = torch.where(result == expected, 0.0, (result - expected).abs())
    size = torch.where(expected.isfinite(), expected.abs(), 0.0)
    return difference.amax().item(), max(size.amax().item(), 1e-300)


class NoLongerFits(NotEquivariantError):
    """A layer behind operations whose maps have another size now that their borders wrap."""


def check_runs(converted: fx.GraphModule, inputs: tuple[Any, ...]) -> None:
    """Run the rewritten graph once: do all operations still fit together?

    Raises:
        NoLongerFits: naming the operation that no longer fits. With borders that wrap, 'valid' convolutions
        keep a map's size, so a layer behind them that counts positions meets more of them.
    """
    recorder = _Recorder(converted)
    try:
        with evaluating(converted):
            recorder.run(*inputs)
    except (RuntimeError, ValueError) as error:
        failed = next(n for n in converted.graph.nodes if n.name not in recorder.kept)
        first = str(error).splitlines()[0].rstrip(".")
        reason = f"it no longer fits when borders wrap and every stride s gives H / s outputs ({first})"
        raise NoLongerFits(failed.name, reason, "pad the convolutions before it, or pool globally") from error


def verify_equivariance(converted: Converted, inputs: tuple[Any, ...]) -> None:
    """Prove a converted network equivariant on its example input, in float64 and eval mode.

    An example that a shift leaves unchanged (zeros, say) would prove nothing: noise takes its place.

    Raises:
        NotEquivariantError: naming the first node, in graph order, that disagrees on the shifted input.
    """
    rank, dims = inputs[0].ndim, POSITIONS[inputs[0].ndim]
    height, width = sizes_along(inputs[0].shape, dims)
    generator = torch.Generator().manual_seed(0)

    def is_image(value: Any) -> bool:
        return isinstance(value, Tensor) and value.ndim == rank and sizes_along(value.shape, dims) == (height, width)

    def prepare(value: Any) -> Any:
        if (
            is_image(value)
            and value.is_floating_point()
            and (_has_symmetry(as_map(value, dims)) or not value.isfinite().all())
        ):
            return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    stride_h, stride_w = as_pair(converted.total_stride, "total_stride")
    t = (stride_h // 2 | 1) % height, max(stride_w - 1, 1) % width  # odd where the stride is even
    images = [prepare(value) for value in inputs]
    by = [-steps for steps in t[2 - len(dims) :]]
    moved = [x.roll(by, dims) if is_image(x) else x for x in images]
    module, tolerance = copy.deepcopy(converted).double().eval(), _TOLERANCE
    with torch.no_grad():
        recorder = _Recorder(module)
        try:
            recorder.run(*images)
        except RuntimeError:  # it casts in its forward, and float64 does not pass: as precisely as it computes itself
            module, tolerance = copy.deepcopy(converted).eval(), _COARSE_TOLERANCE
            images, moved = ([_as(x, like) for x, like in zip(xs, inputs, strict=True)] for xs in (images, moved))
            recorder = _Recorder(module)
            recorder.run(*images)
        _Comparer(module, recorder.kept, t, tolerance).run(*moved)


def _as(value: Any, like: Any) -> Any:
    return value.to(like.dtype) if isinstance(value, Tensor) else value


def _has_symmetry(images: Tensor) -> bool:
    """Whether some circular shift leaves one of the images as it is."""
    layouts = layout_hash(images).flatten(1).sort(1).values
    return bool((layouts[:, 1:] == layouts[:, :-1]).any())
