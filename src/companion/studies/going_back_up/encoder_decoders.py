"""Small encoder-decoders, one for each way of going back up, and what shifts do to dense outputs: notebook 04."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import mass
from companion.measures.dense_outputs import moves_along


class Unpooling(nn.Module):
    """Max pooling, a convolution, and max unpooling by the stored indices (SegNet's way, and the paper's example)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y, indices = self.pool(x)
        return self.unpool(self.conv(y), indices)


def encoder_decoders(channels: int = 8, classes: int = 4, seed: int = 0) -> dict[str, nn.Module]:
    """Networks that halve the map and double it again, by the name of how they go up; random weights, in eval mode."""
    torch.manual_seed(seed)
    ups = {
        "nearest": lambda: nn.Upsample(scale_factor=2),
        "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
        "bilinear, align_corners": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
        "transposed convolution": lambda: nn.ConvTranspose2d(channels, channels, 4, 2, 1),
        "pixel shuffle": lambda: nn.Sequential(nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)),
    }
    middles: dict[str, nn.Module] = {"max unpooling": Unpooling(channels)}
    for name, up in ups.items():
        middles[name] = nn.Sequential(nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU(), up())
    networks: dict[str, nn.Module] = {}
    for name, middle in middles.items():
        first, last = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, classes, 3, padding=1)
        networks[name] = nn.Sequential(first, nn.ReLU(), middle, last).eval()
        for parameter, values in networks[name].named_parameters():
            if parameter.endswith("bias"):
                nn.init.zeros_(values)  # else one class is everywhere the strongest
    return networks


def periodic_image(x: Tensor, period: int) -> Tensor:
    """The image's upper left corner, repeated: a translation symmetry of `period` pixels. (B, C, H, W) -> the same."""
    height, width = x.shape[2:]
    return x[..., :period, :period].repeat(1, 1, -(-height // period), -(-width // period))[..., :height, :width]


def by_decoder(x: Tensor, shifts: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    """`moves_along` for every encoder-decoder: as it is, with circular borders alone, and converted."""
    rows = []
    for name, network in encoder_decoders().items():
        plain = network.to(x.device)
        versions = {
            "plain": plain,
            "circular padding": mass.convert(plain, x, origin="zero"),
            "MASS": mass.convert(plain, x),
        }
        rows += [{"layer": name, "method": m, **moves_along(version, x, shifts)} for m, version in versions.items()]
    return rows
