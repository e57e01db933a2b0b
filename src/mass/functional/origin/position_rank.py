"""Layout without a hash: what cannot be confused by anybody.

`mass.functional.origin.position_hash` tells positions apart by 64-bit hashes. By accident two maps share one with probability 2^-64; on purpose it
takes 2^32 steps, a minute, to find two float32 pixels that do, and an image made of them seems symmetric where it is not.
Ranks are the original doubling (Karp, Miller and Rosenberg, 1972): blocks of 1, 2, 4, … pixels are numbered in the order
of their contents, and a block twice as long is a pair of numbers. They sort where hashes multiply, so they are for the
few images in which hashes claim a symmetry, and for the CPU: on an accelerator asking would synchronise, which `mass.exact` accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mass.functional.origin.position_hash import INTEGER_OF_SIZE, layout_hash

_every_device = False


@contextmanager
def on_every_device() -> Iterator[None]:
    """Inside it, layouts are compared on accelerators as well, in the whole process."""
    global _every_device
    before, _every_device = _every_device, True
    try:
        yield
    finally:
        _every_device = before


def compared_everywhere() -> bool:
    """Whether that was asked for."""
    return _every_device


def compares_layouts(device: torch.device) -> bool:
    """Whether hashes that coincide on this device are looked into."""
    return _every_device or device.type == "cpu"


def _rank(values: Tensor) -> Tensor:
    return values.unique(return_inverse=True)[1]


def layout_ranks(x: Tensor) -> Tensor:
    """The rank of the whole map as read from each position, (B, C, H, W) -> (B, H, W) int64.

    Two positions share a rank exactly when the shift between them is a symmetry of the map; the order is that of the bits read,
    whatever else is in the batch. -0.0 is read as 0.0, and every NaN as the same NaN.

    >>> layout_ranks(torch.tensor([[[[1., 2., 1., 2.]]]]))
    tensor([[[0, 1, 0, 1]]])
    """
    x = torch.where(x == 0, torch.zeros_like(x), x)
    x = torch.where(x.isnan(), torch.full_like(x, torch.nan), x)
    channels = x.view(INTEGER_OF_SIZE[x.element_size()]).unbind(1)
    count = channels[0].numel()  # more than there are ranks
    rank = _rank(channels[0])
    for channel in channels[1:]:
        rank = _rank(rank * count + _rank(channel))
    for axis in (2, 1):
        step = 1
        while step < rank.shape[axis]:
            rank = _rank(rank * count + rank.roll(-step, axis))
            step *= 2
    return rank


def read_layout(x: Tensor) -> Tensor:
    """The layout by which ties are broken, (B, C, H, W) -> (B, H, W) int64: hashes, and ranks where hashes coincide."""
    found = layout_hash(x)
    if compares_layouts(x.device):
        coincide = found.flatten(1).sort(1).values.diff(dim=1).eq(0).any(1)
        if bool(coincide.any()):
            found[coincide] = layout_ranks(x[coincide])
    return found
