"""Depthwise convolution of a map moved to its origin, borders wrapped, in one pass: no padded copy is made.

Compiled on the CPU, in Triton on a GPU, where compilers call it as one opaque operator; for passes that record no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mass import native
from mass.axes import Pair
from mass.errors import check_origin
from mass.functional.padding import circular_pad, empty_map, laid_out_as

_MOST_TAPS = 9  # on a GPU (H200, 64 images: 3 x 3 takes 0.5 to 0.9 of the time of a copy and cuDNN, 7 x 7 1.7)
_ON_A_GPU = (torch.float16, torch.bfloat16, torch.float32)


def serves(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, pads: tuple[int, int, int, int], origin: Tensor | None
) -> bool:
    """Whether `depthwise` computes this convolution, and is the faster way to."""
    if weight.shape[0] != x.shape[1] or weight.shape[1] != 1 or (bias is not None and bias.shape != weight.shape[:1]):
        return False
    if not x.is_cuda and not native.called_when_compiled(x):
        return native.serves_windows(x, stride, (x, weight, bias), origin) and _pays(x, weight, pads, origin)
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    return (
        _pays(x, weight, pads, origin)
        and not learns
        and not torch.is_autocast_enabled(x.device.type)
        and x.dtype in (_ON_A_GPU if x.is_cuda else (torch.float32,))
        and all(t is None or (t.dtype == x.dtype and t.device == x.device) for t in (weight, bias))
        and x.shape[2] % stride[0] == x.shape[3] % stride[1] == 0
        and (torch.compiler.is_compiling() or native.unobserved(x, weight, bias, origin))
    )


def _pays(x: Tensor, weight: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None) -> bool:
    """Whether the kernel beats a copy and the library's: on the CPU up to 5 x 5, and where a map wraps more than once
    (2 cores, channels first and last: 0.4 to 1.0 of the time; at 7 x 7 up to 1.8)."""
    taps = weight.shape[2] * weight.shape[3]
    if x.is_cuda:  # a compiler makes a border that is not moved part of what wrote the map
        return taps <= _MOST_TAPS and not (torch.compiler.is_compiling() and origin is None)
    return taps <= 25 or max(pads[:2]) > x.shape[3] or max(pads[2:]) > x.shape[2]


def _compute(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    dilation: list[int],
    pads: list[int],
    origin: Tensor | None,
) -> Tensor:
    left, right, top, bottom = pads
    steps, spread = (stride[0], stride[1]), (dilation[0], dilation[1])
    out = native.depthwise(x, weight, bias, steps, spread, (left, right, top, bottom), origin)
    if out is not None:
        return out
    wrapped = circular_pad(x, (left, right, top, bottom), origin)
    return laid_out_as(x, F.conv2d(wrapped, weight, bias, steps, 0, spread, x.shape[1]))


_depthwise = torch.library.custom_op("mass::depthwise", _compute, mutates_args=())


@_depthwise.register_fake
def _(x: Tensor, weight: Any, bias: Any, stride: Any, dilation: Any, pads: Any, origin: Any) -> Tensor:
    return empty_map(x, x.shape[2] // stride[0], x.shape[3] // stride[1])


@_depthwise.register_vmap
def _(info: Any, in_dims: Any, *arguments: Any) -> tuple[Tensor, int]:
    def one(n: int) -> list[Any]:
        return [a if dim is None else a.select(dim, n) for a, dim in zip(arguments, in_dims, strict=True)]

    return torch.stack([_depthwise(*one(n)) for n in range(info.batch_size)]), 0


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    dilation: Pair,
    pads: tuple[int, int, int, int],
    origin: Tensor | None = None,
) -> Tensor:
    """A convolution of every channel by a kernel of its own, of a map that `serves` has accepted.

    Shape: x (B, C, H, W), weight (C, 1, kH, kW), bias (C,) or None, origin (B, 2) int64 or None -> (B, C, H / stride, W / stride).
    """
    origin = None if origin is None else check_origin(origin, x)
    call = _depthwise if torch.compiler.is_compiling() else _compute
    return call(x, weight, bias, list(stride), list(dilation), list(pads), origin)
