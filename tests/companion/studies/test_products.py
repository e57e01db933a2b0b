"""Products of convolutions with zeros left out, against a convolution of ones by ones, which counts them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from companion.studies.cost.products import taps_inside


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "dilation"),
    [(7, 3, 1, 1, 1), (14, 3, 2, 1, 1), (17, 5, 2, 2, 1), (16, 3, 1, 2, 2), (9, 1, 1, 0, 1), (8, 4, 4, 0, 1), (6, 7, 1, 3, 1)],
)  # fmt: skip
def test_taps_inside_are_those_that_a_convolution_of_ones_adds(side, kernel, stride, padding, dilation):
    conv = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    counted = F.conv2d(torch.ones(1, 1, side, side), torch.ones(1, 1, kernel, kernel), None, stride, padding, dilation)
    inside = taps_inside(conv, 0, side, counted.shape[2]) * taps_inside(conv, 1, side, counted.shape[3])
    assert inside == counted.sum().item()
