"""Convolutions with circular borders, as modules (mass.functional.conv)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mass.axes import Pair
from mass.errors import as_pair, check_divides
from mass.functional.conv import circular_conv, circular_conv2d
from mass.functional.kernels import conv2d
from mass.functional.padding import window_pads


class CircularConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with circular borders: (B, C, H, W) -> (B, C', H / stride, W / stride), position-independent.

    With an `origin` (B, 2) it works on the map moved there.

    >>> import torch
    >>> conv, x = CircularConv2d(3, 4, 3, padding=1), torch.rand(1, 3, 8, 8)
    >>> torch.allclose(conv(x.roll(2, 3)), conv(x).roll(2, 3), atol=1e-6)
    True
    """

    before = (0, 0)  # rows and columns padded in front of it, when converted (mass.fx.rules.padding)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        if origin is None and self.kernel_size == self.stride == (1, 1) and self.padding == self.before == (0, 0):
            return conv2d(input, self.weight, self.bias, groups=self.groups)  # pixel by pixel: nothing wraps
        pads = window_pads(self.kernel_size, self.stride, self.padding, self.dilation, self.before)
        stride, dilation = as_pair(self.stride, "stride"), as_pair(self.dilation, "dilation")
        check_divides(input, stride)
        return circular_conv2d(input, self.weight, self.bias, stride, dilation, self.groups, pads, origin)


class CircularConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with circular borders: (B, C, L) -> (B, C', L / stride), position-independent.

    With an `origin` (B, 2), (0, o) for each signal, it works on the signal moved there.
    """

    before = (0, 0)  # what was padded in front of it, when converted (mass.fx.rules.padding)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        options = self.stride, self.padding, self.dilation, self.groups, self.before, origin
        return circular_conv(input, self.weight, self.bias, *options)


class CircularConv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with circular rows and columns: (B, C, T, H, W) -> (B, C', T', H / stride, W / stride).

    With an `origin` (B, 2) it works on the video moved there.
    """

    before = (0, 0)  # rows and columns padded in front of it, when converted (mass.fx.rules.padding)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        options = self.stride, self.padding, self.dilation, self.groups, self.before, origin, self.padding_mode
        return circular_conv(input, self.weight, self.bias, *options)


class FunctionalConv2d(nn.Module):
    """`F.conv2d` with circular borders, for weights that the network computes."""

    def __init__(
        self, kernel_size: Pair, stride: Pair, padding: Any, dilation: Pair, groups: int, before: Pair = (0, 0)
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.groups, self.before = dilation, groups, before

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """How far it reads around each border, by the stride that it has now: APS and LPS make it 1."""
        return window_pads(self.kernel_size, self.stride, self.padding, self.dilation, self.before)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return circular_conv2d(x, weight, bias, self.stride, self.dilation, self.groups, self.pads)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}, groups={self.groups}"


class FunctionalConv(nn.Module):
    """`F.conv1d` or `F.conv3d` with circular borders, for weights that the network computes."""

    def __init__(self, *options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return circular_conv(x, weight, bias, *self.options)

    def extra_repr(self) -> str:
        return "stride={}, padding={}, dilation={}, groups={}".format(*self.options)
