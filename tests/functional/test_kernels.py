"""Kernels give equal bits wherever equal inputs lie: in float64 too, where PyTorch's own round by position."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mass.functional.kernels import conv2d, pixelwise_linear


@pytest.fixture(autouse=True)
def threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


THREADS = st.sampled_from([1, 2, 3, 5])
SIDES = st.sampled_from([1, 2, 3, 5, 7, 8, 14, 20, 31])
CHANNELS = st.sampled_from(
    [(1, 8, 1), (3, 5, 1), (8, 8, 8), (33, 33, 33), (4, 8, 4), (12, 9, 3), (16, 24, 1), (32, 40, 1)]
)
FORMATS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    SIDES, SIDES, CHANNELS, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), FORMATS, THREADS, st.integers(0, 2**16)
)
def test_a_convolution_in_float64_commutes_with_shifts(rows, columns, channels, side, stride, layout, threads, seed):
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, THREADS, st.integers(0, 2**16))
def test_a_linear_layer_over_pixels_in_float64_commutes_with_shifts(rows, columns, inputs, outputs, threads, seed):
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    x, weight = torch.randn(2, rows, columns, inputs).double(), torch.randn(outputs, inputs).double()
    by = int(torch.randint(rows, ())), int(torch.randint(columns, ()))
    assert torch.equal(
        pixelwise_linear(x.roll(by, (1, 2)), weight, None), pixelwise_linear(x, weight, None).roll(by, (1, 2))
    )


@pytest.mark.parametrize("groups", [1, 3, 6])
def test_its_gradients(groups):
    x, weight = (
        torch.randn(2, 6, 5, 4).double().requires_grad_(),
        torch.randn(6, 6 // groups, 3, 2).double().requires_grad_(),
    )
    bias = torch.randn(6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: conv2d(*given, (2, 1), (1, 2), groups), (x, weight, bias))


@pytest.mark.skipif("MKL_CBWR" not in os.environ, reason="this is the process without it")
def test_without_a_setting_for_mkl():
    """`make test` sets MKL_CBWR, which keeps MKL's bits; a user's process does not."""
    plain = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    found = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
