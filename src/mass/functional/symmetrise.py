"""Averaging over the translation symmetries of an input (frame averaging, Puny et al., 2022)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mass.functional.exact import power_of_two_scale
from mass.functional.position_hash import layout_hash


@torch.library.custom_op("mass::symmetrise", mutates_args=())
def symmetrise(y: Tensor, source: Tensor) -> Tensor:
    """The mean of a map over the positions that the translation symmetries of another one join.

    Shape: y (B, C, H, W), source (B, C', H, W) -> (B, C, H, W), exact sums: bit-identical at joined positions.

    >>> y = torch.tensor([[[[1., 2., 3., 4.]]]])
    >>> symmetrise(y, torch.tensor([[[[0., 1., 0., 1.]]]])).flatten()       # looks the same when moved by 2
    tensor([2., 3., 2., 3.])
    """
    _, channels, height, width = y.shape
    layout, order = layout_hash(source).flatten(1).sort(1)  # equal hashes: positions that a symmetry of the input joins
    fresh = torch.zeros_like(layout)
    fresh[:, 1:] = layout[:, 1:] != layout[:, :-1]
    orbit = torch.empty_like(order).scatter_(1, order, fresh.cumsum(1))  # (B, H * W)
    index = orbit[:, None].expand(-1, channels, -1)
    values = y.flatten(2)
    scale = power_of_two_scale(values.abs().amax((1, 2), keepdim=True), 52 - math.ceil(math.log2(height * width)))
    exact = values.double().mul(scale).round_()
    total = torch.zeros_like(exact).scatter_add_(2, index, exact)
    size = torch.zeros_like(exact[:, :1]).scatter_add_(2, orbit[:, None], torch.ones_like(exact[:, :1]))
    return (total / scale / size.clamp(min=1)).gather(2, index).to(y.dtype).view_as(y)


@symmetrise.register_fake
def _(y: Tensor, source: Tensor) -> Tensor:
    return torch.empty_like(y, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return symmetrise(grad, ctx.saved_tensors[0]), None


symmetrise.register_autograd(_backward, setup_context=_setup_context)
