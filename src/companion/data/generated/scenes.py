"""Scenes to segment without a download: digits (scikit-learn's) scattered over crops of its two photographs, 64 x 64.

They stand in for PASCAL VOC where nothing was fetched, to try everything out; no number measured on them means anything.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from companion.data.images import photographs

SIDE = 64
_DIGITS = 4  # in a scene
_INK = 6  # of 16: pixels of a digit that are as dark belong to it


class Scenes(Dataset[tuple[Tensor, Tensor]]):
    """`count` scenes that follow from a seed; an item is (image (3, 64, 64), labels (64, 64): a digit + 1, or 0), uint8."""

    def __init__(self, count: int, seed: int) -> None:
        from sklearn.datasets import load_digits  # not on a bare GPU machine

        generator = torch.Generator().manual_seed(seed)

        def draw(limit: int) -> int:
            return int(torch.randint(limit, (), generator=generator))

        digits, walls = load_digits(), (photographs(256) * 255).byte()
        self.items = []
        for _ in range(count):
            top, left = draw(256 - SIDE), draw(256 - SIDE)
            image = walls[draw(2), :, top : top + SIDE, left : left + SIDE] // 2
            labels = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
            for quarter in range(_DIGITS):
                which = draw(len(digits.target))
                shape = torch.tensor(digits.images[which]).repeat_interleave(3, 0).repeat_interleave(3, 1)  # 24 x 24
                row, column = 32 * (quarter // 2) + draw(9), 32 * (quarter % 2) + draw(9)
                ink = torch.zeros(SIDE, SIDE, dtype=torch.bool)
                ink[row : row + 24, column : column + 24] = shape >= _INK
                image = torch.where(ink, torch.tensor(255, dtype=torch.uint8), image)
                labels[ink] = int(digits.target[which]) + 1
            self.items.append((image, labels))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.items[index]
