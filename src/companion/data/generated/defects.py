"""Defects of periodic structures: in which cells they are, what they change there, which pixels belong to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.data.generated.structures import KINDS, Structure, around


@dataclass(frozen=True)
class Scenes:
    """Objects of N structures, cell by cell, (N, rows, columns) each; and particles (N, k, 2), their radii (N,)."""

    present: Tensor
    scale: Tensor
    down: Tensor
    right: Tensor
    bridged: Tensor
    particles: Tensor
    radius: Tensor

    def flawless(self) -> Scenes:
        zeros = torch.zeros_like(self.scale)
        return Scenes(zeros + 1, zeros + 1, zeros, zeros, zeros, self.particles, torch.zeros_like(self.radius))


def draw_scenes(structure: Structure, count: int, generator: torch.Generator) -> tuple[Scenes, Tensor, Tensor]:
    """Scenes, the kinds of their defects (indices into `KINDS`), and where these are: centres (N, k, 2) in pixels."""
    rows, columns = structure.cells
    several = structure.defects

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)

    kinds = torch.tensor([KINDS.index(kind) for kind in structure.kinds])[
        torch.randint(len(structure.kinds), (count,), generator=generator)
    ]
    flawed = uniform(0, 1) < structure.defective
    angle, amount, larger = uniform(0, 2 * math.pi), uniform(0.18, 0.24), uniform(0, 1) < 0.5
    factor = torch.where(larger, uniform(1.25, 1.33), uniform(0.55, 0.7))
    radius, place = uniform(0.2, 0.3) * structure.pitch, torch.stack((uniform(0, 1), uniform(0, 1)), 1)
    cells = torch.tensor([_apart(structure, generator) for _ in range(count)])  # (N, k, 2)
    grids = {name: torch.zeros(count, rows, columns, dtype=torch.float64) for name in ("down", "right", "bridged")}
    grids |= {name: torch.ones(count, rows, columns, dtype=torch.float64) for name in ("present", "scale")}
    lines = structure.cell == "lines"  # have no rows to be moved along
    values = {
        "missing": {"present": torch.zeros(count)},
        "bridged": {"bridged": torch.ones(count)},
        "shifted": {"down": amount * angle.sin() * structure.pitch * (not lines),
                    "right": amount * (angle.cos().sign() if lines else angle.cos()) * structure.pitch},
        "resized": {"scale": factor},
    }  # fmt: skip
    for kind, changes in values.items():
        which = (flawed & (kinds == KINDS.index(kind))).nonzero().flatten()
        for name, value in changes.items():
            for nth in range(several):
                grids[name][which, cells[which, nth, 0], cells[which, nth, 1]] = value[which].double()
    is_particle = kinds == KINDS.index("particle")
    inside = torch.where(is_particle[:, None], place, 0.5)[:, None] + cells  # (N, k, 2), in cells
    odd = 0.5 * (cells[..., 0] % 2) if structure.cell == "honeycomb" else torch.zeros(())
    across = inside[..., 1] + odd + 0.5 * (kinds == KINDS.index("bridged"))[:, None]
    centres = torch.stack((inside[..., 0] * structure.row_pitch, across * structure.pitch), 2)
    radius = torch.where(flawed & is_particle, radius, 0.0)
    return Scenes(**grids, particles=centres, radius=radius), kinds, centres


def _apart(structure: Structure, generator: torch.Generator) -> list[list[int]]:
    """Distinct cells of the image, none beside another."""
    rows, columns = structure.cells
    seen = (structure.size // structure.row_pitch, structure.size // structure.pitch)
    limits = (rows, columns) if structure.wraps else tuple(max(1, int(side)) for side in seen)
    while True:
        taken: list[list[int]] = []
        for flat in torch.randperm(limits[0] * limits[1], generator=generator).tolist():
            cell = [flat // limits[1], flat % limits[1]]
            if all(_far(cell[0] - i, rows) or _far(cell[1] - j, columns) for i, j in taken):
                taken.append(cell)
            if len(taken) == structure.defects:
                return taken


def _far(distance: int, count: int) -> bool:
    return min(distance % count, -distance % count) > 1


def nearest(structure: Structure, centres: Tensor, by: Tensor) -> Tensor:
    """Which centre a pixel is nearest to, (N, S, S)."""
    steps = torch.arange(structure.size, dtype=torch.float64)
    period = [
        count * pitch for count, pitch in zip(structure.cells, (structure.row_pitch, structure.pitch), strict=True)
    ]
    down, across = (
        around((by[:, axis, None] + steps)[:, None] - centres[:, :, axis, None], period[axis]) for axis in (0, 1)
    )
    return torch.hypot(down[:, :, :, None], across[:, :, None]).argmin(1)


def boxes(defects: Tensor, wraps: bool = True) -> list[tuple[int, int, int, int]]:
    """The smallest box around each defect of one image, (x1, y1, x2, y2), x2 and y2 excluded.

    Args:
        defects: (S, S), of `Photographs`.
        wraps: whether a box may cross the border; x2 or y2 is then larger than the side.

    >>> one = torch.zeros(8, 8, dtype=torch.uint8)
    >>> one[2:4, [7, 0]] = 1
    >>> boxes(one), boxes(one, wraps=False)
    ([(7, 2, 9, 4)], [(0, 2, 8, 4)])
    """
    found = []
    for number in range(1, int(defects.max()) + 1):
        mask = defects == number
        if mask.any():
            (y1, y2), (x1, x2) = (_span(mask.any(axis), wraps) for axis in (1, 0))
            found.append((x1, y1, x2, y2))
    return found


def _span(taken: Tensor, wraps: bool) -> tuple[int, int]:
    """The shortest interval around all that is taken."""
    places = taken.nonzero().flatten().tolist()
    if not wraps:
        return places[0], places[-1] + 1
    side = len(taken)
    gaps = [(after - before, after) for before, after in zip([places[-1] - side, *places[:-1]], places, strict=True)]
    largest, start = max(gaps)
    return start, start + side - largest + 1
