"""Signals, sampling and blur in one dimension and two: the measurements of notebook 01."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import mass
from mass.functional.padding import circular_pad
from mass.nn.blurpool import BlurPool


def blur(x: Tensor, size: int) -> Tensor:
    """Each channel filtered by the binomial filter along both axes, circularly. Shape: (B, C, H, W) -> the same."""
    return BlurPool(x.shape[1], size, stride=1)(x)


def max_pool_in_two_steps(x: Tensor) -> tuple[Tensor, Tensor]:
    """Max pooling of a signal (length,), window and stride 2: the dense maximum, and every second value of it."""
    dense = torch.maximum(x, x.roll(-1))
    return dense, dense[::2]


def _features(x: Tensor, kernels: Sequence[Tensor], size: int) -> Tensor:
    """Stages of convolution, ReLU, dense maximum, blur and sampling, then the global average; size 0: MASS, no blur."""
    for kernel in kernels:
        x = F.conv2d(circular_pad(x, (1, 1, 1, 1)), kernel).relu()
        x = F.max_pool2d(circular_pad(x, (0, 1, 0, 1)), 2, 1)
        x = blur(x, size) if size else mass.shift(x, mass.select_origin(x, 2))
        x = x[:, :, ::2, ::2]
    return x.mean((2, 3))


def residual_by_filter(image: Tensor, sizes: Sequence[int], seeds: int, channels: int = 16) -> list[dict[str, Any]]:
    """How far the outputs of a small network move under shifts, by the size of the blur before each sampling.

    The network has random weights and total stride 8, so the 64 shifts by 0 … 7 are all there is. Its outputs Y_t for the
    shifts t give the residual: the root mean square of Y_t - mean(Y), over the norm of mean(Y).

    Args:
        image: (3, H, W), H and W multiples of 8.
        sizes: of the binomial filters; 0 stands for MASS instead of a filter.
    """
    shifted = torch.stack([image.roll((-i, -j), (1, 2)) for i in range(8) for j in range(8)])
    rows = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        widths = [image.shape[0], channels, channels, channels]
        kernels = [torch.randn(b, a, 3, 3, generator=generator) * (2 / (9 * a)) ** 0.5 for a, b in pairwise(widths)]
        for size in sizes:
            found = _features(shifted, kernels, size)  # (64, channels)
            mean = found.mean(0)
            moved = (found - mean).square().sum(1).mean().sqrt() / mean.norm()
            rows.append({"size": size, "seed": seed, "residual": moved.item() * 100})
    return rows


def contrast_kept(image: Tensor, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """What a blur leaves of the differences between neighbouring pixels, in percent of the unfiltered image's."""

    def detail(x: Tensor) -> Tensor:
        return (x - x.roll(1, 3)).square().mean() + (x - x.roll(1, 2)).square().mean()

    x = image[None]
    return [{"size": size, "kept": (detail(blur(x, size)) / detail(x)).sqrt().item() * 100} for size in sizes]
