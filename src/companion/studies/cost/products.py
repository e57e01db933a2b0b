"""What a border that wraps computes and one of zeros does not: the products of a convolution whose factor lies outside the map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from companion.models.random_weights import calibrated


def products(name: str, size: int) -> dict[str, Any]:
    """The products of a network's convolutions, in millions an image: all, and those whose factor lies inside the map.

    Returns:
        net; "zero padding", without what a zero is multiplied by; "wrapped", all; and their ratio.
    """
    network = calibrated(name)
    inside = everywhere = 0

    def add(conv: nn.Conv2d, given: tuple[Tensor], out: Tensor) -> None:
        nonlocal inside, everywhere
        met = [taps_inside(conv, axis, given[0].shape[2 + axis], out.shape[2 + axis]) for axis in (0, 1)]
        channels = conv.out_channels * conv.in_channels // conv.groups
        inside += channels * met[0] * met[1]
        everywhere += channels * out[0, 0].numel() * conv.kernel_size[0] * conv.kernel_size[1]

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return {"net": name, "zero padding": inside / 1e6, "wrapped": everywhere / 1e6, "ratio": everywhere / inside}


def taps_inside(conv: nn.Conv2d, axis: int, positions: int, outputs: int) -> int:
    """How often a tap of a convolution's window meets one of so many positions, over all outputs along one axis.

    >>> taps_inside(nn.Conv2d(1, 1, 3, padding=1), 0, 7, 7)         # of 21
    19
    """
    padding = conv.padding[axis] if isinstance(conv.padding, tuple) else 0
    first = torch.arange(outputs) * conv.stride[axis] - int(padding)
    place = first[:, None] + torch.arange(conv.kernel_size[axis]) * conv.dilation[axis]
    return int(((place >= 0) & (place < positions)).sum())
