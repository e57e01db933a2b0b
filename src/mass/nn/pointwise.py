"""Operations on single pixels, computed so that their rounding does not depend on where a pixel lies (mass.functional.kernels)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mass.functional.kernels import elementwise, pixelwise_linear


class PixelwiseLinear(nn.Linear):
    """`nn.Linear` over the pixels of a channels-last map, by a position-independent kernel."""

    def forward(self, input: Tensor) -> Tensor:
        return pixelwise_linear(input, self.weight, self.bias)


class FunctionalLinear(nn.Module):
    """`F.linear` over the pixels of a channels-last map, for weights that the network computes."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return pixelwise_linear(x, weight, bias)


class Elementwise(nn.Module):
    """An activation computed by whole vectors, so that its rounding does not depend on the position."""

    def __init__(self, function: nn.Module, inplace: bool = False) -> None:
        super().__init__()
        self.function = function
        self.inplace = inplace or bool(getattr(function, "inplace", False))

    def forward(self, x: Tensor) -> Tensor:
        out = elementwise(self.function, x)
        return x.copy_(out) if self.inplace else out  # who reads x afterwards expects the activation


class Power(nn.Module):
    """`x ** exponent`, the exponent a number or a tensor of one element (GeM's, say)."""

    def forward(self, x: Tensor, exponent: Tensor | float) -> Tensor:
        return elementwise(lambda values: values.pow(exponent), x)


class PowerOf(nn.Module):
    """`base ** x`, the base a number or a tensor of one element."""

    def forward(self, base: Tensor | float, x: Tensor) -> Tensor:
        return elementwise(lambda values: torch.pow(base, values), x)


class GatedLinear(nn.Module):
    """`F.glu`: one half of the channels times the sigmoid of the other."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, self.dim)
        return values * elementwise(torch.sigmoid, gates)


class ChannelsLast(nn.Module):
    """A function along the channels, computed row by row of (B, H, W, C): every position by the same loop.

    Args:
        function: takes a tensor and `dim`, and `options`.
        dim: the axis of channels.
        keeps: whether that axis is still there afterwards.
    """

    def __init__(
        self, function: Callable[..., Tensor], dim: int, options: dict[str, Any] | None = None, keeps: bool = True
    ) -> None:
        super().__init__()
        self.function, self.dim, self.options, self.keeps = function, dim, options or {}, keeps

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x.movedim(self.dim, -1).contiguous(), dim=-1, **self.options)
        return y.movedim(-1, self.dim) if self.keeps else y
