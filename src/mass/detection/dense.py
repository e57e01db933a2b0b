"""The dense part of a detector: converted as any network is, its maps then shifted to a canonical position.

Maps of a detector lie on lattices of their own, O + s n. Each holds the samples of the coarser ones, which is asked at conversion, so there
are places F of the image at which a sample of every map lies. One of these is chosen, the canonical position: the whole map is the period of what follows, as of all
that is no convolution (mass.fx.rules.whole_map), and it is chosen as such an origin always is, from the coarsest map, with ties broken by
the content of the image. Seen from there, position n of every map of stride s lies at pixel s n, and equal images give equal maps wherever they lie.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Pair, times
from mass.errors import NotEquivariantError
from mass.functional.origin.select import select_origin
from mass.functional.shift import shift
from mass.fx.convert import convert
from mass.fx.network.converted import Converted
from mass.fx.network.output_lattice import OriginDigit, OutputLattice
from mass.fx.nodes import module_of
from mass.nn.graph.alignment import SelectOrigin


@dataclass(frozen=True)
class Seen:
    """One image, as the dense part of a detector sees it.

    Attributes:
        maps: by name and level's key, maps (C, h, w), position n at pixel s n, counted from the canonical position.
        strides: of the levels, rows and columns.
        canonical: (2,) int64, the pixel of the image that is its canonical position.
        size: height and width of the image.
    """

    maps: Mapping[str, Mapping[Any, Tensor]]
    strides: list[Pair]
    canonical: Tensor
    size: Pair

    @property
    def boxes_like(self) -> Tensor:
        """An empty tensor of the device of the maps and the dtype of boxes: float32, or float64 for maps of that."""
        some = next(iter(next(iter(self.maps.values())).values()))
        return torch.empty(0, device=some.device, dtype=some.dtype if some.dtype == torch.float64 else torch.float32)

    def rows(self, name: str, channels: int) -> list[Tensor]:
        """The levels of one kind of map as rows (h w A, channels): position by position, at each one anchor by anchor."""
        return [
            y.unflatten(0, (-1, channels)).permute(2, 3, 0, 1).reshape(-1, channels) for y in self.maps[name].values()
        ]

    @property
    def offset(self) -> Tensor:
        """From canonical boxes to boxes in the image, (4,): whole pixels."""
        return self.canonical.flip(0).repeat(2)


def convert_dense(dense: nn.Module, example: Tensor, origin: str, verify: bool) -> Converted:
    """The dense part converted: a network that also returns the origins that it chooses."""
    converted = convert(dense, example, origin=origin, verify=verify)
    for path, lattice in converted.mass_outputs.items():
        if lattice.digits is None or not lattice.axes:
            reason = f"'{path}' is computed from the whole map, and boxes have no place in it"
            raise NotEquivariantError("", reason, "take a backbone whose features are maps on one lattice")
    _require_nested(converted.mass_outputs)
    graph = converted.graph
    chosen = {}
    for node in graph.nodes:
        module = module_of(node) if node.op == "call_module" else None
        if isinstance(module, SelectOrigin):
            chosen[str(node.target)] = (node, node.args[0] if module.cells is not None else None)
    output = graph.output_node()
    output.args = ((output.args[0], chosen),)
    converted.recompile()
    return converted


def _require_nested(outputs: Mapping[str, OutputLattice]) -> None:
    """Refuse levels that come of parallel branches, each with origins of its own: no pixel need be a sample of all of them."""
    ordered = sorted(
        outputs.items(), key=lambda output: math.prod(digit for d in output[1].digits or () for digit in d.period)
    )
    for (finer, fine), (coarser, coarse) in itertools.pairwise(ordered):
        if not _begins_with(list(coarse.digits or ()), list(fine.digits or ())):
            reason = f"'{coarser}' and '{finer}' come of branches that choose their origins apart, and boxes need a pixel at which both have a sample"
            raise NotEquivariantError("", reason, "take a backbone that computes the coarser level from the finer one")


def _begins_with(digits: list[OriginDigit], first: list[OriginDigit]) -> bool:
    """Whether an origin is another's, and coarser digits; a digit may be spelt as several."""
    while first:
        if not digits or (digits[0].name, digits[0].low) != (first[0].name, first[0].low):
            return False
        whole, part = digits.pop(0), first.pop(0)
        for longer, shorter, rest in ((whole, part, digits), (part, whole, first)):
            if longer.period != shorter.period:
                left = longer.period[0] // shorter.period[0], longer.period[1] // shorter.period[1]
                if times(left, shorter.period) == longer.period:
                    rest.insert(0, replace(longer, low=times(longer.low, shorter.period), period=left))
                    break
        else:
            if whole.period != part.period:
                return False
    return True


def see(converted: Converted, images: Tensor, rule: str) -> list[Seen]:
    """What the dense part, converted, makes of images (B, C, H, W) of one size, seen from its canonical position.

    Args: rule: that it was converted with, by which canonical positions are chosen as well.
    """
    outputs, origins = converted(images)
    size: Pair = (images.shape[2], images.shape[3])
    chosen = {}
    for name, (origin, features) in origins.items():
        module: Any = converted.get_submodule(name)
        chosen[name] = origin, module.period if features is None else module.read(features)[1]
    lattices: dict[tuple[str, Any], tuple[Tensor, Pair, Tensor]] = {}  # by kind of map and level
    for name, at, path, y in _levels(outputs):
        origin, _ = converted.mass_outputs[path].total(chosen, len(images))  # type: ignore[misc]
        lattices[name, at] = y, (size[0] // y.shape[2], size[1] // y.shape[3]), origin.to(y.device)
    canonical = _canonical(list(lattices.values()), images, rule)
    kinds: dict[str, dict[Any, Any]] = {}
    for (name, at), (y, stride, origin) in lattices.items():
        moved = shift(y, (canonical - origin) // torch.tensor(stride, device=y.device))
        kinds.setdefault(name, {})[at] = moved, stride
    strides = [stride for _, stride in next(iter(kinds.values())).values()]
    return [
        Seen(
            {n: {at: y[k] for at, (y, _) in levels.items()} for n, levels in kinds.items()}, strides, canonical[k], size
        )
        for k in range(len(images))
    ]


def _levels(outputs: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, Tensor]]:
    """Every map that a dense part returns: its kind, its level's key, as the backbone has it, or number, its path, and itself."""
    for name, levels in outputs.items():
        keyed = isinstance(levels, Mapping)
        for at, y in levels.items() if keyed else enumerate(levels):
            yield name, at, f"{name}.{at}" if keyed else f"{name}[{at}]", y


def _canonical(lattices: list[tuple[Tensor, Pair, Tensor]], images: Tensor, rule: str) -> Tensor:
    """The canonical position of each image, (B, 2)."""
    features, stride, origin = max(lattices, key=lambda lattice: lattice[1])
    if rule == "zero":
        return torch.zeros_like(origin)
    period = features.shape[2], features.shape[3]
    place = select_origin(features.detach(), period, rule, source=images, source_origin=origin)
    return origin + place * torch.tensor(stride, device=place.device)
