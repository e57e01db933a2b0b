"""Convolution that commutes with circular shifts: of images, signals and videos.

A signal (B, C, L) is a map of one row: its kernel (C', C, K) is read as (C', C, 1, K), its origin is (0, o). Of a video
(B, C, T, H, W) rows and columns wrap, and time stays what it is: a kernel that spans frames sees the first and the last
of them as the plain one does, zeros beyond; strides in time sample the same frames. An origin is chosen over the
channels of all frames, and moves all of them alike.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mass import native
from mass.axes import Pair, pair_of, triple_of
from mass.functional.depthwise import depthwise, serves
from mass.functional.derivatives import takes_derivatives
from mass.functional.kernels import conv2d, conv3d
from mass.functional.padding import circular_pad, sample, window_pads, wrap_frames


def circular_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    dilation: Pair,
    groups: int,
    pads: tuple[int, int, int, int],
    origin: Tensor | None = None,
) -> Tensor:
    """`conv2d` of a map moved to its origin and wrapped by `pads` (mass.functional.padding.window_pads), position-independent.

    Shape: x (B, C, H, W), weight (C', C / groups, kH, kW), origin (B, 2) int64 or None -> (B, C', H / s, W / s).

    >>> x, weight = torch.arange(4.0).view(1, 1, 1, 4), torch.ones(1, 1, 1, 3)
    >>> circular_conv2d(x, weight, None, (1, 1), (1, 7), 1, (7, 7, 0, 0)).flatten()  # 7 = -1 (mod 4)
    tensor([4., 3., 6., 5.])
    """
    if 2 * max(dilation) > min(x.shape[2:]):
        weight, pads, dilation = _shorten_dilation(x, weight, pads, dilation)
    # One that only samples would leave most of a copy unread.
    sampling = weight.shape[2:] == (1, 1) and stride != (1, 1) and not any(pads)
    if origin is not None and sampling and (torch.compiler.is_compiling() or native.unobserved(x, weight, bias)):
        return conv2d(sample(x, stride, origin), weight, bias, (1, 1), (1, 1), groups)
    if groups == x.shape[1] and serves(x, weight, bias, stride, pads, origin):
        return depthwise(x, weight, bias, stride, dilation, pads, origin)
    padded = circular_pad(x, pads, origin)
    if padded is x or not _is_recorded(x):
        return conv2d(padded, weight, bias, stride, dilation, groups)
    with _wrapped_again(x, pads, origin, padded):
        return conv2d(padded, weight, bias, stride, dilation, groups)


def _is_recorded(x: Tensor) -> bool:
    """Whether an eager backward pass will come, and nobody else (a checkpoint, say) decides what is kept for it."""
    return (
        torch.is_grad_enabled()
        and type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not takes_derivatives()
        and not torch._C._are_functorch_transforms_active()
        and torch._C._autograd._top_saved_tensors_default_hooks(False) is None
    )


def _wrapped_again(
    x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None, padded: Tensor
) -> AbstractContextManager[None]:
    """Inside, the padded map is not kept for the backward pass: x is, as the plain network keeps it, and wraps again."""
    version, place, shape = x._version, padded.data_ptr(), padded.shape
    kept = x.detach()

    def pack(saved: Tensor) -> Tensor | None:
        return None if saved.data_ptr() == place and saved.shape == shape else saved

    def unpack(packed: Tensor | None) -> Tensor:
        if packed is not None:
            return packed
        if kept._version != version:
            raise RuntimeError("a map that a convolution needs for its gradient was written to after it.")
        return circular_pad(kept, pads, origin)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def _shorten_dilation(
    x: Tensor, weight: Tensor, pads: tuple[int, int, int, int], dilation: Pair
) -> tuple[Tensor, tuple[int, int, int, int], Pair]:
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


def _padding(padding: Any) -> Any:
    """A padding along one axis for a map of one row; names ('same') are as good for both."""
    return padding if isinstance(padding, str) else pair_of(padding, 1, 0)


def _in_time(x: Tensor, kernel: int, padding: int | str, dilation: int, mode: str) -> tuple[Tensor, int]:
    """What is left to pad in time: zeros are left to the convolution, other modes and odd amounts are padded here."""
    if isinstance(padding, str):
        total = dilation * (kernel - 1) if padding == "same" else 0
        before, after = total // 2, total - total // 2
    else:
        before = after = padding
    if before == after and (mode == "zeros" or not before):
        return x, before
    return F.pad(x, (0, 0, 0, 0, before, after), "constant" if mode == "zeros" else mode), 0


def circular_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    before: Pair = (0, 0),
    origin: Tensor | None = None,
    mode: str = "zeros",
) -> Tensor:
    """`torch.nn.functional.conv1d` with circular borders, or `conv3d` with circular rows and columns, moved to an origin.

    `before`: rows and columns padded before it; `mode` is how a video is padded in time, as `padding_mode` of `torch.nn.Conv3d`.

    Shape: signals (B, C, L), weight (C', C / groups, K), origin (B, 2) int64, its rows 0, or None -> (B, C', L / stride);
    videos (B, C, T, H, W), weight (C', C / groups, kT, kH, kW), origin (B, 2) -> (B, C', T', H / stride, W / stride).

    >>> circular_conv(torch.tensor([[[1., 2., 4.]]]), torch.ones(1, 1, 2), None)
    tensor([[[3., 6., 5.]]])
    >>> x = torch.arange(4.).view(1, 1, 1, 1, 4)
    >>> circular_conv(x, torch.ones(1, 1, 3, 1, 2), None, padding=(1, 0, 0)).flatten()
    tensor([1., 3., 5., 3.])
    """
    if x.ndim == 3:
        stride, dilation = pair_of(stride, 1), pair_of(dilation, 1)
        pads = window_pads((1, weight.shape[2]), stride, _padding(padding), dilation, before)
        row, kernel = x.unsqueeze(2), weight.unsqueeze(2)
        return circular_conv2d(row, kernel, bias, stride, dilation, groups, pads, origin).squeeze(2)
    stride, dilation, spans = triple_of(stride), triple_of(dilation), weight.shape[2:]
    padding = padding if isinstance(padding, str) else triple_of(padding)
    rows_and_columns = padding if isinstance(padding, str) else padding[1:]
    pads = window_pads(tuple(spans[1:]), stride[1:], rows_and_columns, dilation[1:], before)
    in_time = padding if isinstance(padding, str) else padding[0]
    x, frames = _in_time(x, spans[0], in_time, dilation[0], mode)
    return conv3d(wrap_frames(x, pads, origin), weight, bias, stride, frames, dilation, groups)
