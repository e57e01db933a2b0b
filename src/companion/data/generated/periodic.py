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

CELLS = ("lines", "vias", "pixels", "honeycomb")
KINDS = ("missing", "bridged", "shifted", "resized", "particle")
_DARK, _MARGIN, _AT_ONCE = 70.0, 4, 128  # grey level of the ground; pixels around an image, for blur; images
_SEEN = 0.1  # of the contrast: a pixel that a defect changes by more is part of it


@dataclass(frozen=True)
class Structure:
    """What is photographed, and how.

    Attributes:
        cell: one of `CELLS`: lines, round vias, square pixels, hexagons in rows that are half a pitch apart.
        pitch: from one object to the next, in pixels, not always a whole number; of a honeycomb along its rows.
        size: side of the image, in pixels.
        kinds: of defects, some of `KINDS`; an image has one kind.
        defects: how many there are in an image that has any; all equal, none beside another.
        defective: share of the images that have any.
        fill: the share of a cell's width that an object takes.
        contrast: of object and ground, in grey levels.
        light: by which share its brightness varies over an image.
        blur: standard deviation of the lens, in pixels.
        noise: standard deviation, in grey levels.
        wraps: whether the image is a whole number of cells.

    Raises:
        Refusal: for what cannot be drawn, with what can.
    """

    cell: str = "vias"
    pitch: float = 8.0
    size: int = 64
    kinds: tuple[str, ...] = KINDS
    defects: int = 1
    defective: float = 0.5
    fill: float = 0.6
    contrast: float = 100.0
    light: float = 0.1
    blur: float = 0.7
    noise: float = 4.0
    wraps: bool = True

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise Refusal(f"There is no cell named {self.cell!r}; known: {', '.join(CELLS)}.")
        if not self.kinds or (unknown := [kind for kind in self.kinds if kind not in KINDS]):
            raise Refusal(
                f"Kinds of defects must be some of {', '.join(KINDS)}, not {unknown if self.kinds else 'none'}."
            )
        if not 3 <= self.pitch <= self.size / 2:
            raise Refusal(f"The pitch must be from 3 pixels to half the side, {self.size / 2:g}, not {self.pitch:g}.")
        for name, low, high in (("defective", 0, 1), ("fill", 0.2, 0.75), ("contrast", 1, 150), ("light", 0, 0.5),
                                ("blur", 0, 1.3), ("noise", 0, 64)):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise Refusal(f"The {name} must be from {low} to {high}, not {getattr(self, name):g}.")
        count = round(self.size / self.pitch)
        if self.wraps and abs(self.size / self.pitch - count) > 1e-9:
            near = ", ".join(f"{self.size}/{n} = {self.size / n:.6g}" for n in (count + 1, max(count, 2)))
            raise Refusal(
                f"A pitch of {self.pitch:g} leaves no whole number of cells in {self.size} pixels, so that nothing wraps: "
                f"take {near}, or wraps=False."
            )
        room = self.cells[0] * self.cells[1] // 9
        if not 1 <= self.defects <= room:
            raise Refusal(f"There is room for 1 to {room} defects with others around none, not for {self.defects}.")

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of cells: in the image where it wraps, else around it as well."""
        beyond = 0 if self.wraps else 2 * self.size  # for every way that a window may move
        columns = math.ceil((self.size + beyond) / self.pitch - 1e-9)
        if self.cell != "honeycomb":
            return columns, columns
        return 2 * max(1, round((self.size + beyond) / (self.pitch * math.sqrt(3)))), columns

    @property
    def row_pitch(self) -> float:
        """From one row to the next, in pixels; a honeycomb that wraps is stretched until its rows fit."""
        if self.cell != "honeycomb":
            return self.pitch
        return self.size / self.cells[0] if self.wraps else self.pitch * math.sqrt(3) / 2


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


@dataclass(frozen=True)
class _Scenes:
    """Objects of N structures, cell by cell, (N, rows, columns) each; and particles (N, k, 2), their radii (N,)."""

    present: Tensor
    scale: Tensor
    down: Tensor
    right: Tensor
    bridged: Tensor
    particles: Tensor
    radius: Tensor

    def flawless(self) -> _Scenes:
        zeros = torch.zeros_like(self.scale)
        return _Scenes(zeros + 1, zeros + 1, zeros, zeros, zeros, self.particles, torch.zeros_like(self.radius))


def _photographs(structure: Structure, by: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    count, size = len(by), structure.size
    scenes, kinds, centres = _scenes(structure, count, generator)
    phases = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    noise = structure.noise * torch.randn(count, size, size, generator=generator)
    whole = by.floor() if structure.wraps else torch.zeros_like(by)
    flawed, clean = (_pattern(structure, these, by - whole) for these in (scenes, scenes.flawless()))
    levels = _DARK + structure.contrast * _blurred(flawed, structure.blur)
    images = (levels * _light(structure, phases) + noise).round().clamp(0, 255).byte()
    inner = slice(_MARGIN, _MARGIN + size)
    changed = ((flawed - clean).abs() > _SEEN)[:, inner, inner]
    defects = torch.where(changed, _nearest(structure, centres, by - whole) + 1, 0).byte()
    rolled = [torch.stack([one.roll((-int(i), -int(j)), (-2, -1)) for one, (i, j) in zip(all_, whole.tolist(), strict=True)])
              for all_ in (images, defects)]  # fmt: skip
    labels = torch.where((rolled[1] > 0).flatten(1).any(1), kinds + 1, 0)
    return rolled[0][:, None], labels, rolled[1]


def _scenes(structure: Structure, count: int, generator: torch.Generator) -> tuple[_Scenes, Tensor, Tensor]:
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
    return _Scenes(**grids, particles=centres, radius=radius), kinds, centres


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


def _pattern(structure: Structure, scenes: _Scenes, by: Tensor) -> Tensor:
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

        inside = structure.fill * pitch / 2 * of(scenes.scale) - _reach(
            structure.cell, u - of(scenes.right), v - of(scenes.down)
        )
        covered = torch.maximum(covered, (inside + 0.5).clamp(0, 1) * of(scenes.present))
        bridge = torch.where(u >= 0, of(scenes.bridged), of(scenes.bridged, i, j - 1))
        covered = torch.maximum(covered, (structure.fill * pitch / 4 - v.abs() + 0.5).clamp(0, 1) * bridge)
    for centre in scenes.particles.unbind(1):
        down = _around(y - centre[:, :1], rows * structure.row_pitch)[:, :, None]
        across = _around(x - centre[:, 1:], columns * pitch)[:, None]
        blob = (scenes.radius[:, None, None] - torch.hypot(down, across) + 0.5).clamp(0, 1)
        covered = torch.where(scenes.radius[:, None, None] > 0, covered + blob * (1.4 - covered), covered)
    return covered


def _reach(cell: str, u: Tensor, v: Tensor) -> Tensor:
    """How far from its centre an object's outline lies that runs through (u, v)."""
    if cell == "lines":
        return u.abs() + 0 * v
    if cell == "vias":
        return torch.hypot(u, v)
    if cell == "pixels":
        return torch.maximum(u.abs(), v.abs())
    return torch.maximum(u.abs(), u.abs() / 2 + v.abs() * (math.sqrt(3) / 2))


def _around(distance: Tensor, whole: float) -> Tensor:
    """The shorter way around."""
    return (distance + whole / 2) % whole - whole / 2


def _nearest(structure: Structure, centres: Tensor, by: Tensor) -> Tensor:
    """Which centre a pixel is nearest to, (N, S, S)."""
    steps = torch.arange(structure.size, dtype=torch.float64)
    period = [
        count * pitch for count, pitch in zip(structure.cells, (structure.row_pitch, structure.pitch), strict=True)
    ]
    down, across = (
        _around((by[:, axis, None] + steps)[:, None] - centres[:, :, axis, None], period[axis]) for axis in (0, 1)
    )
    return torch.hypot(down[:, :, :, None], across[:, :, None]).argmin(1)


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
