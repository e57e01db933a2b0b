"""Max pooling on a torus that remembers where, and its way back; cells of equal size (paper, section 4.4, Figure 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mass.axes import Pair
from mass.functional.padding import circular_pad, window_pads


def circular_max_pool_indices(
    x: Tensor, kernel: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1), before: Pair = (0, 0)
) -> tuple[Tensor, Tensor]:
    """Max pooling on a torus: the maxima, and the place of each in its window.

    Shape: x (B, C, H, W) -> two of (B, C, H / stride, W / stride), the second int64 in [0, kernel[0] * kernel[1]).

    >>> circular_max_pool_indices(torch.tensor([[[[0., 7., 3., 1.]]]]), (1, 2), (1, 2))[1].flatten()
    tensor([1, 0])
    """
    padded = circular_pad(x, window_pads(kernel, stride, padding, dilation, before))
    y, index = F.max_pool2d(padded, kernel, stride, 0, dilation, return_indices=True)
    rows = index // padded.shape[3] - torch.arange(y.shape[2], device=x.device)[:, None] * stride[0]
    columns = index % padded.shape[3] - torch.arange(y.shape[3], device=x.device) * stride[1]
    return y, rows // dilation[0] * kernel[1] + columns // dilation[1]


def circular_max_unpool(
    y: Tensor, index: Tensor, kernel: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1)
) -> Tensor:
    """Put each value at its place in its window, and zeros elsewhere; of two on one place the later window's stays.

    Shape: y and index (B, C, H, W), index as of `circular_max_pool_indices` -> (B, C, stride[0] * H, stride[1] * W).

    >>> circular_max_unpool(torch.tensor([[[[7., 3.]]]]), torch.tensor([[[[1, 0]]]]), (1, 2), (1, 2)).flatten()
    tensor([0., 7., 3., 0.])
    """
    out = y.new_zeros(*y.shape[:2], y.shape[2], stride[0], y.shape[3], stride[1])
    for place in reversed(range(kernel[0] * kernel[1])):  # the later of two windows has the smaller place
        row, column = (place // kernel[1]) * dilation[0] - padding[0], (place % kernel[1]) * dilation[1] - padding[1]
        (down, i), (right, j) = divmod(row, stride[0]), divmod(column, stride[1])
        here = index == place
        values, chosen = (v.roll((down, right), (2, 3)) for v in (y, here))
        out[:, :, :, i, :, j] = torch.where(chosen, values, out[:, :, :, i, :, j])
    return out.flatten(4, 5).flatten(2, 3)


def cell_size(x: Tensor, cells: tuple[int, int]) -> tuple[int, int]:
    """Height and width of one of so many equal cells of a map."""
    for axis, size, n in zip(("height", "width"), x.shape[2:], cells, strict=True):
        if size % n:
            raise ValueError(
                f"{axis} {size} cannot be divided into {n} cells of equal size; {size // n * n or n} could."
            )
    return x.shape[2] // cells[0], x.shape[3] // cells[1]
