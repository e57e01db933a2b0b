"""Signals in one dimension: waves, their spectra, and the band-limited signal through samples."""

from __future__ import annotations

import torch
from torch import Tensor


def waves(length: int, amplitudes: dict[int, float]) -> Tensor:
    """A sum of cosines by number of cycles in `length` samples. Shape: (length,)."""
    n = torch.arange(length, dtype=torch.float64)
    return sum((a * torch.cos(2 * torch.pi * k * n / length) for k, a in amplitudes.items()), torch.zeros_like(n))


def spectrum(x: Tensor) -> Tensor:
    """Amplitude of each frequency 0 … length / 2. Shape: (length,) -> (length // 2 + 1,)."""
    return torch.fft.rfft(x).abs() * 2 / len(x)


def interpolated(samples: Tensor, length: int) -> Tensor:
    """The one band-limited signal through the samples, on a grid of `length`: zeros appended to the spectrum."""
    return torch.fft.irfft(torch.fft.rfft(samples), length) * length / len(samples)
