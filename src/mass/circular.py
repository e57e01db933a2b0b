"""Circularity: the border that a shift does not move (paper, section 4.3, modification 1).

Zero padding marks the border of the frame, and 'valid' operations lose it; both see where the image was cut. Here
every windowed operation of stride s reads past the border by wrapping, and gives exactly H / s outputs: output n
reads positions s n - p, …, s n - p + d (k - 1) modulo H, with p the original padding.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import as_pair
from .kernels import conv2d


def wrap(kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1) -> tuple[int, int]:
    """How far one axis of a windowed operation wraps (before, after) for H / stride outputs; negative: cropped.

    >>> wrap(kernel=3, padding=1), wrap(kernel=7, stride=2, padding=3), wrap(kernel=1, stride=2)
    ((1, 1), (3, 2), (0, 0))
    """
    reach = dilation * (kernel - 1)
    if isinstance(padding, str):
        padding = reach // 2 if padding == "same" else 0
    after = reach + 1 - stride - padding
    return padding, after if padding else max(after, 0)


def window_pads(kernel, stride, padding, dilation=1, before=(0, 0)) -> tuple[int, int, int, int]:  # type: ignore[no-untyped-def]
    """`wrap` on both axes, as (left, right, top, bottom); each argument an int or a pair, padding also a name.

    `before`: rows and columns that were padded in front of the operation, as part of it.
    """
    kernel, stride, dilation = as_pair(kernel, "kernel_size"), as_pair(stride, "stride"), as_pair(dilation, "dilation")
    paddings = (padding, padding) if isinstance(padding, int | str) else tuple(padding)
    if "same" in paddings:
        paddings = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    paddings = tuple((0 if p == "valid" else p) + more for p, more in zip(paddings, before, strict=True))
    rows, columns = (wrap(kernel[i], stride[i], paddings[i], dilation[i]) for i in (0, 1))
    return (*columns, *rows)


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.permute(0, 2, 3, 1).is_contiguous()  # vmap knows no memory format


# F.pad's circular mode drops channels_last: a copy to bring it back, and another on the way back.
@torch.library.custom_op("mass::circular_pad", mutates_args=())
def _pad(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    height, width = x.shape[2:]
    out = _pad_fake(x, left, right, top, bottom)
    rows, columns = slice(top, top + height), slice(left, left + width)
    out[:, :, rows, columns] = x
    out[:, :, :top, columns] = x[:, :, height - top :]
    out[:, :, top + height :, columns] = x[:, :, :bottom]
    out[:, :, :, :left] = out[:, :, :, width : width + left]
    out[:, :, :, left + width :] = out[:, :, :, left : left + right]
    return out


@_pad.register_fake
def _pad_fake(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    batch, channels, height, width = x.shape
    like = torch.channels_last if _is_channels_last(x) else torch.contiguous_format
    return torch.empty(
        (batch, channels, top + height + bottom, left + width + right),
        dtype=x.dtype, device=x.device, memory_format=like,
    )  # fmt: skip


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.pads = inputs[1:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    left, right, top, bottom = ctx.pads
    height, width = grad.shape[2] - top - bottom, grad.shape[3] - left - right
    rows = grad[:, :, top : top + height].clone()
    rows[:, :, height - top :] += grad[:, :, :top]
    rows[:, :, :bottom] += grad[:, :, top + height :]
    out = rows[..., left : left + width].clone()
    out[..., width - left :] += rows[..., :left]
    out[..., :right] += rows[..., left + width :]
    return out, None, None, None, None


_pad.register_autograd(_backward, setup_context=_setup_context)


@_pad.register_vmap
def _(info: Any, in_dims: Any, x: Tensor, *pads: int) -> tuple[Tensor, int]:
    x = x.movedim(in_dims[0], 0)
    return _pad(x.flatten(0, 1), *pads).unflatten(0, x.shape[:2]), 0


def circular_pad(x: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
    """Wrap a map around its borders, by any amount, more than once if need be; a negative amount crops.

    Shape: x (B, C, H, W), pad = (left, right, top, bottom) as `torch.nn.functional.pad` orders it
    -> (B, C, top + H + bottom, left + W + right), in the memory format of `x`.

    >>> circular_pad(torch.tensor([[[[1., 2.]]]]), (3, 2, 0, 0)).flatten()
    tensor([2., 1., 2., 1., 2., 1., 2.])
    """
    if not any(pad):
        return x
    left, right, top, bottom = pad
    height, width = x.shape[-2:]
    if min(pad) >= 0 and max(left, right) <= width and max(top, bottom) <= height:
        if not torch.compiler.is_compiling():
            return _pad(x, *pad)
        padded = F.pad(x, pad, mode="circular")  # which compilers can fuse
    else:
        rows = torch.arange(-top, height + bottom, device=x.device) % height
        columns = torch.arange(-left, width + right, device=x.device) % width
        padded = x.index_select(2, rows).index_select(3, columns)
    return padded.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if _is_channels_last(x) else padded


def circular_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pads: tuple[int, int, int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """A convolution on a circle, by a kernel that treats all positions alike, of any dilation.

    Shape: x (B, C, H, W), weight (C', C / groups, kH, kW), pads of `window_pads` -> (B, C', H / stride, W / stride).

    >>> x, weight = torch.arange(4.0).view(1, 1, 1, 4), torch.ones(1, 1, 1, 3)
    >>> circular_conv2d(x, weight, None, (7, 7, 0, 0), dilation=(1, 7)).flatten()  # 7 = -1 (mod 4)
    tensor([4., 3., 6., 5.])
    """
    if 2 * max(dilation) > min(x.shape[2:]):
        weight, pads, dilation = _shorten_dilation(x, weight, pads, dilation)
    return conv2d(circular_pad(x, pads), weight, bias, stride, dilation, groups)


def _shorten_dilation(
    x: Tensor, weight: Tensor, pads: tuple[int, int, int, int], dilation: tuple[int, int]
) -> tuple[Tensor, tuple[int, int, int, int], tuple[int, int]]:
    """The same convolution by its shortest steps, where it steps further than half the map: weight, pads and dilation.

    On a circle of H positions a step of d is one of d mod H, or of H - d backwards; whole turns all read one position. The
    atrous convolutions of an ASPP, which can be wider than their map, then wrap it once, or not at all.
    """
    starts, ends, steps = [pads[2], pads[0]], [pads[3], pads[1]], list(dilation)
    for axis, size in enumerate(x.shape[2:]):
        reach, step = weight.shape[2 + axis] - 1, dilation[axis] % size
        if reach == 0 or 2 * dilation[axis] <= size:
            continue
        start, end = starts[axis], ends[axis]
        if 2 * step > size:
            step = size - step
            weight = weight.flip(2 + axis)
            starts[axis] += step * reach
        elif step == 0:
            weight = weight.sum(2 + axis, keepdim=True)
        starts[axis] %= size
        ends[axis] = end + start - starts[axis] + (step - dilation[axis]) * reach
        steps[axis] = max(step, 1)
    return weight, (starts[1], ends[1], starts[0], ends[0]), (steps[0], steps[1])
