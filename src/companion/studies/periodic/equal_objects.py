"""What cannot be told apart: equal objects, and networks that treat positions alike.

An encoder-decoder of l poolings by f, with circular borders, commutes with shifts by multiples of f^l: of objects that a shift of
the image carries into each other it tells at most f^(2l) apart (Rumberger et al., 2021, arXiv 2101.05846). One that commutes
with all shifts tells none apart.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mass

POOLINGS = 3


class EncoderDecoder(nn.Module):
    """Three times down by 2 and up again, with random weights: (B, 1, H, W) -> (B, 1, H, W)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        widths = [1, 8, 16, 32]
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(i, o, 3, 1, 1) for i, o in pairwise(reversed(widths)))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.down:
            x = F.relu(conv(x))
        for number, conv in enumerate(self.up, 1):
            x = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
            x = F.relu(x) if number < POOLINGS else x
        return x


def objects(count: int, pitch: int = 9) -> Tensor:
    """count x count equal dots, a pitch apart, that repeat exactly: (1, 1, count pitch, count pitch)."""
    one = torch.zeros(pitch, pitch)
    one[2:6, 3:7] = torch.tensor([[0.0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0.5, 1], [0, 1, 1, 0]])
    return one.repeat(count, count)[None, None]


def told_apart(counts: tuple[int, ...], pitch: int = 9, seed: int = 0) -> list[dict[str, Any]]:
    """How many of count^2 equal objects get outputs of their own.

    Args:
        counts: of objects along a side, multiples of 8.

    Returns:
        Rows: method, input, objects, answers (different outputs at an object's centre).
    """
    rows = []
    network = EncoderDecoder(seed).double().eval()
    for count in counts:
        x = objects(count, pitch).double()
        example = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
        networks = {
            "circular padding": mass.convert(network, example, origin="zero"),
            "MASS": mass.convert(network, example),
            "MASS, symmetrised": mass.convert(network, example, symmetrise=True),
        }
        for method, model in networks.items():
            with torch.no_grad():
                said = model(x)[0, 0, 4::pitch, 5::pitch].flatten()
            answers = len(torch.unique((said / said.abs().max() * 1e9).round()))
            rows.append({"method": method, "input": f"{count**2} objects", "objects": count**2, "answers": answers})
    return rows
