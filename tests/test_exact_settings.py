"""`mass.exact`: what it sets, that it puts it back, and what becomes of colours that share a hash."""

from __future__ import annotations

import pytest
import torch

import mass
from mass.functional.position_rank import compares_layouts

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
