"""One layer of each kind that samples, alone: how well it moves along with its input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mass
from companion.measures.moves import fourier_half
from companion.measures.signals import spectrum
from mass.baselines.flc import FLC
from mass.baselines.tips import TIPS
from mass.functional.padding import circular_pad
from mass.nn.blurpool import binomial_filter

SIZES = (2, 3, 5)


def pooled(signal: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """A signal's dense maximum over two values, and what is sampled of it: as it is, and behind a filter 3 wide, circularly.

    Shape: (length,) -> two of (length,) and (length / 2,).
    """
    dense = torch.maximum(signal, signal.roll(-1))
    blurred = sum(w * dense.roll(1 - k) for k, w in enumerate(binomial_filter(3).to(signal)))
    return {"max pooling": (dense, dense[::2]), "blurred": (blurred, blurred[::2])}


def spectra(row: Tensor) -> dict[str, Tensor]:
    """Amplitudes of a row of an image, densely max-pooled: before sampling, and of what is sampled without and with a filter."""
    found = pooled(row)
    dense, plain = found["max pooling"]
    return {
        "dense maximum": spectrum(dense),
        "sampled": spectrum(plain),
        "blurred, then sampled": spectrum(found["blurred"][1]),
    }


class _Dense(nn.Module):
    """A dense operation with circular borders, and what samples behind it."""

    def __init__(self, sampling: nn.Module) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, x: Tensor) -> Tensor:
        return self.sampling(F.max_pool2d(circular_pad(x, (0, 1, 0, 1)), 2, 1))


def samplings(channels: int, seed: int = 0) -> dict[str, nn.Module]:
    """Max pooling of 2 x 2 by different ways to sample, all circular; TIPS with random weights."""
    torch.manual_seed(seed)
    tips = TIPS(channels)
    for parameter in tips.parameters():
        nn.init.normal_(parameter)
    filters: dict[str, nn.Module] = {f"BlurPool, size {size}": mass.BlurPool(channels, size) for size in SIZES}
    ways = {"max pooling": mass.BlurPool(channels, 1), **filters, "FLC": FLC(2), "TIPS": tips}
    return {name: _Dense(way).eval() for name, way in ways.items()} | {"MASS": mass.MassMaxPool2d(2)}


@torch.no_grad()
def layer_errors(x: Tensor) -> list[dict[str, Any]]:
    """How far each layer's output for the image moved by 1 and by 2 pixels is from its own, moved: percent of its norm.

    Moved by 2 pixels, the layer's own stride, the output has moved by one position. Moved by 1, it has moved by half of one, and is
    compared with the samples in between, of the band-limited map through its positions (companion.measures.moves.fourier_half). Of
    MASS, whose grid moves along, it has moved by whole positions either way.
    """
    rows = []
    for name, layer in samplings(x.shape[1]).items():
        y = layer(x)
        whole = [y.roll((-i, -j), (2, 3)) for i in (0, 1) for j in (0, 1)]
        errors = {}
        for by in (1, 2):
            moved = layer(mass.shift(x, torch.tensor((by, by))))
            expected = whole if name == "MASS" else [fourier_half(y)] if by == 1 else whole[-1:]
            errors[f"moved by {by}"] = min(((moved - z).norm() / y.norm()).item() for z in expected) * 100
        rows.append({"method": name, **errors})
    return rows


def against_float64(x: Tensor) -> list[dict[str, Any]]:
    """BlurPool in float32 beside a convolution written in float64: the largest difference, in units of float32's rounding."""
    rows = []
    for size in SIZES:
        row = binomial_filter(size).double()
        before = (size - 1) // 2
        padded = F.pad(x.double(), (before, size - 1 - before) * 2, mode="circular")
        kernel = torch.outer(row, row).expand(x.shape[1], 1, size, size)
        direct = F.conv2d(padded, kernel, stride=2, groups=x.shape[1])
        error = (mass.BlurPool(x.shape[1], size)(x).double() - direct).abs().max().item()
        rows.append(
            {
                "size": size,
                "difference": error,
                "in roundings": error / (torch.finfo(x.dtype).eps * float(x.abs().max())),
            }
        )
    return rows
