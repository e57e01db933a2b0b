"""Kernels give equal bits wherever equal inputs lie: in float64 too, where PyTorch's own round by position."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mass.functional.kernels import conv2d, pixelwise_linear

SIDES = st.sampled_from([1, 2, 3, 5, 7, 8, 14, 20, 31])
CHANNELS = st.sampled_from([(1, 8, 1), (3, 5, 1), (8, 8, 8), (4, 8, 4), (12, 9, 3), (16, 24, 1), (32, 40, 1)])
FORMATS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, CHANNELS, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), FORMATS, st.integers(0, 2**16))
def test_a_convolution_in_float64_commutes_with_shifts(rows, columns, channels, side, stride, layout, seed):
    torch.manual_seed(seed)
    inputs, outputs, groups = channels
    x = torch.randn(2, inputs, stride * rows, stride * columns, dtype=torch.float64)
    weight = torch.randn(outputs, inputs // groups, side, side, dtype=torch.float64)
    bias = torch.randn(outputs, dtype=torch.float64) if seed % 2 else None

    def circular(x):
        at = [torch.arange(-(side // 2), n + side // 2) % n for n in x.shape[2:]]
        return x[:, :, at[0]][:, :, :, at[1]].contiguous(memory_format=layout)

    by = int(torch.randint(rows, ())), int(torch.randint(columns, ()))
    y = conv2d(circular(x), weight, bias, (stride, stride), (1, 1), groups)
    moved = conv2d(circular(x.roll((stride * by[0], stride * by[1]), (2, 3))), weight, bias, (stride, stride), (1, 1), groups)  # fmt: skip
    assert torch.equal(moved, y.roll(by, (2, 3)))
    torch.testing.assert_close(y, F.conv2d(circular(x), weight, bias, stride, groups=groups))


@settings(max_examples=40, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 2**16))
def test_a_linear_layer_over_pixels_in_float64_commutes_with_shifts(rows, columns, inputs, outputs, seed):
    torch.manual_seed(seed)
    x, weight = torch.randn(2, rows, columns, inputs).double(), torch.randn(outputs, inputs).double()
    by = int(torch.randint(rows, ())), int(torch.randint(columns, ()))
    assert torch.equal(
        pixelwise_linear(x.roll(by, (1, 2)), weight, None), pixelwise_linear(x, weight, None).roll(by, (1, 2))
    )


@pytest.mark.parametrize("groups", [1, 3])
def test_its_gradients(groups):
    x, weight = (
        torch.randn(2, 6, 5, 4).double().requires_grad_(),
        torch.randn(6, 6 // groups, 3, 2).double().requires_grad_(),
    )
    bias = torch.randn(6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: conv2d(*given, (2, 1), (1, 2), groups), (x, weight, bias))
