"""Circular 3 x 3 convolutions of few channels, trained on a GPU: borders wrap where they are read, and nothing is padded.

For 16 channels cuDNN's kernels take several times as long as reading the maps does, and a wrapped copy comes on top. These are
one Triton kernel each for outputs, input gradients (the same convolution by turned weights) and weight gradients, with
float32 sums, in the dtype of the map.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor, nn

from mass.nn.conv import CircularConv2d

FEWEST, MOST = 16, 64  # channels: what tensor cores take, and where cuDNN is as fast
_BLOCK, _WARPS = 128, 4  # positions that a program computes at once, and its warps
_PROGRAMS = 128  # that share the positions of a weight gradient


@triton.jit
def _conv(  # type: ignore[no-untyped-def]
    x, w, out, count, step_c, step_o, step_i, step_j,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, O: tl.constexpr, TURNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = (place < count)[:, None]
    row, column, image = place // W % H, place % W, place // (H * W)
    c, o = tl.arange(0, C), tl.arange(0, O)
    total = tl.zeros([BLOCK, O], tl.float32)
    for i in tl.static_range(3):
        line = (image * H + (row + (i + H - 1)) % H) * W
        for j in tl.static_range(3):
            read = (line + (column + (j + W - 1)) % W) * C
            values = tl.load(x + read[:, None] + c[None, :], inside, other=0.0)
            at = (2 - i) * step_i + (2 - j) * step_j if TURNED else i * step_i + j * step_j
            weights = tl.load(w + at + c[:, None] * step_c + o[None, :] * step_o)
            total = tl.dot(values, weights, total)
    tl.store(out + place[:, None] * O + o[None, :], total.to(out.dtype.element_ty), inside)


@triton.jit
def _weights(  # type: ignore[no-untyped-def]
    x, gradient, out, count, share,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, O: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of one share of the positions, sums for the three weights of one row: out (shares, 3, 3, C, O) float32."""
    i = tl.program_id(1)
    c, o = tl.arange(0, C), tl.arange(0, O)
    left, middle, right = tl.zeros([C, O], tl.float32), tl.zeros([C, O], tl.float32), tl.zeros([C, O], tl.float32)
    first = tl.program_id(0) * share
    for start in range(first, first + share, BLOCK):
        place = start + tl.arange(0, BLOCK)
        inside = place < count
        row, column, image = place // W % H, place % W, place // (H * W)
        line = (image * H + (row + (i + H - 1)) % H) * W
        by = tl.load(gradient + place[:, None] * O + o[None, :], inside[:, None], other=0.0)
        read = (line + (column + (W - 1)) % W) * C
        left = tl.dot(tl.load(x + read[None, :] + c[:, None], inside[None, :], other=0.0), by, left)
        read = (line + column) * C
        middle = tl.dot(tl.load(x + read[None, :] + c[:, None], inside[None, :], other=0.0), by, middle)
        read = (line + (column + 1) % W) * C
        right = tl.dot(tl.load(x + read[None, :] + c[:, None], inside[None, :], other=0.0), by, right)
    at = out + ((tl.program_id(0) * 9 + 3 * i) * C + c[:, None]) * O + o[None, :]
    tl.store(at, left)
    tl.store(at + C * O, middle)
    tl.store(at + 2 * C * O, right)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@torch.library.custom_op("companion::narrow_conv", mutates_args=())
def narrow_conv(x: Tensor, weight: Tensor, turned: bool = False) -> Tensor:
    """The circular convolution, padding 1; `turned`: by the weights turned around, inputs and outputs exchanged.

    Shape: x (B, C, H, W), weight (O, C, 3, 3) or, turned, (C, O, 3, 3) -> (B, O, H, W), channels last.
    """
    x = _last(x)
    batch, channels, height, width = x.shape
    step_o, step_c, step_i, step_j = weight.stride()
    if turned:
        step_o, step_c = step_c, step_o
    outputs = weight.shape[1 if turned else 0]
    out = torch.empty(
        (batch, outputs, height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    count = batch * height * width
    _conv[(triton.cdiv(count, _BLOCK),)](
        x, weight, out, count, step_c, step_o, step_i, step_j, height, width, channels, outputs, turned, _BLOCK,
        num_warps=_WARPS,
    )  # fmt: skip
    return out


@narrow_conv.register_fake
def _(x: Tensor, weight: Tensor, turned: bool = False) -> Tensor:
    shape = (x.shape[0], weight.shape[1 if turned else 0], *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.custom_op("companion::narrow_weights", mutates_args=())
def narrow_weights(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the weights. Shape: x (B, C, H, W), gradient (B, O, H, W) -> (O, C, 3, 3), channels last."""
    x, gradient = _last(x), _last(gradient)
    batch, channels, height, width = x.shape
    outputs, count = gradient.shape[1], batch * height * width
    share = triton.cdiv(triton.cdiv(count, _PROGRAMS), _BLOCK) * _BLOCK
    shares = triton.cdiv(count, share)
    sums = torch.empty((shares, 3, 3, channels, outputs), dtype=torch.float32, device=x.device)
    _weights[(shares, 3)](x, gradient, sums, count, share, height, width, channels, outputs, _BLOCK, num_warps=_WARPS)
    return _last(sums.sum(0).permute(3, 2, 0, 1).to(x.dtype))


@narrow_weights.register_fake
def _(x: Tensor, gradient: Tensor) -> Tensor:
    shape = gradient.shape[1], x.shape[1], 3, 3
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, weight = ctx.saved_tensors
    of_x = narrow_conv(gradient, weight, True) if ctx.needs_input_grad[0] else None
    return of_x, narrow_weights(x, gradient) if ctx.needs_input_grad[1] else None, None


narrow_conv.register_autograd(_backward, setup_context=_setup_context)


class NarrowConv2d(CircularConv2d):
    """`CircularConv2d` that trains by these kernels, in automatic mixed precision; otherwise it is what it was."""

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        if origin is not None or not self.training or not torch.is_autocast_enabled("cuda"):
            return super().forward(input, origin)
        dtype = torch.get_autocast_dtype("cuda")
        x, weight, more = input.to(dtype), self.weight.to(dtype), FEWEST - self.in_channels
        if more > 0:
            x, weight = F.pad(x, (0, 0, 0, 0, 0, more)), F.pad(weight, (0, 0, 0, 0, 0, more))
        return narrow_conv(x, weight)


def narrow(model: nn.Module) -> nn.Module:
    """Let the convolutions of a network that these kernels serve train by them; in place."""
    for module in model.modules():
        if (
            type(module) is CircularConv2d
            and (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
            and (module.dilation, module.groups, module.before, module.bias) == ((1, 1), 1, (0, 0), None)
            and module.out_channels in (16, 32, 64)
            and (module.in_channels < FEWEST or module.in_channels in (16, 32, 64))
            and max(module.in_channels, module.out_channels) <= MOST
        ):
            module.__class__ = NarrowConv2d
    return model
