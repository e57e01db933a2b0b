"""Max pooling that remembers where, and its way back (paper, section 4.4, Figure 4).

The paper keeps the indices *and* the origin of a max pooling: the map is pooled at its origin, unpooled there by the
indices, and moved back by the origin. Here an index tells the place of the maximum inside its window (0 for its first
pixel, row by row), not in the frame: so indices are a feature map like any other, which moves with the image, and
windows that wrap need no exception.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .circular import circular_pad, window_pads
from .effects import Effect, Site
from .errors import as_pair
from .lattice import Grid, Pair
from .origin import select_origin
from .shift import restore, shift


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


class PoolIndices(nn.Module):
    """`nn.MaxPool2d(return_indices=True)` with circular borders, and indices that count inside the window."""

    def __init__(self, pool: nn.MaxPool2d, before: Pair = (0, 0)) -> None:
        super().__init__()
        self.kernel, self.stride = as_pair(pool.kernel_size, "kernel_size"), as_pair(pool.stride, "stride")
        self.padding, self.dilation = _pair(pool.padding), as_pair(pool.dilation, "dilation")
        self.before = before

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return circular_max_pool_indices(x, self.kernel, self.stride, self.padding, self.dilation, self.before)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}"


class Unpool(nn.Module):
    """`nn.MaxUnpool2d` on the windows of one `PoolIndices`."""

    def __init__(self, window: PoolIndices) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = window.kernel, window.stride, window.dilation
        self.padding = window.padding[0] + window.before[0], window.padding[1] + window.before[1]

    def forward(self, y: Tensor, index: Tensor) -> Tensor:
        return circular_max_unpool(y, index, self.kernel, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, stride={self.stride}"


class MassMaxUnpool2d(nn.Module):
    """The shift-equivariant partner of `MassMaxPool2d.with_indices` (paper, Figure 4).

    Args: those of `torch.nn.MaxUnpool2d`, which must be the pooling's.

    Shape:
        y, index (B, C, H, W), origin (B, 2) int64, as `MassMaxPool2d.with_indices` returns them
        -> (B, C, stride * H, stride * W), each value where its maximum was, zeros elsewhere.

    >>> from mass import MassMaxPool2d
    >>> pool, unpool = MassMaxPool2d(2), MassMaxUnpool2d(2)
    >>> def there_and_back(x):
    ...     return unpool(*pool.with_indices(x))
    >>> x = torch.randn(1, 3, 8, 8)
    >>> torch.equal(there_and_back(x.roll((3, 5), (2, 3))), there_and_back(x).roll((3, 5), (2, 3)))
    True
    """

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        super().__init__()
        self.kernel_size = as_pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else as_pair(stride, "stride")
        self.padding = _pair(padding)

    def forward(self, y: Tensor, index: Tensor, origin: Tensor) -> Tensor:
        if y.shape != index.shape or index.dtype != torch.int64:
            raise ValueError(
                f"index must be int64 of shape {tuple(y.shape)}, as with_indices gives it; "
                f"got {index.dtype} of shape {tuple(index.shape)}."
            )
        return restore(circular_max_unpool(y, index, self.kernel_size, self.stride, self.padding), origin)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def _pair(value: int | tuple[int, ...]) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def pool_at_origin(pool: nn.MaxPool2d, x: Tensor, rule: str, origin: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What `MassMaxPool2d.with_indices` returns: the maxima, their places, and the origin they were pooled at."""
    window = PoolIndices(pool)
    if origin is None:
        origin = select_origin(x, window.stride, rule)
    return *window(shift(x, origin)), origin


def max_pool_with_indices(site: Site, pool: nn.MaxPool2d) -> Effect:
    """The rule of max pooling that returns indices: a tuple of maps, the second for an unpooling alone."""
    site.image_axes()
    window = PoolIndices(pool, site.map.pads)
    value = Grid(site.map.lattice, site.map.dims), Grid(site.map.lattice, site.map.dims, window=window)
    change = "origin from the features, indices inside the window"
    return Effect(value, window.stride, window, (site.input,), change, "samples the frame's grid", folds=True)


def max_unpool(site: Site) -> Effect:
    """`nn.MaxUnpool2d`, `F.max_unpool2d`: by the windows of the pooling that gave the indices."""
    site.image_axes()
    index: Any = site.node.args[1] if len(site.node.args) > 1 else site.node.kwargs["indices"]
    window = getattr(site.values.get(index), "window", None)
    if not isinstance(window, PoolIndices):
        raise site.refuse("max unpooling by indices that no max pooling gave")
    kernel = as_pair(site.argument(2, "kernel_size"), "kernel_size")
    stride = as_pair(site.argument(3, "stride") or kernel, "stride")
    if (kernel, stride) != (window.kernel, window.stride):
        reason = (
            f"max unpooling of windows {kernel}, stride {stride}, that were pooled as {window.kernel}, {window.stride}"
        )
        raise site.refuse(reason, "use the arguments of the pooling")
    return Effect(site.map, up=stride, swap=Unpool(window), inputs=(site.input, index), change="moved back",
                  breaks="puts values at the frame's indices")  # fmt: skip
