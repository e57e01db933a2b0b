"""Sequences to track an object in: a digit that wanders, turns and grows over a photograph; and OTB's layout.

The benchmarks (OTB, VOT) cannot be had here. What is generated asks the same of a tracker on a small scale: where is what the
first frame showed, though it has turned?
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from companion.core.errors import Refusal
from companion.data.images import photographs

SIDE = 128  # of a generated frame
_DIGIT = 24  # pixels, at scale 1
_OTHERS = 4  # digits that stay where they are


@dataclass(frozen=True)
class Sequence:
    """Frames (T, 1, H, W), grey, in [0, 1], and the object's boxes (T, 4): centre row, centre column, height, width."""

    frames: Tensor
    boxes: Tensor
    name: str = ""


def _walls() -> Tensor:
    return photographs(256).mean(1)  # (2, 256, 256)


def generated(count: int, frames: int, seed: int, *, test: bool, turning: float = 8.0) -> list[Sequence]:
    """Sequences that follow from a seed: one of scikit-learn's digits passes others, over its photographs.

    Args:
        test: whether the digits are the 500 that are not trained on.
        turning: degrees a frame, at most, one way or the other.
    """
    from sklearn.datasets import load_digits  # not on a bare GPU machine

    images, walls, g = load_digits().images, _walls(), torch.Generator().manual_seed(seed)
    digits = images[1297:] if test else images[:1297]

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=g))

    made = []
    for number in range(count):
        digit = torch.tensor(digits[int(torch.randint(len(digits), (), generator=g))], dtype=torch.float32) / 16
        top, left = (int(torch.randint(256 - SIDE, (), generator=g)) for _ in range(2))
        wall = 0.8 * walls[int(torch.randint(2, (), generator=g)), top : top + SIDE, left : left + SIDE]
        for _ in range(_OTHERS):  # what else is white, and of the same size
            other = torch.tensor(digits[int(torch.randint(len(digits), (), generator=g))], dtype=torch.float32) / 16
            wall = _painted(wall, other, draw(16, SIDE - 16), draw(16, SIDE - 16), draw(0, 360), 1.0)[0]
        turn = draw(0.3, 1.0) * turning * (1 if draw(-1, 1) > 0 else -1)
        speed, heading, bend = draw(1.0, 3.0), draw(0, 2 * math.pi), draw(-0.15, 0.15)
        row, column, shown, boxes = draw(40, SIDE - 40), draw(40, SIDE - 40), [], []
        for frame in range(frames):
            scale = 1 + 0.2 * math.sin(0.3 * frame)
            shown.append(_painted(wall, digit, row, column, turn * frame, scale))
            boxes.append((row, column, _DIGIT * scale, _DIGIT * scale))
            heading += bend
            row, column = row + speed * math.sin(heading), column + speed * math.cos(heading)
            if not (24 < row < SIDE - 24 and 24 < column < SIDE - 24):  # turn back towards the middle
                heading = math.atan2(SIDE / 2 - row, SIDE / 2 - column)
        made.append(Sequence(torch.stack(shown), torch.tensor(boxes), f"digit-{number}"))
    return made


def _painted(wall: Tensor, digit: Tensor, row: float, column: float, degrees: float, scale: float) -> Tensor:
    """(1, SIDE, SIDE): the digit's ink, white, over the wall (SIDE, SIDE)."""
    angle, half = math.radians(degrees), _DIGIT * scale / 2
    centre = (SIDE - 1) / 2
    reach = (centre + 0.5) / half
    cosine, sine = reach * math.cos(angle), reach * math.sin(angle)
    x, y = (column - centre) / half, (row - centre) / half
    matrix = torch.tensor(
        [
            [cosine, -sine, -x * math.cos(angle) + y * math.sin(angle)],
            [sine, cosine, -x * math.sin(angle) - y * math.cos(angle)],
        ]
    )
    grid = F.affine_grid(matrix[None], [1, 1, SIDE, SIDE], align_corners=False)
    ink = F.grid_sample(digit[None, None], grid, align_corners=False)[0]
    return wall * (1 - ink) + ink


def otb(folder: Path) -> Sequence:
    """One sequence in the layout of OTB: img/0001.jpg, …, and groundtruth_rect.txt, a line 'left, top, width, height' a frame.

    Pixels count from 1 there; numbers are separated by commas, tabs or spaces.

    Raises:
        Refusal: for a folder of another layout.
    """
    listing = folder / "groundtruth_rect.txt"
    if not listing.exists():
        raise Refusal(f"{folder.name} is no sequence of OTB: it lacks groundtruth_rect.txt.")
    rows = [
        re.split(r"[,\s]+", line.strip()) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    if any(len(row) != 4 for row in rows):
        raise Refusal(f"groundtruth_rect.txt of {folder.name} must hold four numbers a line: left, top, width, height.")
    paths = sorted((folder / "img").glob("*.jpg"))
    if len(paths) != len(rows):
        raise Refusal(f"{folder.name} has {len(paths)} images and {len(rows)} boxes.")
    left, top, width, height = torch.tensor([[float(value) for value in row] for row in rows]).T
    boxes = torch.stack((top - 1 + (height - 1) / 2, left - 1 + (width - 1) / 2, height, width), 1)
    frames = []
    for path in paths:
        with Image.open(path) as opened:
            frames.append(pil_to_tensor(opened.convert("L")) / 255)
    return Sequence(torch.stack(frames), boxes, folder.name)
