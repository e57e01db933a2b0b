"""Small models whose outputs are read in known ways: a map that moves along and what is made of it, and a strided one."""

import collections
import dataclasses
from typing import Any

import torch
from torch import nn

X = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))


Pair = collections.namedtuple("Pair", "logits mask")


@dataclasses.dataclass
class Prediction:
    mask: Any


def circular(*sizes, **settings):
    return nn.Conv2d(*sizes, padding_mode="circular", **settings)


class Returns(nn.Module):
    """A map at the image's resolution that moves along, and what a function makes of it and of the image."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = circular(3, 4, kernel_size=3, padding=1), function

    def forward(self, x):
        return self.function(self.conv(x))


def strided():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 2, 2)).eval()
