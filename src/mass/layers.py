"""MASS layers: a strided operation, untouched, on a map moved to its own origin (paper, section 4.1, Figure 1).

    o = select_origin(x, s);  y = f(shift(x, o))

`MassConv2d`, `MassMaxPool2d` and `MassAvgPool2d` are their `torch.nn` namesakes with that rule and circular borders,
same arguments and same parameter names, so pretrained weights load. `MassPool2d` gives the rule to any pooling.
Two layers that leave the same map and meet again must share one origin: choose it once and pass it to both
(`mass.convert` finds out by itself where that is).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import native
from .axes import Dims, as_map, on_maps
from .circular import circular_pad, window_pads
from .errors import as_pair
from .kernels import circular_conv2d
from .origin import select_origin
from .shift import shift
from .trace import marked_period
from .unpool import pool_at_origin


class CircularConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with circular borders: (B, C, H, W) -> (B, C', H / stride, W / stride), position-independent.

    With an `origin` (B, 2) it works on the map moved there.
    """

    before = (0, 0)  # rows and columns padded in front of it, when converted (mass.fold)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        pads = window_pads(self.kernel_size, self.stride, self.padding, self.dilation, self.before)
        stride, dilation = as_pair(self.stride, "stride"), as_pair(self.dilation, "dilation")
        return circular_conv2d(input, self.weight, self.bias, stride, dilation, self.groups, pads, origin)


class CircularMaxPool2d(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` with circular borders: (B, C, H, W) -> (B, C, H / stride, W / stride).

    With an `origin` (B, 2) it works on the map moved there.
    """

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        pads = window_pads(self.kernel_size, self.stride, self.padding, self.dilation, self.before)
        kernel, stride = as_pair(self.kernel_size, "kernel_size"), as_pair(self.stride, "stride")
        dilation = as_pair(self.dilation, "dilation")
        if native.serves_windows(input, stride, origin):
            return native.max_pool(input, kernel, stride, dilation, pads, origin)
        return F.max_pool2d(circular_pad(input, pads, origin), kernel, stride, 0, dilation)


class CircularAvgPool2d(nn.AvgPool2d):
    """`torch.nn.AvgPool2d` with circular borders: (B, C, H, W) -> (B, C, H / stride, W / stride).

    With an `origin` (B, 2) it works on the map moved there.
    """

    before = (0, 0)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        x = circular_pad(input, window_pads(self.kernel_size, self.stride, self.padding, 1, self.before), origin)
        return F.avg_pool2d(x, self.kernel_size, self.stride, 0, divisor_override=self.divisor_override)


def _chosen(x: Tensor, stride: tuple[int, int], rule: str, origin: Tensor | None) -> Tensor | None:
    if stride == (1, 1):
        return None
    return select_origin(x, stride, rule) if origin is None else origin


class MassConv2d(CircularConv2d):
    """A shift-equivariant strided convolution (paper, section 4.1).

    Args: those of `torch.nn.Conv2d`; `rule` is `select_origin`'s.

    Shape:
        x (B, C, H, W), H and W multiples of the stride; origin (B, 2) int64, shared with a parallel branch, or None
        -> (B, C', H / stride, W / stride).

    >>> conv = MassConv2d(3, 8, 3, stride=2, padding=1)
    >>> x = torch.randn(1, 3, 8, 8)
    >>> y, moved = conv(x), conv(x.roll((-1, -1), (2, 3)))
    >>> any(torch.equal(y.roll((i, j), (2, 3)), moved) for i in (-1, 0, 1) for j in (-1, 0, 1))
    True
    """

    def __init__(self, *args: Any, rule: str = "l2", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rule = rule

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input, _chosen(input, as_pair(self.stride, "stride"), self.rule, origin))


class MassMaxPool2d(CircularMaxPool2d):
    """A shift-equivariant max pooling (paper, Figure 2). Arguments and shapes as `MassConv2d` and `nn.MaxPool2d`."""

    def __init__(self, *args: Any, rule: str = "l2", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.return_indices:
            raise ValueError(
                "return_indices=True is not supported: the indices would refer to the shifted, wrapped map; "
                "call with_indices, and MassMaxUnpool2d to go back."
            )
        self.rule = rule

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input, _chosen(input, as_pair(self.stride, "stride"), self.rule, origin))

    def with_indices(self, x: Tensor, origin: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The maxima, the place of each inside its window, and the origin: what `MassMaxUnpool2d` takes.

        Shape: x (B, C, H, W) -> two of (B, C, H / stride, W / stride), the second int64, and (B, 2) int64.
        """
        return pool_at_origin(self, x, self.rule, origin)


class MassAvgPool2d(CircularAvgPool2d):
    """A shift-equivariant average pooling. Arguments and shapes as `MassConv2d` and `nn.AvgPool2d`."""

    def __init__(self, *args: Any, rule: str = "l2", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rule = rule

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input, _chosen(input, as_pair(self.stride, "stride"), self.rule, origin))


class MassPool2d(nn.Module):
    """Any pooling made shift-equivariant (l_p, soft, mixed, gated, learned; paper, section 3).

    Args:
        pool: a module (B, C, H, W) -> (B, C', H / stride, W / stride) that does not pad; it may have parameters.
        stride: its stride, by default `pool.stride`.
        kernel_size: its window, by default `pool.kernel_size`, else the stride; a wider window wraps. A class that was
            marked by `mass.mark_leaf` wraps by itself: its stride is taken.
        rule: as `select_origin`.

    >>> MassPool2d(nn.LPPool2d(norm_type=2, kernel_size=3, stride=2))(torch.rand(1, 4, 8, 8)).shape
    torch.Size([1, 4, 4, 4])
    """

    def __init__(
        self,
        pool: nn.Module,
        stride: int | tuple[int, int] | None = None,
        kernel_size: int | tuple[int, int] | None = None,
        rule: str = "l2",
    ) -> None:
        super().__init__()
        self.pool, self.rule = pool, rule
        stride = getattr(pool, "stride", None) if stride is None else stride
        if stride is None:
            raise ValueError(f"{type(pool).__name__} does not tell its stride; pass stride=….")
        if getattr(pool, "padding", 0) not in (0, (0, 0)):
            raise ValueError(f"the pool pads by {pool.padding}; give it padding=0, its window wraps instead.")
        self.stride = as_pair(stride, "stride")
        if kernel_size is None and marked_period(pool) is None:  # what was marked as an operation wraps by itself
            kernel_size = getattr(pool, "kernel_size", None)
        self.kernel_size = self.stride if kernel_size is None else as_pair(kernel_size, "kernel_size")

    def forward(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        origin = _chosen(x, self.stride, self.rule, origin)
        return self.pool(circular_pad(x, window_pads(self.kernel_size, self.stride, 0), origin))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, kernel_size={self.kernel_size}, rule={self.rule!r}"


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


def cell_size(x: Tensor, cells: tuple[int, int]) -> tuple[int, int]:
    """Height and width of one of so many equal cells of a map."""
    for axis, size, n in zip(("height", "width"), x.shape[2:], cells, strict=True):
        if size % n:
            raise ValueError(
                f"{axis} {size} cannot be divided into {n} cells of equal size; {size // n * n or n} could."
            )
    return x.shape[2] // cells[0], x.shape[3] // cells[1]


class Shift(nn.Module):
    """`shift` as a node of a converted network; `dims` are the axes of rows and columns."""

    def __init__(self, dims: Dims = (2, 3)) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        if x.numel() == 0:  # a level of a pyramid that has no channels
            return x
        return on_maps(lambda maps: shift(maps, origin), x, self.dims)


class Restore(Shift):
    """`restore` as a node of a converted network."""

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        return super().forward(x, -origin)


class Concatenate(nn.Module):
    """Images and masks as one map, along their channels; so a signal or a video."""

    def __init__(self, dims: Dims = (2, 3)) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, *images: Tensor) -> Tensor:
        maps = [as_map(image, self.dims) for image in images]
        first = maps[0]
        if len(maps) == 1:
            return first
        return torch.cat([image.to(first.dtype).expand(len(first), -1, -1, -1) for image in maps], 1)


class ComposeOrigin(nn.Module):
    """Total origin of a finer lattice's child: O + S o (mass.lattice)."""

    def __init__(self, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, total: Tensor, origin: Tensor) -> Tensor:
        return total + torch.stack((origin[:, 0] * self.stride[0], origin[:, 1] * self.stride[1]), 1)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class ReadDigit(nn.Module):
    """One digit of an origin that was chosen with a larger period: (o // low) mod period; the last digit without mod."""

    def __init__(self, low: tuple[int, int], period: tuple[int, int] | None) -> None:
        super().__init__()
        self.low, self.period = low, period

    def forward(self, origin: Tensor) -> Tensor:
        digits = [origin[:, i] // self.low[i] for i in (0, 1)]
        return torch.stack(digits if self.period is None else [digits[i] % self.period[i] for i in (0, 1)], 1)

    def extra_repr(self) -> str:
        return f"low={self.low}, period={self.period}"


class SelectOrigin(nn.Module):
    """`select_origin` as a node of a converted network; the rule 'zero' keeps the frame's own origin.

    With `cells`, the period follows the map's size: a flatten, whose period is the whole map, has one cell.
    `dims` are the axes of rows and columns.
    """

    def __init__(
        self,
        period: tuple[int, int],
        rule: str = "l2",
        cells: tuple[int, int] | None = None,
        dims: Dims = (2, 3),
    ) -> None:
        super().__init__()
        self.period, self.rule, self.cells, self.dims = period, rule, cells, dims
        self.only: tuple[int, int] | None = None  # the one size of map for which the factors that follow are right

    def period_of(self, x: Tensor) -> tuple[int, int]:
        """The period on a map of this size."""
        x = as_map(x, self.dims)
        return self.period if self.cells is None else cell_size(x, self.cells)

    def forward(self, x: Tensor, source: Tensor | None = None, source_origin: Tensor | None = None) -> Tensor:
        if self.rule == "zero":
            return torch.zeros(x.shape[0], 2, dtype=torch.int64, device=x.device)
        period, x = self.period_of(x), as_map(x, self.dims)
        if self.only is not None and tuple(x.shape[2:]) != self.only:
            raise ValueError(
                f"this map is {tuple(x.shape[2:])}, and was {self.only} for the example that the model was converted with: "
                "an enlargement by a fixed factor relies on it; convert it with an example of this size."
            )
        return select_origin(x, period, self.rule, source=source, source_origin=source_origin)

    def extra_repr(self) -> str:
        return f"period={self.period}, rule={self.rule!r}"
