"""`mass.exact`: what it sets, that it puts it back, and what becomes of colours that share a hash."""

from __future__ import annotations

import pytest
import torch

import mass
from mass.functional.origin.position_rank import compares_layouts

CUDA = torch.device("cuda")


def _settings() -> tuple[bool, bool]:
    return torch.backends.cudnn.enabled, compares_layouts(CUDA)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU")
def test_the_cpu_needs_nothing():
    before = _settings()
    with mass.exact() as told:
        assert told == () and _settings() == before
    assert compares_layouts(torch.device("cpu"))


def test_without_onednn_it_says_what_to_start_with(monkeypatch):
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    monkeypatch.delenv("MKL_CBWR", raising=False)
    with mass.exact() as told:
        assert any("MKL_CBWR=AVX2,STRICT" in sentence for sentence in told)


def test_settings_are_put_back_after_an_error_too(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    before = _settings()
    with pytest.raises(ZeroDivisionError), mass.exact() as told:
        assert _settings() == (False, True) and len(told) == 2
        with mass.exact():
            pass
        assert _settings() == (False, True)
        raise ZeroDivisionError
    assert _settings() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a machine with a GPU")
@pytest.mark.parametrize("kind", ["photographs", "ties"])
def test_a_gpu_keeps_bits_where_its_own_settings_do_not(kind):
    """A ResNet's 3 x 3 convolutions of 64 channels at 56 x 56: cuDNN chooses an FFT for them, in float32, channels last."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    x = torch.randn(8, 64, 56, 56) if kind == "photographs" else torch.randn(8, 64, 8, 8).repeat(1, 1, 7, 7)
    model = mass.convert(network, x[:1]).cuda().to(memory_format=torch.channels_last)
    x = x.cuda().contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), mass.exact() as told:
        assert len(told) == 2
        pooled = [model(mass.shift(x, torch.tensor((k, 3 * k)))).amax((2, 3)) for k in range(8)]
    assert all(torch.equal(one, pooled[0]) for one in pooled)


def test_no_hash_decides_on_a_device_then(monkeypatch):
    """The device's own kernels, which break ties by hashes, are not asked inside."""
    asked = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("mass.native.device_origin", lambda *given: asked.append(given))
    x = torch.rand(1, 1, 4, 4)
    expected = mass.select_origin(x, 2)
    assert len(asked) == 1
    with mass.exact():
        assert torch.equal(mass.select_origin(x, 2), expected)
    assert len(asked) == 1
