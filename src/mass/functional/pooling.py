"""Max pooling on a torus that remembers where, and its way back; cells of equal size (paper, section 4.4, Figure 4)."""

from __future__ import annotations

import functools
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from mass import native
from mass.axes import Pair
from mass.errors import check_origin
from mass.functional.padding import circular_pad, read_around, window_pads

_MOST_READS = 9  # of a window, for compilers


def circular_max_pool(
    x: Tensor, kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[int, int, int, int], origin: Tensor | None = None
) -> Tensor:
    """`max_pool2d` of a map moved to its origin and wrapped by `pads` (mass.functional.padding.window_pads).

    Shape: x (B, C, H, W), origin (B, 2) int64 or None, the stride dividing H and W -> (B, C, H / stride, W / stride).

    >>> circular_max_pool(torch.tensor([[[[0., 7., 3., 1.]]]]), (1, 2), (1, 2), (1, 1), (0, 0, 0, 0), torch.tensor([[0, 1]]))
    tensor([[[[7., 1.]]]])
    """
    origin = None if origin is None else check_origin(origin, x)
    if native.serves_windows(x, stride, (x,), origin):
        return native.max_pool(x, kernel, stride, dilation, pads, origin)
    # A maximum divides its gradient among equals, where max_pool2d does not.
    learns = torch.is_grad_enabled() and x.requires_grad
    if torch.compiler.is_compiling() and x.is_cuda and not learns and kernel[0] * kernel[1] <= _MOST_READS:
        return max_of_reads(x, kernel, stride, dilation, pads, origin)
    return F.max_pool2d(circular_pad(x, pads, origin), kernel, stride, 0, dilation)


def max_of_reads(
    x: Tensor, kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[int, int, int, int], origin: Tensor | None
) -> Tensor:
    """The same, as the largest of a window's reads, each of the whole map: a compiler makes one kernel of them, and no padded copy."""
    first = pads[2], pads[0]
    reads = []
    for place in itertools.product(range(kernel[0]), range(kernel[1])):
        starts = [place[axis] * dilation[axis] - first[axis] for axis in (0, 1)]
        rows, columns = (range(starts[axis], starts[axis] + x.shape[2 + axis], stride[axis]) for axis in (0, 1))
        reads.append(read_around(x, rows, columns, origin))
    return functools.reduce(torch.maximum, reads)


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
