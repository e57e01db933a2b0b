"""The Triton kernels against the PyTorch code they stand for, in Triton's interpreter: run by test_gpu_kernels.py."""

import pytest
import torch

import mass
from mass import native, origin
from mass.circular import circular_pad
from mass.native import gpu

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.fixture(autouse=True)
def _interpreted():
    with native.reference():
        yield


def keys(x, period):
    """The reference's energies: the first two keys that phases are compared by."""
    found = origin._keys(x, period, "l2", x, None)
    return next(found), next(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("period", [(1, 1), (2, 2), (3, 2), (4, 4)])
def test_energies(dtype, memory_format, period):
    x = torch.randn(5, 7, 12, 24)
    x[1], x[2] = 0.0, x[2] * 1e-38
    x[3, 0, 0, 0], x[3, 1, 2, 3], x[4, 2, 1, 1] = torch.nan, torch.inf, 6e4
    x = x.to(dtype).contiguous(memory_format=memory_format)
    high, low = gpu.energies(x, period)
    expected = keys(x, period)
    assert torch.equal(high, expected[0]) and torch.equal(low, expected[1])


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (3, 2, 0, 5), (13, 9, 7, 11), (-1, 2, 1, -1)])
def test_wrap(dtype, memory_format, pads):
    x = torch.randn(3, 5, 6, 7).to(dtype).contiguous(memory_format=memory_format)
    places = torch.tensor([[0, 0], [5, -9], [-13, 20]])
    for moved in (None, places):
        wrapped = gpu.wrap(x, pads, moved)
        assert torch.equal(wrapped, circular_pad(x, pads, moved) if any(pads) or moved is not None else x)
        assert wrapped.is_contiguous(memory_format=memory_format)


def test_what_is_not_served_is_left_to_pytorch():
    x = torch.randn(2, 3, 8, 8)
    assert gpu.energies(x.double(), (2, 2)) is None and gpu.energies(x, (8, 8)) is None
    assert gpu.energies(x[..., ::2], (2, 2)) is None and gpu.wrap(x[..., ::2], (1, 1, 1, 1)) is None


def test_origins_chosen_by_the_device_s_keys(monkeypatch):
    """The door itself: with a map taken for one on the device, origins are those of the CPU."""
    x = torch.randn(4, 3, 8, 12)
    x[1] = 0.0
    x[2] = x[2].sign()
    expected = mass.select_origin(x, 2)
    monkeypatch.setattr(native, "_on_device", lambda x: gpu)
    assert torch.equal(mass.select_origin(x, 2), expected)
    assert torch.equal(mass.shift(x, expected), torch.stack([a.roll((-o).tolist(), (1, 2)) for a, o in zip(x, expected, strict=True)]))  # fmt: skip
