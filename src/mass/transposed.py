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

from .circular import circular_pad
from .effects import Effect, Site
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
    kernels = [_phases(weight.shape[2 + axis], stride[axis], padding[axis], dilation[axis]) for axis in (0, 1)]
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


def _phases(kernel: int, stride: int, padding: int, dilation: int) -> list[tuple[list[int], Pair, int]]:
    """Per phase of the output along one axis: the taps it uses, the input places they read relative to its own (from,
    to), and their distance."""
    phases = []
    for phase in range(stride):
        taps = [k for k in reversed(range(kernel)) if (phase + padding - dilation * k) % stride == 0]
        places = [(phase + padding - dilation * k) // stride for k in taps]
        distance = places[1] - places[0] if len(places) > 1 else 1
        phases.append((taps, (places[0], places[-1]) if places else (0, 0), distance))
    return phases


class CircularConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with circular borders: (B, C, H, W) -> (B, C', stride * H, stride * W)."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        stride, dilation = as_pair(self.stride, "stride"), as_pair(self.dilation, "dilation")
        padding: Any = self.padding  # never a name: there is no 'same' here
        weight, bias = self.weight, self.bias
        return circular_conv_transpose2d(input, weight, bias, stride, padding, self.groups, dilation)


class FunctionalConvTranspose2d(nn.Module):
    """`F.conv_transpose2d` with circular borders, for weights that the network computes."""

    def __init__(self, stride: Pair, padding: Pair, groups: int, dilation: Pair) -> None:
        super().__init__()
        self.stride, self.padding, self.groups, self.dilation = stride, padding, groups, dilation

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return circular_conv_transpose2d(x, weight, bias, self.stride, self.padding, self.groups, self.dilation)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, padding={self.padding}, groups={self.groups}, dilation={self.dilation}"


def conv_transpose(site: Site) -> Effect:
    """`nn.ConvTranspose2d` and `F.conv_transpose2d`: the map is enlarged by the stride."""
    site.image_axes()
    if site.module is not None:
        new: Any = CircularConvTranspose2d.__new__(CircularConvTranspose2d)
        new.__dict__ = site.module.__dict__
        stride = as_pair(new.stride, "stride")
        inputs: tuple = (site.input,)
    else:
        weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
        if site.values.get(weight):
            raise site.refuse("a convolution whose kernel is a map")
        stride, padding = as_pair(site.argument(3, "stride", 1), "stride"), site.argument(4, "padding", 0)
        padding = (padding, padding) if isinstance(padding, int) else (padding[0], padding[-1])
        dilation = as_pair(site.argument(7, "dilation", 1), "dilation")
        new = FunctionalConvTranspose2d(stride, padding, site.argument(6, "groups", 1), dilation)
        inputs = (site.input, weight, bias)
    change = "wraps, moved back" if stride != (1, 1) else "wraps"
    return Effect(
        site.map, up=stride, swap=new, inputs=inputs, change=change, breaks="loses its overhang at the border"
    )
