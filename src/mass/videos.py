"""Videos (B, C, T, H, W): rows and columns wrap, time stays what it is.

A kernel that spans frames sees the first and the last of them as the plain one does, zeros beyond; strides in time
sample the same frames. An origin is chosen over the channels of all frames, and moves all of them alike.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .axes import as_map, pair_of
from .circular import circular_pad, window_pads
from .kernels import conv3d
from .lattice import Pair
from .layers import CellPool2d
from .reduce import exact_mean
from .transposed import phases


def _three(value: Any) -> tuple[int, int, int]:
    """An int or a triple as a triple (time, rows, columns)."""
    return (value,) * 3 if isinstance(value, int) else tuple(value)


def _wrapped(x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None) -> Tensor:
    """All frames moved to their origin and wrapped: (B, C, T, H, W) -> (B, C, T, top + H + bottom, left + W + right)."""
    if origin is None and not any(pads):
        return x
    return circular_pad(x.flatten(1, 2), pads, origin).unflatten(1, x.shape[1:3])


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


def circular_conv3d(
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
    """`torch.nn.functional.conv3d` with circular rows and columns, of a video moved to its origin.

    `mode` is how it pads in time, as `padding_mode` of `torch.nn.Conv3d`; `before`: rows and columns padded before it.

    Shape: x (B, C, T, H, W), weight (C', C / groups, kT, kH, kW), origin (B, 2) int64 or None
    -> (B, C', T', H / stride, W / stride).

    >>> x = torch.arange(4.).view(1, 1, 1, 1, 4)
    >>> circular_conv3d(x, torch.ones(1, 1, 3, 1, 2), None, padding=(1, 0, 0)).flatten()
    tensor([1., 3., 5., 3.])
    """
    stride, dilation, kernel = _three(stride), _three(dilation), weight.shape[2:]
    padding = padding if isinstance(padding, str) else _three(padding)
    rows_and_columns = padding if isinstance(padding, str) else padding[1:]
    pads = window_pads(tuple(kernel[1:]), stride[1:], rows_and_columns, dilation[1:], before)
    in_time = padding if isinstance(padding, str) else padding[0]
    x, frames = _in_time(x, kernel[0], in_time, dilation[0], mode)
    return conv3d(_wrapped(x, pads, origin), weight, bias, stride, frames, dilation, groups)


class CircularConv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with circular rows and columns: (B, C, T, H, W) -> (B, C', T', H / stride, W / stride).

    With an `origin` (B, 2) it works on the video moved there.
    """

    before = (0, 0)  # rows and columns padded in front of it, when converted (mass.fold)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        options = self.stride, self.padding, self.dilation, self.groups, self.before, origin, self.padding_mode
        return circular_conv3d(input, self.weight, self.bias, *options)


class CircularConvTranspose3d(nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with circular rows and columns, as mass.transposed does it: phase by phase.

    Shape: (B, C, T, H, W) -> (B, C', T', stride * H, stride * W); T' and what lies beyond the last frame are the plain one's.
    """

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        if output_size is not None:
            raise ValueError("output_size is not supported for videos; give output_padding to the layer.")
        stride, dilation, padding = map(_three, (self.stride, self.dilation, self.padding))
        kernel = self.weight.shape[2:]
        before = input.shape[2]
        after = (before - 1) * stride[0] - 2 * padding[0] + dilation[0] * (kernel[0] - 1) + self.output_padding[0] + 1
        weight = self.weight.unflatten(0, (self.groups, -1)).transpose(1, 2)  # (groups, C' / groups, C / groups, …)
        channels = weight.shape[0] * weight.shape[1]
        times, rows, columns = (phases(kernel[i], stride[i], padding[i], dilation[i]) for i in range(3))
        made = []
        for place, (early, (start, end), step_t) in enumerate(times):
            count = max(-(-(after - place) // stride[0]), 0)
            frames = F.pad(input, (0, 0, 0, 0, -start, count - before + end))
            for down, (top, bottom), step_h in rows:
                for right, (first, last), step_w in columns:
                    shape = input.shape[0], channels, count, *input.shape[3:]
                    if early and down and right and count:
                        taps = weight[..., early, :, :][..., down, :][..., right].flatten(0, 1)
                        x = _wrapped(frames, (-first, last, -top, bottom), None)
                        y = conv3d(x, taps, self.bias, (1, 1, 1), 0, (step_t, step_h, step_w), self.groups)
                    else:  # a stride wider than the kernel leaves gaps
                        y = input.new_zeros(shape) if self.bias is None else self.bias.view(-1, 1, 1, 1).expand(shape)
                    made.append(y)
        return _interlaced(made, stride, after)


def _interlaced(phases: list[Tensor], stride: tuple[int, int, int], frames: int) -> Tensor:
    """Phases (B, C, T, H, W), of time, rows and columns, as one video; the later ones may have a frame less."""
    longest = max(y.shape[2] for y in phases)
    same = [F.pad(y, (0, 0, 0, 0, 0, longest - y.shape[2])) for y in phases]
    cells = torch.stack(same, -1).unflatten(-1, stride)  # (B, C, T, H, W, s_t, s_h, s_w)
    video = cells.permute(0, 1, 2, 5, 3, 6, 4, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return video[:, :, :frames]


class CircularMaxPool3d(nn.MaxPool3d):
    """`torch.nn.MaxPool3d` with circular rows and columns: (B, C, T, H, W) -> (B, C, T', H / stride, W / stride)."""

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        kernel, stride, padding, dilation = map(_three, (self.kernel_size, self.stride, self.padding, self.dilation))
        x = _wrapped(input, window_pads(kernel[1:], stride[1:], padding[1:], dilation[1:], self.before), origin)
        return F.max_pool3d(x, kernel, stride, (padding[0], 0, 0), dilation, self.ceil_mode)


class CircularAvgPool3d(nn.AvgPool3d):
    """`torch.nn.AvgPool3d` with circular rows and columns: (B, C, T, H, W) -> (B, C, T', H / stride, W / stride)."""

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        kernel, stride, padding = map(_three, (self.kernel_size, self.stride, self.padding))
        x = _wrapped(input, window_pads(kernel[1:], stride[1:], padding[1:], 1, self.before), origin)
        options = self.ceil_mode, self.count_include_pad, self.divisor_override
        return F.avg_pool3d(x, kernel, stride, (padding[0], 0, 0), *options)


class AdaptivePool3d(nn.Module):
    """Adaptive pooling of videos: into so many cells of equal size in rows and columns, as the plain one in time.

    Shape: (B, C, T, H, W) -> (B, C, frames, *cells); `frames` None keeps their number.
    """

    def __init__(self, frames: int | None, cells: Pair, average: bool) -> None:
        super().__init__()
        self.frames, self.cells, self.average = frames, cells, average

    def forward(self, x: Tensor) -> Tensor:
        pool = F.adaptive_avg_pool3d if self.average else F.adaptive_max_pool3d
        if self.frames == 1 and self.cells == (1, 1) and self.average:
            return exact_mean(x, (2, 3, 4), keepdim=True)
        if self.cells == (1, 1):
            pooled = exact_mean(x, (3, 4), keepdim=True) if self.average else x.amax((3, 4), keepdim=True)
        else:
            pooled = CellPool2d(self.cells, self.average)(as_map(x, (3, 4))).unflatten(1, x.shape[1:3])
        return pooled if self.frames in (None, x.shape[2]) else pool(pooled, (self.frames, *self.cells))

    def extra_repr(self) -> str:
        return f"frames={self.frames}, cells={self.cells}, average={self.average}"


class InTime(nn.Module):
    """A video interpolated in rows and columns by a module of maps, then in time as `F.interpolate` does.

    Shape: (B, C, T, H, W) -> (B, C, T', H', W'), T' = `frames` * T, or as `size` says.
    """

    def __init__(self, inner: nn.Module, frames: float, mode: str, align_corners: bool = False) -> None:
        super().__init__()
        self.inner, self.frames, self.mode, self.align_corners = inner, frames, mode, align_corners

    def forward(self, x: Tensor, size: Any = None) -> Tensor:
        given = () if size is None else (pair_of(size, 3),)
        y = self.inner(x.flatten(1, 2), *given).unflatten(1, x.shape[1:3])
        before, after = x.shape[2], round(self.frames * x.shape[2]) if size is None else _three(size)[0]
        if before == after:
            return y
        steps = torch.arange(after, device=x.device, dtype=torch.float64)
        if self.mode == "nearest":
            return y.index_select(2, (steps * before / after).long())
        places = (
            steps * (before - 1) / max(after - 1, 1) if self.align_corners else (steps + 0.5) * before / after - 0.5
        )
        places = places.clamp(0, before - 1)
        left = places.long()
        weight = (places - left).to(y.dtype).view(-1, 1, 1)
        # Products and sums of whole tensors: every position is rounded alike.
        return y.index_select(2, left) * (1 - weight) + y.index_select(2, (left + 1).clamp(max=before - 1)) * weight
