"""Pooling with circular borders, and adaptive pooling into cells of equal size, of images, signals and videos."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mass.axes import Pair, as_map, triple_of
from mass.errors import as_pair, check_divides
from mass.functional.exact import exact_mean
from mass.functional.padding import circular_pad, window_pads, wrap_frames
from mass.functional.pooling import cell_size, circular_max_pool


class CircularMaxPool2d(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` with circular borders: (B, C, H, W) -> (B, C, H / stride, W / stride).

    With an `origin` (B, 2) it works on the map moved there.

    >>> import torch
    >>> CircularMaxPool2d(3, 2, 1)(torch.tensor([[[[0.0, 0.0, 0.0, 5.0]] * 2]]))      # the last column is beside the first
    tensor([[[[5., 5.]]]])
    """

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        pads = window_pads(self.kernel_size, self.stride, self.padding, self.dilation, self.before)
        kernel, stride = as_pair(self.kernel_size, "kernel_size"), as_pair(self.stride, "stride")
        dilation = as_pair(self.dilation, "dilation")
        check_divides(input, stride)
        return circular_max_pool(input, kernel, stride, dilation, pads, origin)


class CircularAvgPool2d(nn.AvgPool2d):
    """`torch.nn.AvgPool2d` with circular borders: (B, C, H, W) -> (B, C, H / stride, W / stride).

    With an `origin` (B, 2) it works on the map moved there.

    >>> import torch
    >>> x = torch.arange(4.0).expand(1, 1, 2, 4)
    >>> CircularAvgPool2d(2)(x, torch.tensor([[0, 1]]))      # of columns 1 and 2, and of 3 and 0
    tensor([[[[1.5000, 1.5000]]]])
    """

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        check_divides(input, as_pair(self.stride, "stride"))
        x = circular_pad(input, window_pads(self.kernel_size, self.stride, self.padding, 1, self.before), origin)
        return F.avg_pool2d(x, self.kernel_size, self.stride, 0, divisor_override=self.divisor_override)


class CircularMaxPool1d(CircularMaxPool2d):
    """Max pooling of signals, (B, C, L) -> (B, C, L / stride), with circular borders; arguments are pairs, rows first."""

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input.unsqueeze(2), origin).squeeze(2)


class CircularAvgPool1d(CircularAvgPool2d):
    """Average pooling of signals, (B, C, L) -> (B, C, L / stride), with circular borders; arguments are pairs, rows first."""

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input.unsqueeze(2), origin).squeeze(2)


class CircularMaxPool3d(nn.MaxPool3d):
    """`torch.nn.MaxPool3d` with circular rows and columns: (B, C, T, H, W) -> (B, C, T', H / stride, W / stride)."""

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        kernel, stride, padding, dilation = map(triple_of, (self.kernel_size, self.stride, self.padding, self.dilation))
        x = wrap_frames(input, window_pads(kernel[1:], stride[1:], padding[1:], dilation[1:], self.before), origin)
        return F.max_pool3d(x, kernel, stride, (padding[0], 0, 0), dilation, self.ceil_mode)


class CircularAvgPool3d(nn.AvgPool3d):
    """`torch.nn.AvgPool3d` with circular rows and columns: (B, C, T, H, W) -> (B, C, T', H / stride, W / stride)."""

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        kernel, stride, padding = map(triple_of, (self.kernel_size, self.stride, self.padding))
        x = wrap_frames(input, window_pads(kernel[1:], stride[1:], padding[1:], 1, self.before), origin)
        options = self.ceil_mode, self.count_include_pad, self.divisor_override
        return F.avg_pool3d(x, kernel, stride, (padding[0], 0, 0), *options)


class CellPool2d(nn.Module):
    """Adaptive pooling into cells of equal size: (B, C, H, W) -> (B, C, *cells)."""

    def __init__(self, cells: tuple[int, int], average: bool) -> None:
        super().__init__()
        self.cells, self.average = cells, average

    def forward(self, x: Tensor) -> Tensor:
        window = cell_size(x, self.cells)
        return F.avg_pool2d(x, window) if self.average else F.max_pool2d(x, window)

    def extra_repr(self) -> str:
        return f"cells={self.cells}, average={self.average}"


class CutToMap(nn.Module):
    """Global pooling in the place of windows that `ceil_mode` cuts to a map that is smaller than they are.

    Args:
        window: of the pooling, along each axis; inner: what reduces the whole map.

    Raises:
        ValueError: for a map that is larger than the window, which the model pools into several positions.
    """

    def __init__(self, window: tuple[int, ...], inner: nn.Module) -> None:
        super().__init__()
        self.window, self.inner = window, inner

    def forward(self, x: Tensor) -> Tensor:
        sizes = tuple(x.shape[-len(self.window) :])
        if any(n > k for n, k in zip(sizes, self.window, strict=True)):
            raise ValueError(
                f"windows of {self.window} cover the whole map for the example that the model was converted with, and not this one of {sizes}; "
                "convert it with an example of this size."
            )
        return self.inner(x)

    def extra_repr(self) -> str:
        return f"window={self.window}"


class OverTheMap(nn.Module):
    """Global pooling in the place of a window that the model gives the map's size, `F.avg_pool2d(y, y.shape[2])`.

    Args:
        axes: of positions; inner: what reduces the whole map.

    Raises:
        ValueError: for a map that the window is not as large as, a wider one, say: the model pools it otherwise, or not at all.
    """

    def __init__(self, axes: int, inner: nn.Module) -> None:
        super().__init__()
        self.axes, self.inner = axes, inner

    def forward(self, x: Tensor, window: Any) -> Tensor:
        sizes = tuple(x.shape[-self.axes :])
        window = (window,) * self.axes if isinstance(window, int) else tuple(window)
        if sizes != window:
            raise ValueError(
                f"a window of {window} is the whole map for the example that the model was converted with, and not this one of {sizes}; "
                "convert it with an example of this shape."
            )
        return self.inner(x)


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
