"""Operations on single pixels, computed so that their rounding does not depend on where a pixel lies (mass.functional.kernels)."""

from __future__ import annotations

import copy
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
        self.inplace = inplace or bool(getattr(function, "inplace", False))
        if getattr(function, "inplace", False):
            function = copy.copy(function)
            vars(function)["inplace"] = False
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        recorded = self.inplace and torch.is_grad_enabled() and x.requires_grad  # the gradient needs what x held
        out = elementwise(self.function.forward, x.clone() if recorded else x)  # its hooks are this module's
        return x.copy_(out) if self.inplace else out  # who reads x afterwards expects the activation


class Power(nn.Module):
    """`x ** exponent`, the exponent a number, a tensor of one element (GeM's, say), or one for each channel."""

    def forward(self, x: Tensor, exponent: Tensor | float) -> Tensor:
        if isinstance(exponent, Tensor) and exponent.numel() > 1:
            return elementwise(torch.pow, *_broadcast(x, exponent))
        return elementwise(lambda values: values.pow(exponent), x)


class FloatPower(Power):
    """`x.float_power(exponent)`: in float64, whatever x is."""

    def forward(self, x: Tensor, exponent: Tensor | float) -> Tensor:
        return super().forward(x.double(), exponent)


class PowerOf(nn.Module):
    """`base ** x`, the base a number, a tensor of one element, or one for each channel."""

    def forward(self, base: Tensor | float, x: Tensor) -> Tensor:
        if isinstance(base, Tensor) and base.numel() > 1:
            return elementwise(torch.pow, *_broadcast(base, x))
        return elementwise(lambda values: torch.pow(base, values), x)


def _broadcast(a: Tensor | float, b: Tensor | float) -> tuple[Tensor, ...]:
    """A number or tensor and another as tensors of one shape, dtype and device."""
    dtype, device = torch.result_type(a, b), next(v.device for v in (a, b) if isinstance(v, Tensor))
    return torch.broadcast_tensors(*(torch.as_tensor(v, dtype=dtype, device=device) for v in (a, b)))


class ReciprocalRoot(nn.Module):
    """`x.rsqrt()`, which in half precision rounds otherwise in the rest behind the last vector."""

    def forward(self, x: Tensor) -> Tensor:
        return x.rsqrt()


class MathFunction(nn.Module):
    """A function of PyTorch's by its name, with its further arguments: what `Elementwise` computes.

    >>> MathFunction("log1p")(torch.zeros(1))
    tensor([0.])
    """

    def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.name, self.arguments, self.options = name, arguments, options

    def forward(self, x: Tensor) -> Tensor:
        return getattr(torch, self.name)(x, *self.arguments, **self.options)

    def extra_repr(self) -> str:
        return self.name


class MathFunctionOfTwo(nn.Module):
    """A function of two maps by its name, or of a map and what is broadcast to it, computed by whole vectors."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor | float, other: Tensor | float) -> Tensor:
        return elementwise(getattr(torch, self.name), *_broadcast(x, other))

    def extra_repr(self) -> str:
        return self.name


class ScaledSum(nn.Module):
    """`a + scale * b`: a fused multiply-add would round once, and the rest behind the last vector twice.

    Args:
        scale: a number.
        inplace: whether the first of the two is overwritten.
        backwards: `b + scale * a` instead.
    """

    def __init__(self, scale: float, inplace: bool = False, backwards: bool = False) -> None:
        super().__init__()
        self.scale, self.inplace, self.backwards = scale, inplace, backwards

    def forward(self, a: Tensor | float, b: Tensor | float) -> Tensor:
        first, second = (b, a) if self.backwards else (a, b)
        dtype = torch.result_type(first, second)
        if dtype in (torch.float16, torch.bfloat16):  # as ATen, which rounds the sum alone to these
            first, second = (v.float() if isinstance(v, Tensor) else v for v in (first, second))
        out = torch.as_tensor(first + second * self.scale).to(dtype)
        return a.copy_(out) if self.inplace and isinstance(a, Tensor) else out


class LocalResponse(nn.Module):
    """`F.local_response_norm` along the channels, each sum in one order; float32 where pooling knows no half precision."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        precise = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        squares = precise * precise
        channels, before = x.shape[1], self.size // 2
        squares = torch.cat((squares.new_zeros(x.shape[0], before, *x.shape[2:]), squares,
                             squares.new_zeros(x.shape[0], self.size - 1 - before, *x.shape[2:])), 1)  # fmt: skip
        total = squares[:, :channels]
        for k in range(1, self.size):
            total = total + squares[:, k : k + channels]
        scale = total / self.size * self.alpha + self.k
        return (precise / elementwise(lambda values: values.pow(self.beta), scale)).to(x.dtype)


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
