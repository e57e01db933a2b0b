"""Data sets of periodic structures to train on: is there a defect (1) or not (0)? 64 x 64, grey.

The camera is in its place while networks are trained, and elsewhere when they are asked: images of `periodic` and its kin are
taken at misregistration 0 (companion.data.generated.periodic), those of `periodic-fractions` within a pixel of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch

from companion.data.generated.periodic import Photographs, draw
from companion.data.generated.structures import Structure
from companion.data.labelled import Labelled, Split

SIDE, TRAINED, TESTED = 64, 512, 200
VIAS = Structure("vias", 8.0, SIDE, contrast=100.0, noise=6.0)
CELLS = (16, 10, 9, 8, 7, 4)  # along a side: pitches of 4, 6.4, 7.1, 8, 9.1 and 16 pixels
FEW = (32, 128)  # training images


def structure(cells: int = 8) -> Structure:
    """The vias of these data sets, so many along a side."""
    return replace(VIAS, pitch=SIDE / cells)


@cache
def tested(cells: int = 8, misregistration: tuple[float, float] = (0, 0), wraps: bool = True) -> Photographs:
    """The test images of `periodic`, taken from elsewhere; those that do not wrap are of another kind, seen through a window."""
    by = torch.tensor([misregistration], dtype=torch.float64).expand(TESTED, 2)
    return draw(replace(structure(cells), wraps=wraps), TESTED, 1, by)


def periodic(root: Path, cells: int = 8, few: int = TRAINED, fractions: bool = False) -> Labelled:
    """512 photographs of vias to train on, or a few of them again and again, and 200 others to test; half with a defect.

    Args:
        cells: along a side; few: of the training images; fractions: whether the camera was out of its place by fractions of a
            pixel while they were taken, at random.
    """
    train, test = (
        Split(found.images, (found.labels > 0).long()) for found in (_shown(cells, fractions), tested(cells))
    )
    rows = torch.arange(TRAINED) % few
    return Labelled(Split(train.images[rows], train.labels[rows]), test, (0.41,), (0.13,))


@cache
def _shown(cells: int, fractions: bool) -> Photographs:
    by = torch.rand(TRAINED, 2, generator=torch.Generator().manual_seed(2)) if fractions else None
    return draw(structure(cells), TRAINED, 0, by)


SETS: dict[str, Callable[[Path], Labelled]] = {
    "periodic": periodic,
    "periodic-fractions": partial(periodic, fractions=True),
    **{f"periodic-{count}-images": partial(periodic, few=count) for count in FEW},
    **{f"periodic-{cells}-cells": partial(periodic, cells=cells) for cells in CELLS if cells != 8},
}
