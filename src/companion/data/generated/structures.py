"""Periodic structures, as cameras see memories, displays and honeycombs: objects in the cells of a lattice.

Every edge follows from its distance, so that a pitch may be a fraction of a pixel and the camera may stand anywhere. What is
drawn of them, and how, is in `companion.data.generated.periodic`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.core.errors import Refusal

CELLS = ("lines", "vias", "pixels", "honeycomb")
KINDS = ("missing", "bridged", "shifted", "resized", "particle")


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


def reach(cell: str, u: Tensor, v: Tensor) -> Tensor:
    """How far from its centre an object's outline lies that runs through (u, v)."""
    if cell == "lines":
        return u.abs() + 0 * v
    if cell == "vias":
        return torch.hypot(u, v)
    if cell == "pixels":
        return torch.maximum(u.abs(), v.abs())
    return torch.maximum(u.abs(), u.abs() / 2 + v.abs() * (math.sqrt(3) / 2))


def around(distance: Tensor, whole: float) -> Tensor:
    """The shorter way around."""
    return (distance + whole / 2) % whole - whole / 2
