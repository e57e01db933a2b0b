"""Reductions over positions that are bit-identical in any order (global pooling, group normalisation).

A mean over a shifted map adds the same numbers in another order, and floating-point sums depend on the order. Here
values become integers of b bits, scaled by a power of two from their own maximum, with b + log2(n) <= 52: float64
then adds n of them exactly, in any order. For the 7 x 7 map behind a classifier that is 46 bits, 22 more than
float32 has.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mass import native
from mass.functional.derivatives import takes_derivatives


def power_of_two_scale(largest: Tensor, bits: int) -> Tensor:
    """The power of two that brings a maximum into [2^(bits-1), 2^bits), float64, made from its exponent: exact.

    >>> power_of_two_scale(torch.tensor([1., 1.5, 6.]), 3)
    tensor([4., 4., 1.], dtype=torch.float64)
    """
    exponent = largest.double().view(torch.int64) >> 52
    return ((2 * 1023 + bits - 1 - exponent).clamp(1, 2046) << 52).view(torch.float64)


def _mean(x: Tensor, dims: list[int]) -> Tensor:
    count = math.prod([x.shape[d] for d in dims])  # a list: torch.compile cannot look into a generator
    bits = 52 - math.ceil(math.log2(count))
    if x.ndim == 4 and dims == [2, 3] and (mean := native.exact_mean(x, bits)) is not None:
        return mean
    scale = power_of_two_scale(torch.maximum(x.amax(dims, keepdim=True), -x.amin(dims, keepdim=True)), bits)
    total = (x.double() * scale).round_().sum(dims, keepdim=True)
    return (total / scale / count).to(x.dtype)


_exact_mean = torch.library.custom_op("mass::exact_mean", _mean, mutates_args=())


@_exact_mean.register_fake
def _(x: Tensor, dims: list[int]) -> Tensor:
    return x.new_empty([1 if d in dims else size for d, size in enumerate(x.shape)])


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.shape, ctx.dims = inputs[0].shape, inputs[1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return grad.expand(ctx.shape) / math.prod(ctx.shape[d] for d in ctx.dims), None


_exact_mean.register_autograd(_backward, setup_context=_setup_context)


@_exact_mean.register_vmap
def _(info: Any, in_dims: Any, x: Tensor, dims: list[int]) -> tuple[Tensor, int]:
    return _exact_mean(x.movedim(in_dims[0], 0), [d + 1 for d in dims]), 0


class _WithTangent(torch.autograd.Function):
    """The operator with a rule for forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dims: list[int]) -> Tensor:
        return _exact_mean(x, dims)

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent.mean(ctx.dims, keepdim=True)


def _with_tangent(x: Tensor, dims: list[int]) -> Tensor:
    """In forward mode; compilers know no such rule, and have PyTorch's mean, whose last bits depend on the order."""
    return x.mean(dims, keepdim=True) if torch.compiler.is_compiling() else _WithTangent.apply(x, dims)


def exact_mean(x: Tensor, dims: tuple[int, ...] = (2, 3), keepdim: bool = False) -> Tensor:
    """The mean over some axes, bit-identical however positions are permuted along them.

    Shape: any floating-point tensor; `dims` are removed, or kept with size 1. The dtype is kept.

    >>> x = torch.randn(2, 3, 8, 8)
    >>> torch.equal(exact_mean(x), exact_mean(x.roll((3, 5), (2, 3))))
    True
    """
    axes = sorted(d % x.ndim for d in dims)
    # Compiled for a GPU its few operations become one kernel; a gradient needs the operator's rule.
    fused = torch.compiler.is_compiling() and x.is_cuda and not (torch.is_grad_enabled() and x.requires_grad)
    if fused or native.unobserved(x):
        mean = _mean(x, axes)
    else:
        mean = _with_tangent(x, axes) if takes_derivatives() else _exact_mean(x, axes)
    return mean if keepdim else mean.squeeze(axes)


def exact_batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalisation of every channel by its exact mean and variance over the batch, (B, C, …) -> the same."""
    rows = x.transpose(0, 1)
    normal = exact_group_norm(rows.flatten(1)[None], x.shape[1], weight, bias, eps)
    return normal.view(rows.shape).transpose(0, 1).contiguous()


def exact_group_norm(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Group normalisation with exact mean and variance, (B, C, …) -> the same; `groups = C` is instance norm.

    >>> x = torch.rand(1, 4, 8, 8)
    >>> torch.allclose(exact_group_norm(x, 2, None, None, 1e-5), torch.nn.functional.group_norm(x, 2), atol=1e-5)
    True
    """
    precise = x if x.dtype == torch.float64 else x.float()  # squares overflow float16
    grouped = precise.unflatten(1, (groups, -1))
    dims, of_channels = tuple(range(2, grouped.ndim)), (1, -1, *[1] * (x.ndim - 2))
    centred = grouped - exact_mean(grouped, dims, keepdim=True)
    variance = exact_mean(centred.square(), dims, keepdim=True)
    normal = (centred * (variance + eps).rsqrt()).flatten(1, 2)
    if weight is not None:
        normal = normal * weight.view(of_channels).to(normal.dtype)
    normal = normal if bias is None else normal + bias.view(of_channels).to(normal.dtype)
    return normal.to(x.dtype)
