"""The door of a converted network: images come in by one memory format."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Entrance(nn.Module):
    """An image as it is, row by row and channel by channel in memory, whatever its strides were.

    Kernels are chosen by strides, and round by their own order. An image that was shifted may have others than it had
    before (`roll` of an image whose channels lie together, as those that come from numpy do, gives one whose do not), and is
    still the same image. Nothing is copied where it lies so already; what layout maps have later on, weights decide.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        if 1 in x.shape and not torch.compiler.is_compiling():
            x = x.flatten().view(x.shape)  # the stride of an axis of one element says nothing, but kernels read it
        return x
