"""Periodic structures with defects, as cameras see memories, displays and honeycombs: drawn from a seed.

A `Structure` says what is photographed, `draw` photographs it. Objects stand in cells of a lattice; every edge is drawn from
its distance, so that a pitch may be a fraction of a pixel and the camera may stand anywhere (misregistration). A structure that
`wraps` holds whole cells, so that what leaves on one side returns on the other: its misregistration by whole pixels is a circular
shift of the image, light and noise included. One that does not is seen through a window: what comes in is new, and light and
noise stay with the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from companion.core.errors import Refusal
from companion.data.generated.defects import Scenes, draw_scenes, nearest
from companion.data.generated.structures import Structure, around, reach

_DARK, _MARGIN, _AT_ONCE = 70.0, 4, 128  # grey level of the ground; pixels around an image, for blur; images
_SEEN = 0.1  # of the contrast: a pixel that a defect changes by more is part of it


@dataclass(frozen=True)
class Photographs:
    """What `draw` returns.

    Attributes:
        images: (N, 1, S, S), uint8.
        labels: (N,), int64: 0 where there is no defect in the image, else one more than the index of its kind in `KINDS`.
        defects: (N, S, S), uint8: the number of the defect that a pixel belongs to, from 1 on, or 0.
    """

    images: Tensor
    labels: Tensor
    defects: Tensor

    @property
    def masks(self) -> Tensor:
        """(N, S, S), bool: pixels that a defect changed."""
        return self.defects > 0


def draw(structure: Structure, count: int, seed: int, misregistration: Tensor | None = None) -> Photographs:
    """Photographs that follow from a seed; the same scenes whatever the misregistration.

    Args:
        count: how many.
        misregistration: where the camera stands, (N, 2), rows and columns in pixels, whole or not; None: at 0.

    Raises:
        Refusal: for no photograph; where the misregistration has another shape, or leads out of the structure.

    >>> found = draw(Structure(noise=0), count=2, seed=0)
    >>> moved = draw(Structure(noise=0), count=2, seed=0, misregistration=torch.tensor([[3, 5]] * 2))
    >>> torch.equal(moved.images, found.images.roll((-3, -5), (2, 3)))
    True
    """
    if count < 1:
        raise Refusal(f"At least one photograph must be asked for, not {count}.")
    by = torch.zeros(count, 2, dtype=torch.float64) if misregistration is None else misregistration.double()
    if by.shape != (count, 2):
        raise Refusal(f"A misregistration has the shape ({count}, 2), not {tuple(by.shape)}.")
    if not structure.wraps and by.numel() and by.abs().max() > structure.size:
        raise Refusal(f"A window moves by at most its side, {structure.size} pixels, not by {by.abs().max():g}.")
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for part in by.split(_AT_ONCE):
        parts.append(_photographs(structure, part, generator))
    images, labels, defects = (torch.cat(column) for column in zip(*parts, strict=True))
    return Photographs(images, labels, defects)


def _photographs(structure: Structure, by: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    count, size = len(by), structure.size
    scenes, kinds, centres = draw_scenes(structure, count, generator)
    phases = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    noise = structure.noise * torch.randn(count, size, size, generator=generator)
    whole = by.floor() if structure.wraps else torch.zeros_like(by)
    flawed, clean = (_pattern(structure, these, by - whole) for these in (scenes, scenes.flawless()))
    levels = _DARK + structure.contrast * _blurred(flawed, structure.blur)
    images = (levels * _light(structure, phases) + noise).round().clamp(0, 255).byte()
    inner = slice(_MARGIN, _MARGIN + size)
    changed = ((flawed - clean).abs() > _SEEN)[:, inner, inner]
    defects = torch.where(changed, nearest(structure, centres, by - whole) + 1, 0).byte()
    rolled = [torch.stack([one.roll((-int(i), -int(j)), (-2, -1)) for one, (i, j) in zip(all_, whole.tolist(), strict=True)])
              for all_ in (images, defects)]  # fmt: skip
    labels = torch.where((rolled[1] > 0).flatten(1).any(1), kinds + 1, 0)
    return rolled[0][:, None], labels, rolled[1]


def _pattern(structure: Structure, scenes: Scenes, by: Tensor) -> Tensor:
    """How much of each pixel an object covers, 0 to 1 (of a particle more): (N, S + 2 margins, the same)."""
    steps = torch.arange(-_MARGIN, structure.size + _MARGIN, dtype=torch.float64)
    y, x = by[:, :1] + steps, by[:, 1:] + steps  # (N, S')
    rows, columns = structure.cells
    honeycomb, pitch = structure.cell == "honeycomb", structure.pitch
    row = (y / structure.row_pitch).floor()[:, :, None]
    which = torch.arange(len(by))[:, None, None]
    covered = torch.zeros(len(by), len(steps), len(steps), dtype=torch.float64)
    for beside in (-1, 0, 1) if honeycomb else (0,):  # hexagons reach into the rows beside theirs
        i = row + beside
        v = y[:, :, None] - (i + 0.5) * structure.row_pitch
        along = x[:, None] - (0.5 * pitch * (i % 2) if honeycomb else 0)
        j = (along / pitch).floor()
        u = along - (j + 0.5) * pitch

        def of(grid: Tensor, i: Tensor = i, j: Tensor = j) -> Tensor:
            return grid[which, (i % rows).long(), (j % columns).long()]

        inside = structure.fill * pitch / 2 * of(scenes.scale) - reach(
            structure.cell, u - of(scenes.right), v - of(scenes.down)
        )
        covered = torch.maximum(covered, (inside + 0.5).clamp(0, 1) * of(scenes.present))
        bridge = torch.where(u >= 0, of(scenes.bridged), of(scenes.bridged, i, j - 1))
        covered = torch.maximum(covered, (structure.fill * pitch / 4 - v.abs() + 0.5).clamp(0, 1) * bridge)
    for centre in scenes.particles.unbind(1):
        down = around(y - centre[:, :1], rows * structure.row_pitch)[:, :, None]
        across = around(x - centre[:, 1:], columns * pitch)[:, None]
        blob = (scenes.radius[:, None, None] - torch.hypot(down, across) + 0.5).clamp(0, 1)
        covered = torch.where(scenes.radius[:, None, None] > 0, covered + blob * (1.4 - covered), covered)
    return covered


def _blurred(pattern: Tensor, deviation: float) -> Tensor:
    """Gaussian, without the margins."""
    at = torch.arange(-_MARGIN, _MARGIN + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (at / deviation) ** 2) if deviation else (at == 0).double()
    kernel = kernel / kernel.sum()
    rows = F.conv2d(pattern[:, None], kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]


def _light(structure: Structure, phases: Tensor) -> Tensor:
    """Brightness, (N, S, S): a wave that wraps, or else a slope across the window."""
    at = torch.arange(structure.size, dtype=torch.float64) / structure.size
    if structure.wraps:
        down, across = (torch.cos(2 * math.pi * (at + phases[:, axis, None])) for axis in (0, 1))
        return 1 + structure.light / 2 * (down[:, :, None] + across[:, None])
    turn = 2 * math.pi * phases[:, 0, None, None]
    return 1 + structure.light * (turn.cos() * (2 * at - 1)[:, None] + turn.sin() * (2 * at - 1)) * math.sqrt(0.5)
