"""A small U-Net that turns an image into another: two strided convolutions down, two enlargements up, with skip connections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Restorer(nn.Module):
    """Images (B, 3, H, W) -> the same shape, H and W multiples of 4; what it computes is added to its input.

    >>> Restorer()(torch.rand(1, 3, 16, 24)).shape
    torch.Size([1, 3, 16, 24])
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, stride, 1)

        self.enter = conv(3, width)
        self.down1, self.down2 = conv(width, 2 * width, 2), conv(2 * width, 4 * width, 2)
        self.middle = conv(4 * width, 4 * width)
        self.up2, self.up1 = conv(6 * width, 2 * width), conv(3 * width, width)
        self.leave = conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.enter(x))
        half = F.relu(self.down1(fine))
        coarse = F.relu(self.middle(F.relu(self.down2(half))))
        half = F.relu(self.up2(torch.cat((F.interpolate(coarse, scale_factor=2), half), 1)))
        fine = F.relu(self.up1(torch.cat((F.interpolate(half, scale_factor=2), fine), 1)))
        return x + self.leave(fine)
