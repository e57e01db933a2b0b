"""BlurPool, anti-aliased downsampling (Zhang, 2019, section 3.2): a low-pass filter, then every s-th position.

A filter of size k is the outer product of two rows of binomial coefficients, C(k - 1, n) / 2^(k - 1), the same on every
channel: Rect-2 [1, 1], Tri-3 [1, 2, 1], Bin-5 [1, 4, 6, 4, 1]. `mass.antialias` puts it behind every operation with a stride.
Departures from the authors' code (antialiased-cnns): borders wrap by default, where theirs reflect; the filter is no part of
the state_dict, so that plain weights load; the default filter is 3 wide, where their package's is 4.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mass.axes import Pair
from mass.errors import as_pair, check_counts, check_divides, check_map
from mass.functional.conv import circular_conv2d
from mass.functional.kernels import conv2d
from mass.functional.padding import window_pads
from mass.functional.polyphase import first_phase
from mass.functional.shift import shift

PaddingMode = Literal["circular", "reflect", "zeros"]


def binomial_filter(size: int) -> Tensor:
    """The normalised row C(size - 1, n) / 2^(size - 1), float32 (size,).

    >>> binomial_filter(3)
    tensor([0.2500, 0.5000, 0.2500])
    """
    check_counts(size=size)
    return torch.tensor([math.comb(size - 1, n) for n in range(size)]) / 2 ** (size - 1)


class BlurPool(nn.Module):
    """Blur every channel, keep every `stride`-th position.

    Args:
        channels: of the map.
        kernel_size: side of the binomial filter, an int or a pair; 1 samples without blur. The centre of an even one lies
            between positions: it moves the map by half of one, in every mode.
        stride: an int or a pair; 1 blurs without sampling.
        padding_mode: what lies beyond the border: 'circular' the other side, 'reflect' the mirrored map, 'zeros' nothing.

    Shape:
        x (B, C, H, W) -> (B, C, H / stride, W / stride), rounded up; with 'circular' the stride must divide H and W.

    Raises:
        TypeError, ValueError: for sizes below 1, another mode, another number of channels, and maps that are too small to
            be reflected.

    With circular borders it has the stride as its period. `mass.convert` makes its borders so, and moves its map to an origin
    (MASS-LPF); `convert_to_aps` and `convert_to_lps` run it densely and sample its output (APS-LPF, LPS-LPF). For an
    equivariant layer of its own write `mass.MassPool2d(mass.BlurPool(channels))`.

    >>> x = torch.zeros(1, 1, 4, 4); x[..., 0, 0] = 16.
    >>> BlurPool(1)(x)
    tensor([[[[4., 0.],
              [0., 0.]]]])
    >>> BlurPool(1, kernel_size=5, padding_mode="zeros")(torch.rand(1, 1, 7, 9)).shape
    torch.Size([1, 1, 4, 5])
    """

    filter: Tensor

    def __init__(
        self,
        channels: int,
        kernel_size: int | Pair = 3,
        stride: int | Pair = 2,
        padding_mode: PaddingMode = "circular",
    ) -> None:
        super().__init__()
        check_counts(channels=channels)
        if padding_mode not in get_args(PaddingMode):
            modes = ", ".join(get_args(PaddingMode))
            raise ValueError(f"unknown padding mode {padding_mode!r}; choose one of {modes}.")
        self.channels, self.padding_mode = channels, padding_mode
        self.kernel_size, self.stride = as_pair(kernel_size, "kernel_size"), as_pair(stride, "stride")
        rows, columns = (binomial_filter(size) for size in self.kernel_size)
        self.register_buffer("filter", torch.outer(rows, columns).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor, origin: Tensor | None = None) -> Tensor:
        """With an `origin` (B, 2) it works on the map moved there; its borders must wrap then."""
        check_map(x)
        if x.shape[1] != self.channels:
            raise ValueError(f"this filter is for {self.channels} channels, the map has {x.shape[1]}.")
        if self.padding_mode != "circular":
            return conv2d(self._padded(x), self.filter.to(x.dtype), None, self.stride, (1, 1), self.channels)
        check_divides(x, self.stride)
        if self.kernel_size == (1, 1):
            return first_phase(x if origin is None else shift(x, origin), self.stride)
        before = (self.kernel_size[0] - 1) // 2, (self.kernel_size[1] - 1) // 2
        pads = window_pads(self.kernel_size, self.stride, before)
        return circular_conv2d(x, self.filter.to(x.dtype), None, self.stride, (1, 1), self.channels, pads, origin)

    def _padded(self, x: Tensor) -> Tensor:
        rows, columns = self.kernel_size
        if self.padding_mode == "zeros":
            mode = "constant"
        else:
            mode, far = "reflect", (rows // 2, columns // 2)
            if any(beyond >= size for beyond, size in zip(far, x.shape[2:], strict=True)):
                raise ValueError(
                    f"a filter of {rows} x {columns} reflects {far[0]} rows and {far[1]} columns beyond the border, and a map "
                    f"of {x.shape[2]} x {x.shape[3]} has no more than {x.shape[2] - 1} and {x.shape[3] - 1} to reflect; "
                    f"choose a smaller kernel_size, or another padding_mode."
                )
        return F.pad(x, ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2), mode)

    def extra_repr(self) -> str:
        kernel_size, stride = (pair[0] if pair[0] == pair[1] else pair for pair in (self.kernel_size, self.stride))
        return f"{self.channels}, kernel_size={kernel_size}, stride={stride}, padding_mode={self.padding_mode!r}"
