"""Transposed convolution that commutes with circular shifts (paper, section 4.4; DESIGN, "Circularity").

    y[m] = sum of x[n] w[k] over s n + d k - p = m      (m modulo s H, n modulo H)

What the plain operation lets hang over the border belongs to the other side. Folding it back adds the overhang in an
order of its own, and breaks bits. Here the *input* wraps instead; and since m modulo s tells which k take part, each of
the s * s phases of the output is a plain convolution, by the kernel that treats all positions alike (PyTorch's own
transposed one does not for single float32 images on the CPU).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .axes import pair_of
from .circular import circular_pad
from .errors import as_pair
from .kernels import conv2d
from .lattice import Pair


def circular_conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
) -> Tensor:
    """`torch.nn.functional.conv_transpose2d` on a torus: a stride s makes exactly s H rows.

    Shape: x (B, C, H, W), weight (C, C' / groups, kH, kW) -> (B, C', stride[0] * H, stride[1] * W). Row 0 is the plain
    operation's row 0; its `output_padding` adds rows on the far side, which here belong to the near one.

    >>> circular_conv_transpose2d(torch.ones(1, 1, 1, 2), torch.tensor([[[[1., 2., 4.]]]]), stride=(1, 2)).flatten()
    tensor([5., 2., 5., 2.])
    """
    kernels = [phases(weight.shape[2 + axis], stride[axis], padding[axis], dilation[axis]) for axis in (0, 1)]
    channels = weight.shape[1] * groups
    grouped = weight.unflatten(0, (groups, -1)).transpose(1, 2)  # (groups, C' / groups, C / groups, kH, kW)
    rows = []
    for down, (top, bottom), steps_h in kernels[0]:
        row = []
        for right, (first, last), steps_w in kernels[1]:
            if down and right:
                taps = grouped[..., down, :][..., right].flatten(0, 1)
                padded = circular_pad(x, (-first, last, -top, bottom))
                row.append(conv2d(padded, taps, bias, (1, 1), (steps_h, steps_w), groups))
            else:  # a stride wider than the kernel leaves gaps
                gap = x.new_zeros(x.shape[0], channels, *x.shape[2:])
                row.append(gap if bias is None else gap + bias.view(-1, 1, 1))
        rows.append(torch.stack([y.to(row[0].dtype) for y in row], 4))
    return torch.stack(rows, 3).flatten(4, 5).flatten(2, 3)


def phases(kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[list[int], Pair, int]]:
    """Per phase of the output along one axis: the taps it uses, the input places they read relative to its own (from,
    to), and their distance."""
    found = []
    for phase in range(stride):
        taps = [k for k in reversed(range(kernel)) if (phase + padding - dilation * k) % stride == 0]
        places = [(phase + padding - dilation * k) // stride for k in taps]
        distance = places[1] - places[0] if len(places) > 1 else 1
        found.append((taps, (places[0], places[-1]) if places else (0, 0), distance))
    return found


class CircularConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with circular borders: (B, C, H, W) -> (B, C', stride * H, stride * W)."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        stride, dilation = as_pair(self.stride, "stride"), as_pair(self.dilation, "dilation")
        padding: Any = self.padding  # never a name: there is no 'same' here
        weight, bias = self.weight, self.bias
        return circular_conv_transpose2d(input, weight, bias, stride, padding, self.groups, dilation)


class CircularConvTranspose1d(nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with circular borders: (B, C, L) -> (B, C', stride * L); a map of one row."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        options = pair_of(self.stride, 1), pair_of(self.padding, 1, 0), self.groups, pair_of(self.dilation, 1)  # type: ignore[arg-type]
        return circular_conv_transpose2d(input.unsqueeze(2), self.weight.unsqueeze(2), self.bias, *options).squeeze(2)


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
