"""Transposed convolutions with circular borders, as modules (mass.functional.conv_transpose)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mass.axes import Pair, pair_of, triple_of
from mass.errors import as_pair
from mass.functional.conv_transpose import circular_conv_transpose2d, circular_conv_transpose3d


def _check_output_size(x: Tensor, stride: Sequence[int], output_size: Sequence[int] | None) -> None:
    """Refuse another size than the stride times the input's: on a torus there is no other."""
    if output_size is None:
        return
    size = [step * n for step, n in zip(stride, x.shape[2:], strict=True)]
    if list(output_size)[-len(size) :] != size:
        raise ValueError(f"output_size must be {size}, the stride times the input's, got {list(output_size)}.")


class CircularConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with circular borders: (B, C, H, W) -> (B, C', stride * H, stride * W).

    >>> import torch
    >>> up, x = CircularConvTranspose2d(3, 2, 4, 2, 1), torch.rand(1, 3, 8, 8)
    >>> torch.allclose(up(x.roll(1, 3)), up(x).roll(2, 3), atol=1e-6)
    True
    """

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        _check_output_size(input, self.stride, output_size)
        stride, dilation = as_pair(self.stride, "stride"), as_pair(self.dilation, "dilation")
        padding: Any = self.padding  # never a name: there is no 'same' here
        weight, bias = self.weight, self.bias
        return circular_conv_transpose2d(input, weight, bias, stride, padding, self.groups, dilation)


class CircularConvTranspose1d(nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with circular borders: (B, C, L) -> (B, C', stride * L); a map of one row."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        _check_output_size(input, self.stride, output_size)
        options = pair_of(self.stride, 1), pair_of(self.padding, 1, 0), self.groups, pair_of(self.dilation, 1)  # type: ignore[arg-type]
        return circular_conv_transpose2d(input.unsqueeze(2), self.weight.unsqueeze(2), self.bias, *options).squeeze(2)


class CircularConvTranspose3d(nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with circular rows and columns.

    Shape: (B, C, T, H, W) -> (B, C', T', stride * H, stride * W); T' and what lies beyond the last frame are the plain one's.
    """

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        if output_size is not None:
            raise ValueError("output_size is not supported for videos; give output_padding to the layer.")
        stride, dilation, padding = map(triple_of, (self.stride, self.dilation, self.padding))
        later = self.output_padding[0]
        return circular_conv_transpose3d(input, self.weight, self.bias, stride, padding, later, self.groups, dilation)


class FunctionalConvTranspose(nn.Module):
    """`F.conv_transpose2d`, or `F.conv_transpose1d`, with circular borders, for weights that the network computes."""

    def __init__(self, stride: Pair, padding: Pair, groups: int, dilation: Pair) -> None:
        super().__init__()
        self.stride, self.padding, self.groups, self.dilation = stride, padding, groups, dilation

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        options = self.stride, self.padding, self.groups, self.dilation
        if x.ndim == 3:
            return circular_conv_transpose2d(x.unsqueeze(2), weight.unsqueeze(2), bias, *options).squeeze(2)
        return circular_conv_transpose2d(x, weight, bias, *options)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, padding={self.padding}, groups={self.groups}, dilation={self.dilation}"
