"""Polyphase components of a map: the s x s maps that a stride of s can sample from it."""

from __future__ import annotations

from torch import Tensor

from mass.axes import Pair
from mass.errors import check_divides, check_map


def first_phase(x: Tensor, stride: Pair) -> Tensor:
    """Every s-th row and column: (B, C, H, W) -> (B, C, H / s, W / s), in the memory format of `x`."""
    check_map(x)
    check_divides(x, stride)
    return x[:, :, :: stride[0], :: stride[1]].clone()  # a view with steps has no memory format


def to_blocks(x: Tensor, stride: Pair) -> Tensor:
    """A view of the map as s x s blocks: (B, C, H, W) -> (B, C, H / s, s, W / s, s)."""
    check_map(x)
    check_divides(x, stride)
    return x.unflatten(3, (-1, stride[1])).unflatten(2, (-1, stride[0]))


def to_phases(x: Tensor, stride: Pair) -> Tensor:
    """The polyphase components, row by row: (B, C, H, W) -> (B, s * s, C, H / s, W / s)."""
    return to_blocks(x, stride).permute(0, 3, 5, 1, 2, 4).flatten(1, 2)
