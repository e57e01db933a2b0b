"""Layout: what a map looks like when it is read from each of its positions (what breaks ties; docs/design.md).

Two equal objects at odd distance give two sampling phases the same multiset of values, so no norm can
tell them apart. Their *layout* can: the map read from one object differs from the map read from the other,
unless a shift that carries one to the other leaves the whole map unchanged.

`layout_hash` gives every position a 64-bit hash of the whole map as read from there, wrapping at the borders.
Hashes of blocks of 1, 2, 4, … pixels are combined along the columns, then along the rows (the doubling of Karp,
Miller and Rosenberg, 1972), so it costs log2 H + log2 W passes over (B, H, W), in integers: no rounding, no index.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mass.native.splitmix import GOLDEN, MIX_1, MIX_2

INTEGER_OF_SIZE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def _unsigned_shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele et al., 2014): a bijection of int64 in which every bit moves every other."""
    z = (z ^ _unsigned_shift(z, 30)) * MIX_1
    z = (z ^ _unsigned_shift(z, 27)) * MIX_2
    return z ^ _unsigned_shift(z, 31)


def pixel_hash(x: Tensor) -> Tensor:
    """A 64-bit hash of each pixel's channels, (B, C, H, W) -> (B, H, W) int64.

    Equal values hash equally: -0.0 is read as 0.0, and every NaN as the same NaN.
    """
    x = torch.where(x == 0, torch.zeros_like(x), x)
    x = torch.where(x.isnan(), torch.full_like(x, torch.nan), x)
    bits = x.view(INTEGER_OF_SIZE[x.element_size()]).long()
    channel = torch.arange(1, x.shape[1] + 1, device=x.device).view(1, -1, 1, 1) * GOLDEN
    return mix(mix(bits + channel).sum(1))


def layout_hash(x: Tensor) -> Tensor:
    """A 64-bit hash of the whole map as read from each position, (B, C, H, W) -> (B, H, W) int64.

    Covariant: the hash of a shifted map is the shifted hash. Two positions share a hash when the shift between
    them is a symmetry of the map (and otherwise with probability 2^-64).

    >>> x = torch.zeros(1, 1, 4, 6); x[..., 0, 0] = 1
    >>> len(layout_hash(x).unique())              # one bright pixel: all 24 positions differ
    24
    >>> len(layout_hash(torch.ones(1, 1, 4, 6)).unique())   # a constant map looks the same from everywhere
    1
    """
    return mix_along(pixel_hash(x), (2, 1))


def mix_along(h: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Hashes of single positions, (B, …), combined along one axis after the other to those of all that is read from there."""
    for axis in axes:
        step = 1
        while step < h.shape[axis]:
            h = mix(mix(h) * GOLDEN + h.roll(-step, axis))
            step *= 2
    return h
