"""The dense part of a detector: converted as any network is, its maps then shifted to a canonical position.

Maps of a detector lie on lattices of their own, O + s n. All of them hold the coarsest one's samples, so there are places F of the image
at which a sample of every map lies. One of these is chosen, the canonical position: the whole map is the period of what follows, as of all
that is no convolution (mass.fx.rules.whole_map), and it is chosen as such an origin always is, from the coarsest map, with ties broken by
the content of the image. Seen from there, position n of every map of stride s lies at pixel s n, and equal images give equal maps wherever they lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.functional.origin.select import select_origin
from mass.functional.shift import shift
from mass.fx.convert import convert
from mass.fx.network.converted import Converted
from mass.fx.nodes import module_of
from mass.nn.graph.alignment import SelectOrigin
from mass.structure import leaves


@dataclass(frozen=True)
class Seen:
    """One image, as the dense part of a detector sees it.

    Attributes:
        maps: by name and level, maps (C, h, w), position n at pixel s n, counted from the canonical position.
        strides: of the levels, rows and columns.
        canonical: (2,) int64, the pixel of the image that is its canonical position.
        size: height and width of the image.
    """

    maps: Mapping[str, Mapping[str, Tensor]]
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
    lattices = {}
    for path, y in leaves(outputs):
        origin, _ = converted.mass_outputs[path].total(chosen, len(images))  # type: ignore[misc]
        lattices[path] = y, (size[0] // y.shape[2], size[1] // y.shape[3]), origin.to(y.device)
    canonical = _canonical(list(lattices.values()), images, rule)
    moved = {
        path: (shift(y, (canonical - origin) // torch.tensor(stride, device=y.device)), stride)
        for path, (y, stride, origin) in lattices.items()
    }
    kinds: dict[str, dict[str, Any]] = {}  # by name, by level
    for path, level in moved.items():
        name = re.split(r"[.[]", path)[0]
        kinds.setdefault(name, {})[path.removeprefix(name).strip(".[]")] = level
    strides = [stride for _, stride in next(iter(kinds.values())).values()]
    return [
        Seen(
            {n: {at: y[k] for at, (y, _) in levels.items()} for n, levels in kinds.items()}, strides, canonical[k], size
        )
        for k in range(len(images))
    ]


def _canonical(lattices: list[tuple[Tensor, Pair, Tensor]], images: Tensor, rule: str) -> Tensor:
    """The canonical position of each image, (B, 2)."""
    features, stride, origin = max(lattices, key=lambda lattice: lattice[1])
    if rule == "zero":
        return torch.zeros_like(origin)
    period = features.shape[2], features.shape[3]
    place = select_origin(features.detach(), period, rule, source=images, source_origin=origin)
    return origin + place * torch.tensor(stride, device=place.device)
