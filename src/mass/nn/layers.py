"""MASS layers: a strided operation, untouched, on a map moved to its own origin (paper, section 4.1, Figure 1).

    o = select_origin(x, s);  y = f(shift(x, o))

`MassConv2d`, `MassMaxPool2d` and `MassAvgPool2d` are their `torch.nn` namesakes with that rule and circular borders,
same arguments and same parameter names, so pretrained weights load. `MassPool2d` gives the rule to any pooling.
Two layers that leave the same map and meet again must share one origin: choose it once and pass it to both
(`mass.convert` finds out by itself where that is).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mass.errors import as_pair, check_origin
from mass.functional.origin.select import check_rule, select_origin
from mass.functional.padding import circular_pad, window_pads
from mass.marks import marked_period
from mass.nn.conv import CircularConv2d
from mass.nn.pooling import CircularAvgPool2d, CircularMaxPool2d
from mass.nn.unpooling import pool_at_origin


def _chosen(x: Tensor, stride: tuple[int, int], rule: str, origin: Tensor | None) -> Tensor | None:
    if stride == (1, 1):
        return None
    return select_origin(x, stride, rule) if origin is None else check_origin(origin, x)


class MassConv2d(CircularConv2d):
    """A shift-equivariant strided convolution (paper, section 4.1).

    Args: those of `torch.nn.Conv2d`, with a padding_mode of 'zeros' or 'circular', both of which wrap; `rule` is
        `select_origin`'s.

    Shape:
        x (B, C, H, W), H and W multiples of the stride; origin (B, 2) int64, shared with a parallel branch, or None
        -> (B, C', H / stride, W / stride).

    >>> import torch
    >>> conv = MassConv2d(3, 8, 3, stride=2, padding=1)
    >>> x = torch.randn(1, 3, 8, 8)
    >>> y, moved = conv(x), conv(x.roll((-1, -1), (2, 3)))
    >>> any(torch.equal(y.roll((i, j), (2, 3)), moved) for i in (-1, 0, 1) for j in (-1, 0, 1))
    True
    """

    def __init__(self, *args: Any, rule: str = "l2", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_rule(rule)
        if self.padding_mode not in ("zeros", "circular"):
            raise ValueError(f"padding_mode {self.padding_mode!r} has no borders to act on: they wrap; leave it out.")
        self.rule = rule

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input, _chosen(input, as_pair(self.stride, "stride"), self.rule, origin))


class MassMaxPool2d(CircularMaxPool2d):
    """A shift-equivariant max pooling (paper, Figure 2). Arguments and shapes as `MassConv2d` and `nn.MaxPool2d`.

    >>> import torch
    >>> x = torch.tensor([[[[1.0, 5.0, 2.0, 3.0]]]])
    >>> pool = MassMaxPool2d((1, 2))
    >>> pool(x).flatten(), pool(x.roll(1, 3)).flatten()      # the same maxima, moved along
    (tensor([5., 3.]), tensor([3., 5.]))
    """

    def __init__(self, *args: Any, rule: str = "l2", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_rule(rule)
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

        Raises:
            ValueError: for a dilation, which `MassMaxUnpool2d` does not know.
        """
        if as_pair(self.dilation, "dilation") != (1, 1):
            raise ValueError(
                f"MassMaxUnpool2d knows no dilation, and this pooling has {self.dilation}; pool without it."
            )
        return pool_at_origin(self, x, self.rule, origin)


class MassAvgPool2d(CircularAvgPool2d):
    """A shift-equivariant average pooling. Arguments and shapes as `MassConv2d` and `nn.AvgPool2d`.

    >>> import torch
    >>> MassAvgPool2d(2)(torch.ones(1, 3, 8, 8)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(self, *args: Any, rule: str = "l2", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_rule(rule)
        self.rule = rule

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input, _chosen(input, as_pair(self.stride, "stride"), self.rule, origin))


class MassPool2d(nn.Module):
    """Any pooling made shift-equivariant (l_p, soft, mixed, gated, learned; paper, section 3).

    Args:
        pool: a module (B, C, H, W) -> (B, C', H / stride, W / stride) that does not pad; it may have parameters.
        stride: its stride, by default `pool.stride`.
        kernel_size: its window, by default `pool.kernel_size`, else the stride; a wider window wraps. A `mass.BlurPool`, and
            a class that was marked by `mass.mark_leaf`, wraps by itself: its stride is taken.
        rule: as `select_origin`.

    >>> import torch
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
        check_rule(rule)
        self.pool, self.rule = pool, rule
        stride = getattr(pool, "stride", None) if stride is None else stride
        if stride is None:
            raise ValueError(f"{type(pool).__name__} does not tell its stride; pass stride=….")
        if getattr(pool, "return_indices", False):
            raise ValueError(
                "return_indices=True is not supported: the indices would refer to the shifted, wrapped map; "
                "take MassMaxPool2d, call its with_indices, and MassMaxUnpool2d to go back."
            )
        if getattr(pool, "padding", 0) not in (0, (0, 0)):
            raise ValueError(f"the pool pads by {pool.padding}; give it padding=0, its window wraps instead.")
        mode = getattr(pool, "padding_mode", None)
        if mode not in (None, "circular") and not isinstance(pool, nn.Conv2d):
            raise ValueError(f"the pool pads by {mode!r}; give it padding_mode='circular'.")
        self.stride = as_pair(stride, "stride")
        by_itself = mode is not None and not isinstance(
            pool, nn.Conv2d
        )  # a convolution wraps by what it pads, which is nothing
        wraps = by_itself or marked_period(pool) is not None
        if kernel_size is None and not wraps:
            kernel_size = getattr(pool, "kernel_size", None)
        self.kernel_size = self.stride if kernel_size is None else as_pair(kernel_size, "kernel_size")

    def forward(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        origin = _chosen(x, self.stride, self.rule, origin)
        dilation = getattr(self.pool, "dilation", 1)
        return self.pool(circular_pad(x, window_pads(self.kernel_size, self.stride, 0, dilation), origin))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, kernel_size={self.kernel_size}, rule={self.rule!r}"
