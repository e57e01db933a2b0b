"""Anti-aliased downsampling, BlurPool or LPF (Zhang, 2019): a low-pass filter, then every s-th position.

A filter of size k is the outer product of two rows of binomial coefficients, C(k - 1, n) / 2^(k - 1), the same on every
channel. Where it stands in a network is the network's affair. In its authors' ResNet a block's strided convolution
becomes dense and the filter follows its ReLU; on the shortcut it precedes the 1 x 1 convolution; the max pooling
becomes dense and is followed by it; the stem's strided convolution stays. companion.models.cifar_resnets has the first two, and
offers the filter before the strided convolution.
Departures from the authors' code (antialiased-cnns): borders wrap, where theirs reflect; the filter is no part of the
state_dict, so that plain weights load; a size that the stride does not divide is refused, where theirs rounds up; the
default filter is 3 wide, as in Table 2, where their package's is 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mass.baselines.polyphase import first_phase
from mass.errors import check_counts, check_divides, check_map
from mass.functional.conv import circular_conv2d
from mass.functional.padding import window_pads
from mass.marks import mark_leaf


def binomial_filter(size: int) -> Tensor:
    """The normalised row C(size - 1, n) / 2^(size - 1), float32 (size,).

    >>> binomial_filter(3)
    tensor([0.2500, 0.5000, 0.2500])
    """
    check_counts(size=size)
    return torch.tensor([math.comb(size - 1, n) for n in range(size)]) / 2 ** (size - 1)


class BlurPool2d(nn.Module):
    """Blur every channel, keep every `stride`-th position; borders wrap.

    Args:
        channels: of the map.
        kernel_size: side of the binomial filter; 1 subsamples without blur.
        stride: an int; 1 blurs without sampling.

    Shape:
        x (B, C, H, W), H and W multiples of the stride -> (B, C, H / stride, W / stride).

    It has the stride as its period: `mass.convert` moves its map to an origin (MASS-LPF), `convert_to_aps` and
    `convert_to_lps` run it densely and sample its output (APS-LPF, LPS-LPF). For an equivariant layer of its own write
    `mass.MassPool2d(BlurPool2d(channels))`.

    >>> x = torch.zeros(1, 1, 4, 4); x[..., 0, 0] = 16.
    >>> BlurPool2d(1)(x)
    tensor([[[[4., 0.],
              [0., 0.]]]])
    """

    filter: Tensor

    def __init__(self, channels: int, kernel_size: int = 3, stride: int = 2) -> None:
        super().__init__()
        check_counts(channels=channels, kernel_size=kernel_size, stride=stride)
        self.channels, self.kernel_size, self.stride = channels, kernel_size, stride
        row = binomial_filter(kernel_size)
        self.register_buffer("filter", torch.outer(row, row).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == 1:
            return first_phase(x, (self.stride, self.stride))
        check_map(x)
        check_divides(x, (self.stride, self.stride))
        pads = window_pads(self.kernel_size, self.stride, (self.kernel_size - 1) // 2)
        stride = (self.stride, self.stride)
        return circular_conv2d(x, self.filter.to(x.dtype), None, stride, (1, 1), self.channels, pads)

    def extra_repr(self) -> str:
        return f"{self.channels}, kernel_size={self.kernel_size}, stride={self.stride}"


mark_leaf(BlurPool2d, period="stride")
