"""Content-aware low-pass filters, DDAC (Zou et al., 2020): the blur of each position is predicted from the features.

A convolution of k x k to g k^2 channels, BatchNorm and a softmax give every position g filters of k x k; contiguous
groups of C / g channels share one. In its authors' code one softmax runs over all g k^2 channels, so that the filters
of a position sum to 1 *together* and a group's to 1 / g on average; `per_group=True` makes each group's sum to 1. It
stands in a network where `mass.BlurPool` does.
Departures from the authors' code (Adaptive-anti-Aliasing): borders wrap, where theirs reflect; filters are predicted at
sampled positions only (theirs everywhere, and then every s-th is kept), so in training BatchNorm's statistics are of
these positions; a size that the stride does not divide is refused, where theirs rounds up; there are 8 groups by
default, as in the commands of their README, where their layer's default is 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mass.errors import check_counts, check_divides, check_map
from mass.functional.kernels import conv2d
from mass.functional.padding import circular_pad, window_pads
from mass.marks import mark_leaf


class DDAC2d(nn.Module):
    """Filter every position by predicted weights, keep every `stride`-th position; borders wrap.

    Args:
        channels: of the map, a multiple of `groups`.
        kernel_size: side of the filters, odd.
        stride: an int; 1 filters without sampling.
        groups: filters per position; 8 in the published models.
        per_group: normalise each filter on its own, instead of all of a position together, as published.

    Shape:
        x (B, C, H, W), H and W multiples of the stride -> (B, C, H / stride, W / stride).

    It has the stride as its period, as `mass.BlurPool`, and composes with MASS, APS and LPS in the same way.

    >>> DDAC2d(16, stride=2)(torch.randn(2, 16, 8, 8)).shape
    torch.Size([2, 16, 4, 4])
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, stride: int = 2, groups: int = 8, per_group: bool = False
    ) -> None:
        super().__init__()
        check_counts(channels=channels, kernel_size=kernel_size, stride=stride, groups=groups)
        if channels % groups:
            raise ValueError(f"{channels} channels cannot be divided into {groups} groups; choose a divisor.")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that the filter has a centre, got {kernel_size}.")
        self.channels, self.kernel_size, self.stride = channels, kernel_size, stride
        self.groups, self.per_group = groups, per_group
        self.conv = nn.Conv2d(channels, groups * kernel_size**2, kernel_size, bias=False)
        self.bn = nn.BatchNorm2d(groups * kernel_size**2)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def filters(self, x: Tensor) -> Tensor:
        """The weights at the sampled positions, (B, C, H, W) -> (B, H / stride, W / stride, groups, k * k)."""
        logits = self.bn(conv2d(self._pad(x), self.conv.weight, None, (self.stride, self.stride)))
        rows = logits.permute(0, 2, 3, 1).contiguous()  # channels last: every position by the same loop
        if self.per_group:
            return rows.unflatten(3, (self.groups, -1)).softmax(-1)
        return rows.softmax(-1).unflatten(3, (self.groups, -1))

    def _pad(self, x: Tensor) -> Tensor:
        return circular_pad(x, window_pads(self.kernel_size, self.stride, self.kernel_size // 2))

    def forward(self, x: Tensor) -> Tensor:
        check_map(x)
        check_divides(x, (self.stride, self.stride))
        weights = self.filters(x).to(x.dtype).movedim(4, 0).contiguous()  # (k * k, B, H / stride, W / stride, groups)
        pixels = self._pad(x).permute(0, 2, 3, 1).contiguous()
        rows, columns = (self.stride * n for n in weights.shape[2:4])
        out = torch.zeros((), dtype=x.dtype, device=x.device)
        for n, weight in enumerate(weights):  # one product and one sum at a time: rounding knows no position
            i, j = divmod(n, self.kernel_size)
            tap = pixels[:, i : i + rows : self.stride, j : j + columns : self.stride]
            out = out + tap * weight.repeat_interleave(self.channels // self.groups, 3)
        out = out.permute(0, 3, 1, 2)
        return out.contiguous() if x.is_contiguous() else out

    def extra_repr(self) -> str:
        kind = "per group" if self.per_group else "over all"
        return f"{self.channels}, kernel_size={self.kernel_size}, stride={self.stride}, groups={self.groups}, {kind}"


mark_leaf(DDAC2d, period="stride")
