"""Blending: a converted network that averages over the origins that nearly tie, instead of choosing one.

A path is one choice at every origin. Where phases nearly tie (mass.functional.origin.blend) the rows of the batch that they
belong to are repeated, one for each, and from there on each follows its own origin: what lies before is computed once,
and images without a tie stay one row. A path weighs the product of its choices' weights; outputs, moved back, are
averaged with these. The set of paths moves with the image, so the mean is as equivariant as each of them, and weights
vanish before paths do, so it is continuous as well (weighted frames; Dym, Lawrence and Siegel, 2024, arXiv 2402.16077).

The bits are those of every shift: paths come in an order that content decides, and sums do not depend on theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.functional.origin.blend import phase_energies, phase_weights
from mass.functional.origin.select import layout_keys
from mass.fx.interpreter import Interpreter
from mass.fx.nodes import returned
from mass.nn.graph.alignment import SelectOrigin


@dataclass(frozen=True)
class Blend:
    """How a network blends.

    Attributes:
        shares: by the name of an origin, how far behind the best a phase may lie, as a share of its energy.
        paths: at most how many an image has.
        rows: for every node of the graph, in its order, which parts of its value grow with the batch (`batch_rows`).
    """

    shares: Mapping[str, float]
    paths: int
    rows: tuple[Any, ...] = ()


def batch_rows(one: Any, two: Any, batch: int) -> Any:
    """How a value grows with the batch, from what it is for one batch and for another of twice the size.

    Of a tensor: how many of its rows (axis 0) belong to an image, 0 if it does not grow. Of a number: whether it doubles.
    None for what grows otherwise; tuples, lists and dicts of these for tuples, lists and dicts.
    """
    if isinstance(one, Tensor):
        if one.shape == two.shape:
            return 0
        grows = one.ndim > 0 and one.shape[1:] == two.shape[1:] and 2 * len(one) == len(two) and len(one) % batch == 0
        return len(one) // batch if grows else None
    if isinstance(one, Mapping):
        return {key: batch_rows(value, two[key], batch) for key, value in one.items()}
    if isinstance(one, tuple | list):
        return [batch_rows(a, b, batch) for a, b in zip(one, two, strict=True)]
    if isinstance(one, bool) or not isinstance(one, int | float):
        return 0 if one == two else None
    return 0 if one == two else 1 if 2 * one == two else None


class Blending(Interpreter):
    """Runs a converted network on all paths of every image.

    Attributes:
        image: (R,) the image that each row belongs to, in order; weight: (R,) float64, of its path.
        chosen: by the name of an origin's node, what each row chose there, (R, 2).
    """

    def __init__(self, module: fx.GraphModule, blend: Blend) -> None:
        super().__init__(module)
        self.blend, self.rows = blend, dict(zip(module.graph.nodes, blend.rows, strict=True))
        self.returned = set(returned(module.graph))
        self.chosen: dict[str, Tensor] = {}
        self.batch, self.averaged = 0, False
        first = next(str(n.target) for n in module.graph.nodes if n.op == "placeholder")
        self.image_name = getattr(module, "mass_image", "") or first

    def run_node(self, n: fx.Node) -> Any:
        if not self.averaged and (n.op == "output" or n.target == "mass_output"):
            self._average()
        result = super().run_node(n)
        if n.op == "placeholder" and str(n.target) == self.image_name:
            self.batch = len(result)
            self.image = torch.arange(self.batch, device=result.device)
            self.weight = torch.ones(self.batch, dtype=torch.float64, device=result.device)
        module = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
        if isinstance(module, SelectOrigin) and module.chooses:
            share = self.blend.shares.get(str(n.target), 0.0)
            if share:
                result = self._follow(module, share, result, *self.fetch_args_kwargs_from_env(n)[0])
            self.chosen[n.name] = result
        return result

    def _follow(
        self, module: SelectOrigin, share: float, best: Tensor, x: Tensor,
        source: Tensor | None = None, source_origin: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Repeat the rows that have a choice, and say what each chooses."""
        maps, period = module.read(x)
        weights = phase_weights(phase_energies(maps, period), share).to(best.device)
        weights = self._bounded(self.weight[:, None] * weights)
        lost = self._first() & (self._count(weights) == 0)[self.image]  # more tie exactly than there may be paths
        phase = best[:, 0] * period[1] + best[:, 1]
        weights[lost, phase[lost]] = 1.0
        parent, phase = self._in_order(weights, maps, period, maps if source is None else source, source_origin)
        self.weight = weights[parent, phase]
        if len(parent) != len(weights) or bool((parent != torch.arange(len(parent), device=parent.device)).any()):
            self._repeat(parent)
        return torch.stack((phase // period[1], phase % period[1]), 1)

    def _count(self, weights: Tensor) -> Tensor:
        """How many paths of each image have a weight, (B,)."""
        none = torch.zeros(self.batch, dtype=torch.int64, device=weights.device)
        return none.index_add_(0, self.image, (weights > 0).sum(1))

    def _first(self) -> Tensor:
        """Which rows are the first of their image, (R,)."""
        first = torch.ones(len(self.image), dtype=torch.bool, device=self.image.device)
        first[1:] = self.image[1:] != self.image[:-1]
        return first

    def _bounded(self, weights: Tensor) -> Tensor:
        """No more paths an image than may be: from all weights the first that is too many is taken off, which is continuous."""
        for image in (self._count(weights) > self.blend.paths).nonzero().flatten().tolist():
            rows = self.image == image
            own = weights[rows]
            own = (own - own.flatten().topk(self.blend.paths + 1).values[-1]).clamp(min=0.0)
            total = own.flatten().sort().values.sum()
            weights[rows] = own / total if bool(total > 0) else own
        return weights

    def _in_order(
        self, weights: Tensor, maps: Tensor, period: Pair, source: Tensor, source_origin: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Rows and phases of the paths that go on, each row's in an order that does not depend on where the image lies."""
        order = torch.arange(weights.shape[1], device=weights.device).expand(weights.shape)
        ranked = weights.sort(1).values
        if bool(((ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] > 0)).any()):
            layout = next(layout_keys(maps, period, source, source_origin))
            order = layout.sort(dim=1, descending=True, stable=True).indices
        order = order.gather(1, weights.gather(1, order).sort(dim=1, descending=True, stable=True).indices)
        parent, place = (weights.gather(1, order) > 0).nonzero(as_tuple=True)
        return parent, order[parent, place]

    def _repeat(self, parent: Tensor) -> None:
        """Let row r be what row parent[r] was, in all that is still to be read."""
        before = len(self.image)
        for node in list(self.env):
            self.env[node] = _taken(self.env[node], self.rows[node], parent, before, node.name)
        self.chosen = {name: origins[parent] for name, origins in self.chosen.items()}
        self.image = self.image[parent]

    def _average(self) -> None:
        """One row an image again: of what is returned the weighted mean, of all else the first."""
        starts, before = self._first().nonzero().flatten(), len(self.image)
        self.averaged = True
        if before == self.batch:
            return
        rank = torch.arange(before, device=self.image.device) - starts[self.image]
        for node in list(self.env):
            value, rows = self.env[node], self.rows[node]
            if node in self.returned and rows and isinstance(value, Tensor):
                self.env[node] = self._mean(value, rank)
            else:
                self.env[node] = _taken(value, rows, starts, before, node.name)

    def _mean(self, y: Tensor, rank: Tensor) -> Tensor:
        """The weighted mean of each image's rows, (R, …) -> (B, …): summands in order of their values, whatever the paths'."""
        single = torch.bincount(self.image, minlength=self.batch) == 1
        precise = y if y.dtype == torch.float64 else y.float()
        weighted = precise * self.weight.to(precise.dtype).view(-1, *[1] * (y.ndim - 1))
        padded = weighted.new_zeros(int(rank.max()) + 1, self.batch, *y.shape[1:])
        padded = padded.index_put((rank, self.image), weighted)
        total = functools.reduce(torch.add, padded.sort(0).values)
        alone = y[rank == 0]  # a single path is not touched
        return torch.where(single.view(-1, *[1] * (y.ndim - 1)), alone, total.to(y.dtype))


def _taken(value: Any, rows: Any, parent: Tensor, before: int, name: str) -> Any:
    """A value whose row r is what row parent[r] was."""
    if rows is None:
        reason = "its value depends on the size of the batch in another way than by a row an image"
        raise NotEquivariantError(name, reason, "leave blend at 0")
    if isinstance(value, Tensor):
        if not rows:
            return value
        return value[parent] if rows == 1 else value.unflatten(0, (before, rows))[parent].flatten(0, 1)
    if isinstance(rows, dict):
        return {key: _taken(value[key], rows[key], parent, before, name) for key in value}
    if isinstance(rows, list):
        parts = [_taken(v, r, parent, before, name) for v, r in zip(value, rows, strict=True)]
        return (
            torch.Size(parts) if isinstance(value, torch.Size) else parts if isinstance(value, list) else tuple(parts)
        )
    return value * len(parent) // before if rows else value
