"""The canonical position of a volume in depth: which plane is the first, read off the volume, wherever it was moved to.

Planes have the whole depth as their period (docs/design.md): the volume is shifted to its canonical position, the network sees it
there, its borders in depth untouched, and what has planes is shifted back. The position is found as the rule 'seam' finds that of an
image (mass.functional.origin.seam): pixels vote for the plane at which the volume, wrapped, was cut. Ties are broken by the content of the
whole volume, read from each plane's positions. Neither depends on where rows and columns begin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mass.functional.exact import power_of_two_scale
from mass.functional.origin.position_hash import mix_along, pixel_hash
from mass.functional.origin.select import BITS


def select_plane(x: Tensor) -> Tensor:
    """The first plane of each volume, covariant with circular shifts in depth, invariant to those of rows and columns.

    Shape: x (B, C, D, H, W), floating point -> (B,) int64 in [0, D). Carries no gradient.

    >>> x = torch.randn(1, 2, 6, 4, 4)
    >>> int((select_plane(x.roll((1, 3, 2), (2, 3, 4))) - select_plane(x)) % 6)
    1
    """
    x = x.detach().nan_to_num(nan=0.0)
    x = x if x.dtype == torch.float64 else x.float()
    flat = x.flatten(1)
    largest = torch.maximum(flat.amax(1), -flat.amin(1))
    scale = torch.where(largest < 2.0**-100, 0.0, power_of_two_scale(largest, BITS)).view(-1, 1, 1, 1, 1)
    whole = (x.double() * scale).round()
    change = (whole - whole.roll(1, 2)).abs().sum(1)  # (B, D, H, W), integers: exact in any order
    votes = (change > change.roll(1, 1) + change.roll(-1, 1)).sum((2, 3))
    layout = volume_hash(x).amax((2, 3))  # of a plane: its position that comes last
    chosen = torch.where(votes == votes.amax(1, keepdim=True), layout, torch.iinfo(torch.int64).min)
    return chosen.argmax(1)


def volume_hash(x: Tensor) -> Tensor:
    """A 64-bit hash of the whole volume as read from each position, (B, C, D, H, W) -> (B, D, H, W) int64.

    As `mass.functional.origin.position_hash.layout_hash`, along three axes.

    >>> x = torch.zeros(1, 1, 2, 3, 4); x[..., 0, 0, 0] = 1
    >>> len(volume_hash(x).unique())
    24
    """
    return mix_along(pixel_hash(x.flatten(3)).unflatten(2, x.shape[3:]), (3, 2, 1))


def shift_planes(x: Tensor, origin: Tensor, axis: int = 2) -> Tensor:
    """Each volume moved along its axis of planes: plane n holds what was at n + origin. Differentiable; any dtype.

    Shape: x (B, …), origin (B,) int64.

    >>> shift_planes(torch.arange(3.).view(1, 1, 3, 1, 1), torch.tensor([2])).flatten()
    tensor([2., 0., 1.])
    """
    count = x.shape[axis]
    planes = (torch.arange(count, device=x.device) + origin.to(x.device)[:, None]) % count
    batch = torch.arange(len(x), device=x.device)[:, None]
    return x.movedim(axis, 1)[batch, planes].movedim(1, axis).contiguous()
