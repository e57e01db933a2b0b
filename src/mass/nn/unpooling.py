"""Max pooling that remembers where, and its way back (paper, section 4.4, Figure 4).

The paper keeps the indices *and* the origin of a max pooling: the map is pooled at its origin, unpooled there by the
indices, and moved back by the origin. Here an index tells the place of the maximum inside its window (0 for its first
pixel, row by row), not in the image: so indices are a feature map like any other, which moves with the image, and
windows that wrap need no exception.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mass.axes import Pair, pair_of
from mass.errors import as_pair
from mass.functional.origin.select import select_origin
from mass.functional.pooling import circular_max_pool_indices, circular_max_unpool
from mass.functional.shift import restore, shift


class PoolIndices(nn.Module):
    """`nn.MaxPool2d(return_indices=True)` with circular borders, and indices that count inside the window."""

    def __init__(self, pool: nn.MaxPool2d, before: Pair = (0, 0)) -> None:
        super().__init__()
        self.kernel, self.stride = as_pair(pool.kernel_size, "kernel_size"), as_pair(pool.stride, "stride")
        self.padding, self.dilation = pair_of(pool.padding, 2), as_pair(pool.dilation, "dilation")
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
        self.padding = pair_of(padding, 2)

    def forward(self, y: Tensor, index: Tensor, origin: Tensor) -> Tensor:
        if y.shape != index.shape or index.dtype != torch.int64:
            raise ValueError(
                f"index must be int64 of shape {tuple(y.shape)}, as with_indices gives it; "
                f"got {index.dtype} of shape {tuple(index.shape)}."
            )
        return restore(circular_max_unpool(y, index, self.kernel_size, self.stride, self.padding), origin)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def pool_at_origin(pool: nn.MaxPool2d, x: Tensor, rule: str, origin: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What `MassMaxPool2d.with_indices` returns: the maxima, their places, and the origin they were pooled at."""
    window = PoolIndices(pool)
    if origin is None:
        origin = select_origin(x, window.stride, rule)
    return *window(shift(x, origin)), origin
