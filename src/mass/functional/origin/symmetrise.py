"""Averaging over the translation symmetries of an input (frame averaging, Puny et al., 2022)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mass.functional.derivatives import takes_derivatives
from mass.functional.exact import power_of_two_scale
from mass.functional.origin.position_hash import layout_hash


def _average(y: Tensor, source: Tensor) -> Tensor:
    _, channels, height, width = y.shape
    layout, order = layout_hash(source).flatten(1).sort(1)  # equal hashes: positions that a symmetry of the input joins
    fresh = torch.zeros_like(layout)
    fresh[:, 1:] = layout[:, 1:] != layout[:, :-1]
    orbit = torch.empty_like(order).scatter_(1, order, fresh.cumsum(1))  # (B, H * W)
    index = orbit[:, None].expand(-1, channels, -1)
    values = y.flatten(2)
    finite = values.isfinite()
    exact = torch.where(finite, values, 0).double()
    largest = torch.zeros_like(exact).scatter_reduce_(2, index, exact.abs(), "amax")  # of each orbit and channel
    scale = power_of_two_scale(largest, 52 - math.ceil(math.log2(height * width)))
    total = torch.zeros_like(exact).scatter_add_(2, index, (exact * scale.gather(2, index)).round_())
    size = torch.zeros_like(exact[:, :1]).scatter_add_(2, orbit[:, None], torch.ones_like(exact[:, :1]))
    beyond = torch.zeros_like(exact).scatter_add_(2, index, torch.where(finite, 0, values).double())
    mean = torch.where(beyond == 0, total / scale / size.clamp(min=1), beyond).gather(2, index).to(y.dtype)
    return torch.where(size.gather(2, orbit[:, None]) == 1, values, mean).view_as(y)


_symmetrise = torch.library.custom_op("mass::symmetrise", _average, mutates_args=())


@_symmetrise.register_fake
def _(y: Tensor, source: Tensor) -> Tensor:
    return torch.empty_like(y, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.save_for_forward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return symmetrise(grad, ctx.saved_tensors[0]), None


_symmetrise.register_autograd(_backward, setup_context=_setup_context)


@_symmetrise.register_vmap
def _(info: Any, in_dims: Any, y: Tensor, source: Tensor) -> tuple[Tensor, int]:
    rows = [
        (t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)
        for t, dim in zip((y, source), in_dims, strict=True)
    ]
    return _symmetrise(*rows).unflatten(0, (info.batch_size, -1)), 0


class _WithTangent(torch.autograd.Function):
    """The operator, linear in `y`, with all rules of derivatives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, source: Tensor) -> Tensor:
        return _symmetrise(y, source)

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return symmetrise(tangent, ctx.saved_tensors[0])


def symmetrise(y: Tensor, source: Tensor) -> Tensor:
    """The mean of a map over the positions that the translation symmetries of another one join.

    Shape: y (B, C, H, W), source (B, C', H, W) -> (B, C, H, W), exact sums: bit-identical at joined positions. What is joined with
    no other keeps its bits; infinities and NaN spread to the positions that they are joined with, and to no others.

    Raises:
        RuntimeError: compiled, where forward-mode derivatives are taken.

    >>> y = torch.tensor([[[[1., 2., 3., 4.]]]])
    >>> symmetrise(y, torch.tensor([[[[0., 1., 0., 1.]]]])).flatten()       # looks the same when moved by 2
    tensor([2., 3., 2., 3.])
    """
    if not takes_derivatives():
        return _symmetrise(y, source)
    if torch.compiler.is_compiling():  # compilers know no rule for tangents, and would lose them
        raise RuntimeError("forward-mode derivatives of symmetrised outputs cannot be compiled; take them uncompiled.")
    return _WithTangent.apply(y, source.detach())
