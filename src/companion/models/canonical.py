"""Canonicalisation in its simplest form: the whole image is moved to one place of its own, then an untouched network looks.

It is exact for any network and keeps its zero padding; what is decided is the place. Four rules: `l2` (the pixel of largest
energy), `seam` (where the image, wrapped, is most discontinuous; `mass.functional.origin.seam`), `centre` (its centre of mass on the
torus: the phase of the first Fourier coefficient of its rows' and columns' energies, continuous in the image until it is
rounded to a pixel), and `peak` (the largest value of its energy, blurred; Xu et al., 2021, arXiv 2106.05886).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import mass
from mass.functional.origin.select import blurred_power

PLACES = ("l2", "seam", "centre", "peak")
_BLUR = 64  # passes of 1 : 2 : 1, a Gaussian whose standard deviation is 5.7 pixels


class InItsFrame(nn.Module):
    """A network, untouched, on images moved to one place of their own."""

    def __init__(self, model: nn.Module, rule: str = "seam") -> None:
        super().__init__()
        self.model, self.rule = model, rule

    def forward(self, x: Tensor) -> Tensor:
        return self.model(in_frame(x, self.rule))


def in_frame(x: Tensor, rule: str = "seam") -> Tensor:
    """Each image moved to the place that a rule finds. Shape: (B, C, H, W) -> the same."""
    return mass.shift(x, place(x, rule))


def place(x: Tensor, rule: str) -> Tensor:
    """The place that an image is moved to, (B, C, H, W) -> (B, 2): it moves along with the image."""
    whole = x.shape[2], x.shape[3]
    if rule == "centre":
        return _centre(x)
    if rule == "peak":
        return mass.select_origin(blurred_power(x, _BLUR), whole, source=x)
    return mass.select_origin(x, whole, rule)


def _centre(x: Tensor) -> Tensor:
    power = blurred_power(x, 0)[:, 0]
    found = []
    for along in (2, 1):  # the rows' energies, then the columns'
        energy = power.sum(along)
        size = energy.shape[1]
        turn = torch.arange(size, dtype=torch.float64, device=x.device) * (2 * torch.pi / size)
        angle = torch.atan2((energy * turn.sin()).sum(1), (energy * turn.cos()).sum(1))
        found.append((angle * size / (2 * torch.pi)).round().long() % size)
    return torch.stack(found, 1)
