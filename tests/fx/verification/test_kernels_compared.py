"""The gate compares compiled kernels in the dtype that a network is used in."""

import pytest
import torch
from torch import nn

import mass
from mass import native

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
compiled = pytest.mark.skipif(native.kernels() is None, reason="no compiled kernels here")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.MaxPool2d(2)).eval()


@compiled
@pytest.mark.parametrize(
    ("kernel", "node", "dtype"),
    [
        ("depthwise", "1", torch.float32),
        ("max_pool", "2", torch.float32),
        ("wrap", "0", torch.bfloat16),
        ("wrap", "0", torch.float16),
    ],
)
def test_a_kernel_that_is_wrong_in_one_dtype_is_found(monkeypatch, kernel, node, dtype):
    """float64, in which all else is compared, is right."""
    right = getattr(native, kernel)

    def wrong(x, *args):
        y = right(x, *args)
        if y is not None and x.dtype == dtype:
            y[..., -1] += 1
        return y

    monkeypatch.setattr(native, kernel, wrong)
    for other in {torch.float32, torch.bfloat16, torch.float16, torch.float64} - {dtype}:
        mass.convert(network().to(other), X.to(other))
    with pytest.raises(mass.NotEquivariantError, match=rf"node '{node}': in {dtype} its compiled kernel differs"):
        mass.convert(network().to(dtype), X.to(dtype))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_what_overflows_is_no_difference(dtype, layout):
    model = network().to(dtype).to(memory_format=layout)
    with torch.no_grad():
        model[0].weight.mul_(torch.finfo(dtype).max / 4)
    mass.convert(nn.Sequential(model, nn.ReLU()).eval(), X.to(dtype))
