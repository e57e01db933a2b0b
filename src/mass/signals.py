"""Signals (B, C, L): operations on one axis are those of maps of one row, so they are done, and proved, as those.

An origin is (0, o) there. Parameters keep their shapes: a kernel (C', C, K) is read as (C', C, 1, K).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .axes import pair_of
from .circular import window_pads
from .kernels import circular_conv2d
from .lattice import Pair
from .layers import CircularAvgPool2d, CircularMaxPool2d


def _padding(padding: Any) -> Any:
    """A padding along one axis for a map of one row; names ('same') are as good for both."""
    return padding if isinstance(padding, str) else pair_of(padding, 1, 0)


def circular_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    before: Pair = (0, 0),
    origin: Tensor | None = None,
) -> Tensor:
    """`torch.nn.functional.conv1d` with circular borders, of a signal moved to its origin (mass.kernels.circular_conv2d).

    Shape: x (B, C, L), weight (C', C / groups, K), origin (B, 2) int64, its rows 0, or None -> (B, C', L / stride).

    >>> import torch
    >>> circular_conv1d(torch.tensor([[[1., 2., 4.]]]), torch.ones(1, 1, 2), None)
    tensor([[[3., 6., 5.]]])
    """
    stride, dilation = pair_of(stride, 1), pair_of(dilation, 1)
    pads = window_pads((1, weight.shape[2]), stride, _padding(padding), dilation, before)
    row, kernel = x.unsqueeze(2), weight.unsqueeze(2)
    return circular_conv2d(row, kernel, bias, stride, dilation, groups, pads, origin).squeeze(2)


class CircularConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with circular borders: (B, C, L) -> (B, C', L / stride), position-independent.

    With an `origin` (B, 2), (0, o) for each signal, it works on the signal moved there.
    """

    before = (0, 0)  # what was padded in front of it, when converted (mass.fold)

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        options = self.stride, self.padding, self.dilation, self.groups, self.before, origin
        return circular_conv1d(input, self.weight, self.bias, *options)


class CircularMaxPool1d(CircularMaxPool2d):
    """Max pooling of signals, (B, C, L) -> (B, C, L / stride), with circular borders; arguments are pairs, rows first."""

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input.unsqueeze(2), origin).squeeze(2)


class CircularAvgPool1d(CircularAvgPool2d):
    """Average pooling of signals, (B, C, L) -> (B, C, L / stride), with circular borders; arguments are pairs, rows first."""

    def forward(self, input: Tensor, origin: Tensor | None = None) -> Tensor:
        return super().forward(input.unsqueeze(2), origin).squeeze(2)
