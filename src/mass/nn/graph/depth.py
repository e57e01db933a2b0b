"""What a network of volumes that is equivariant in depth too adds to its graph (mass.functional.origin.depth)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mass.functional.origin.depth import select_plane, shift_planes


class SelectPlane(nn.Module):
    """`select_plane`: (B, C, D, H, W) -> (B,), the plane at which each volume begins; of several, read as one."""

    def forward(self, *volumes: Tensor) -> Tensor:
        first = volumes[0]
        alike = [x if x.ndim == first.ndim else x.unsqueeze(1) for x in volumes]
        return select_plane(torch.cat([x.to(first.dtype).expand(len(first), *x.shape[1:]) for x in alike], 1))


class ShiftPlanes(nn.Module):
    """`shift_planes` along an axis, to the canonical position or, with a negative scale, back.

    Args:
        axis: of planes; scale: planes of the tensor for one of the volume, negative for the way back.
    """

    def __init__(self, axis: int, scale: int = 1) -> None:
        super().__init__()
        self.axis, self.scale = axis, scale

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        return shift_planes(x, origin * self.scale, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}, scale={self.scale}"
